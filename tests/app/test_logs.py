"""A run's log over HTTP: whole, its end, or a range of its bytes."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.api.experiments import logs as routes
from app.services import lifecycle
from app.services.experiments import logs
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Attempt, Run
from tests.app.people import caller
from worker import trainer_log
from worker.identity import identify
from worker.trainer_log import TrainerLog

WRITTEN = b"epoch 1/2  \x1b[31mred\x1b[0m\r\nh\xc3\xa4lf\xc2\x9b\x00\nlast\tline\n"
SHOWN = "epoch 1/2  ?[31mred?[0m\n\nh\u00e4lf???\nlast\tline\n"


@pytest.fixture
def run(api: TestClient, database: Database) -> str:
    """The id of a run at its first attempt, on this machine."""
    api.post("/experiments", json={"dataset": "digits", "model": {"hidden": [8]}})
    with database.writing() as session:
        lease = lifecycle.claim(session, worker_of_this_machine())
        assert lease is not None
    return lease.run_id


def worker_of_this_machine() -> str:
    return identify("cpu", threads=1, slot=0).id


def write(settings: Settings, run: str, content: bytes, attempt: int = 1) -> Path:
    path = settings.runs_folder / run / f"attempt-{attempt}" / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_log_is_text_that_a_terminal_can_show_and_its_bytes_are_those_of_the_file(
    api: TestClient, settings: Settings, run: str
) -> None:
    write(settings, run, WRITTEN)
    address = api.get(f"/runs/{run}").json()["links"]["log"]
    whole = api.get(address)
    assert whole.text == SHOWN
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["content-location"] == f"/runs/{run}/log?attempt=1"
    assert api.head(address).headers["content-length"] == str(len(WRITTEN))
    shown = SHOWN.encode()
    for asked, first, end in (
        ("bytes=0-4", 0, 5),
        ("bytes=5-", 5, len(shown)),
        ("bytes=-6", len(shown) - 6, len(shown)),
        ("bytes=-9999", 0, len(shown)),
        ("bytes=7-99999", 7, len(shown)),
    ):
        part = api.get(address, headers={"Range": asked})
        assert (part.status_code, part.content) == (206, shown[first:end]), asked
        assert part.headers["content-range"] == f"bytes {first}-{end - 1}/{len(shown)}"
    for asked in (f"bytes={len(shown)}-", "bytes=5-2", "bytes=-0"):
        none = api.get(address, headers={"Range": asked})
        assert none.status_code == 416, asked
        assert none.headers["content-range"] == f"bytes */{len(shown)}"
        assert none.json()["code"] == "range_not_satisfiable"
    for asked in ("bytes=-", "lines=1-2", "bytes=0-1,3-4", f"bytes={'9' * 5000}-"):
        assert api.get(address, headers={"Range": asked}).status_code == 200, asked
    assert api.get(f"{address}?tail=1").text == "last\tline\n"
    assert api.get(f"{address}?tail=99").text == SHOWN


def test_an_answer_is_bounded(
    api: TestClient, settings: Settings, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (logs, routes):
        monkeypatch.setattr(module, "MOST_BYTES", 100)
    monkeypatch.setattr(logs, "BLOCK", 16)
    write(settings, run, b"".join(b"line %04d\n" % number for number in range(100)))
    whole = api.get(f"/runs/{run}/log").text
    assert whole.splitlines() == [f"line {number:04}" for number in range(90, 100)]
    part = api.get(f"/runs/{run}/log", headers={"Range": "bytes=0-"})
    assert part.headers["content-range"] == "bytes 0-99/1000"
    assert api.get(f"/runs/{run}/log?tail=3").text == "line 0097\nline 0098\nline 0099\n"


def test_a_log_that_is_not_here_is_told_with_where_it_is(
    api: TestClient, database: Database, settings: Settings, run: str
) -> None:
    missing = api.get(f"/runs/{run}/log")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    write(settings, run, b"first\n")
    with database.writing() as session:
        session.get_one(Run, run).attempt = 2
        first = session.get_one(Attempt, (run, 1))
        fields = {**first.model_dump(), "number": 2, "worker_id": "gpu-box-17-abcd"}
        session.add(Attempt.model_validate(fields))
    elsewhere = api.get(f"/runs/{run}/log").json()
    assert (elsewhere["status"], elsewhere["code"]) == (404, "log_elsewhere")
    assert "gpu-box" in elsewhere["detail"]
    assert "gpu-box-17" not in elsewhere["detail"]
    assert api.get(f"/runs/{run}/log?attempt=1").text == "first\n"
    assert "1, 2" in api.get(f"/runs/{run}/log?attempt=7").json()["detail"]
    waiting = api.post("/experiments", json={"dataset": "digits", "epochs": 3}).json()["runs"][0]
    assert "log" not in waiting["links"]
    assert "has not begun" in api.get(f"/runs/{waiting['id']}/log").json()["detail"]


def test_nobody_reads_anothers_log_nor_follows_a_link_out_of_the_home(
    api: TestClient, database: Database, settings: Settings, run: str, tmp_path: Path
) -> None:
    path = write(settings, run, b"mine\n")
    path.unlink()
    (tmp_path / "secret").write_text("secret")
    path.symlink_to(tmp_path / "secret")
    assert api.get(f"/runs/{run}/log").status_code == 404
    eve = caller(api, database, "eve")
    assert eve.get(f"/runs/{run}/log").json()["code"] == "not_found"


def test_a_trainers_log_ends_where_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_log, "MOST_BYTES", 10)
    log = TrainerLog()
    log.write(b"early\n")
    log.begin(tmp_path / "attempt-1" / "log.txt")
    for line in (b"one\n", b"two\n", b"three\n", b"four\n"):
        log.write(line)
    assert log.last_words == "early\none\ntwo\nthree\nfour\n"
    log.write(b"\x1b[0m" + b"x" * 1000 + b"\n")
    assert log.last_words.splitlines()[-1] == "?[0m" + "x" * (trainer_log.LONGEST - 4)
    assert (
        tmp_path / "attempt-1" / "log.txt"
    ).read_bytes() == b"early\none\ntwo\n" + trainer_log.FULL
