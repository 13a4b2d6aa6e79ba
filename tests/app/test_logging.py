"""Logs as JSON with what they are about; requests with an id, a line and a count."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import logging as lab_logging
from app.api.http.traffic import SANE_ID, observe
from app.errors import Misconfigured
from app.logging import JSONFormatter, Rarely, about, bind_process, bound
from app.settings import Settings

RUN, EXPERIMENT = "run_0123456789abc", "exp_zyxwvtsrqpnmk"


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JSONFormatter())
        self.stream = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        self.stream.write(self.format(record) + "\n")

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What two loggers say, as JSON."""
    handler = Lines()
    loggers = [logging.getLogger(name) for name in ("lab.test", "lab.access")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    yield handler
    for logger, level in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


def client(access_log: Any = "all") -> TestClient:
    app = FastAPI()

    @app.get("/runs/{run_id}")
    def read(run_id: str) -> dict[str, str]:
        logging.getLogger("lab.test").info("reading %s", run_id)
        return {"id": run_id}

    @app.post("/runs/{run_id}")
    def change(run_id: str) -> None:
        raise RuntimeError(run_id)

    observe(app, access_log)
    return TestClient(app, raise_server_exceptions=False)


def test_a_record_is_one_line_of_json_whatever_it_says(lines: Lines) -> None:
    log = logging.getLogger("lab.test.odd")
    log.propagate = False  # what collects the logs of tests cannot send a lone surrogate on
    log.addHandler(lines)
    log.info("two\nlines, a \ud800 and %s", {"a": 1})
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("it failed")
    first, second = lines.read()
    assert set(first) == {"time", "level", "logger", "message"}
    assert (first["level"], first["logger"], first["message"]) == (
        "INFO",
        "lab.test.odd",
        "two\nlines, a \ud800 and {'a': 1}",
    )
    assert first["time"].endswith("Z")
    assert len(first["time"]) == len("2026-01-01T00:00:00.000Z")
    assert second["exception"].endswith("ValueError: no")


def test_what_a_record_is_about_has_fields_of_its_own(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab_logging, "_of_process", {})
    log = logging.getLogger("lab.test")
    with bound(run=RUN, attempt=1):
        with bound(attempt=2):
            log.info("inner")
        log.info("outer", extra=about(epoch=3))
    bind_process(worker="w")
    log.info("%s: of %s, not run_short", RUN, EXPERIMENT)
    fields = [
        {
            key: value
            for key, value in line.items()
            if key not in {"time", "level", "logger", "message"}
        }
        for line in lines.read()
    ]
    assert fields == [
        {"run": RUN, "attempt": 2},
        {"run": RUN, "attempt": 1, "epoch": 3},
        {"run": RUN, "experiment": EXPERIMENT, "worker": "w"},
    ]


def test_a_request_has_one_id_in_its_answer_its_line_and_all_that_is_said_meanwhile(
    lines: Lines,
) -> None:
    answer = client().get(f"/runs/{RUN}?secret=1", headers={"X-Request-Id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    said, access = lines.read()
    assert (said["request_id"], access["request_id"]) == ("mine-1", "mine-1")
    assert (access["method"], access["path"], access["status"]) == ("GET", f"/runs/{RUN}", 200)
    assert access["milliseconds"] > 0
    assert "secret" not in json.dumps(access)


@pytest.mark.parametrize("given", ["", "a" * 65, "two words", "é", 'x"y', "a;b"])
def test_a_request_id_that_is_not_plain_is_replaced(given: str) -> None:
    answer = client().get(f"/runs/{RUN}", headers={b"X-Request-Id": given.encode("latin-1")})
    made = answer.headers["x-request-id"]
    assert made != given
    assert SANE_ID.fullmatch(made)


def test_an_unexpected_error_is_counted_and_logged_as_500_and_carries_the_id(lines: Lines) -> None:
    api = client("none")
    answer = api.post(f"/runs/{RUN}", headers={"X-Request-Id": "mine-2"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine-2")
    (access,) = lines.read()
    assert (access["level"], access["status"], access["run"]) == ("WARNING", 500, RUN)
    assert api.app.state.traffic.requests() == {("POST", "/runs/{run_id}", "500"): 1}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("access_log", "logged"), [("changes", ["POST"]), ("all", ["GET", "POST"]), ("none", [])]
)
def test_the_setting_says_which_requests_are_logged(
    lines: Lines, access_log: str, logged: list[str]
) -> None:
    api = client(access_log)
    api.get(f"/runs/{RUN}")
    api.post("/nowhere")
    assert [line["method"] for line in lines.read() if line["logger"] == "lab.access"] == logged


def test_made_up_addresses_and_methods_make_no_new_counts() -> None:
    api = client()
    for number in range(5):
        api.get(f"/nowhere/{number}")
        api.request(f"VERB{number}", f"/runs/{number}")
    counted = api.app.state.traffic.requests()  # type: ignore[attr-defined]
    assert counted[("GET", "unmatched", "404")] == 5
    assert sum(counted.values()) == 10
    assert len(counted) == 2


def test_a_line_end_in_an_address_stays_quoted(lines: Lines) -> None:
    client().get("/runs/a%0AERROR%20lab:%20forged")
    assert lines.read()[-1]["path"] == "/runs/a%0AERROR%20lab:%20forged"


def test_the_service_speaks_json_when_it_is_told_to(tmp_path: Path) -> None:
    program = (
        "from app.main import create_app; from app.settings import Settings; import logging;"
        " create_app(Settings(_env_file=None)); logging.info('hello')"
    )
    environment = {"PATH": "/usr/bin:/bin", "LAB_HOME": str(tmp_path), "LAB_LOG_FORMAT": "json"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stderr.splitlines()[-1])["message"] == "hello"
    with pytest.raises(Misconfigured, match="'text' or 'json'"):
        Settings(log_format="xml", _env_file=None)  # type: ignore[arg-type]


def test_what_may_come_in_floods_is_written_once_a_minute_with_how_often_it_was_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(lab_logging.time, "monotonic", lambda: now)
    rarely = Rarely(logging.getLogger("lab.flood"))
    with caplog.at_level(logging.WARNING, logger="lab.flood"):
        for number in range(6001):
            now = number / 100
            rarely.warn("too much: %.20s", "x" * 10_000)
    assert caplog.messages == [
        f"too much: {'x' * 20}",
        f"too much: {'x' * 20} (5,999 times more since the last such line)",
    ]
