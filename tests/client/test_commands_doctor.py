"""`lab doctor`: a line for each thing that can be amiss, with what to do, and a status for scripts."""

import json
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.commands import local_findings
from app.commands.__main__ import main
from app.services.owners.keys import create_key
from app.settings import Settings
from app.storage.db import Database
from tests.client.commanding import Command
from tests.client.conftest import Loopback
from training_lab import Lab, Unreachable
from training_lab.commands import findings, output
from training_lab.commands.findings import Finding
from training_lab.commands.requesting import Service
from training_lab.version import VERSION

DRIVER = {
    "level": "FAIL",
    "what": "trainer on cuda:0",
    "found": "the driver is too old",
    "do": "update it",
}


def saying(*lines: object, status: int = 1) -> tuple[str, ...]:
    """A probe that says these lines and ends so."""
    said = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    return (sys.executable, "-c", f"print({said!r}); raise SystemExit({status})")


pytestmark = pytest.mark.sqlite


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(local_findings, "PROBE", saying(DRIVER))


def found(text: str) -> dict[str, Finding]:
    return {one["name"]: Finding(**one) for one in json.loads(text)["checks"]}


def test_a_service_without_workers_is_told_what_to_do_and_the_rest_is_well(
    command: Command,
) -> None:
    said = command("doctor")
    assert (said.status, said.err) == (1, "")
    bad, driver = [line for line in said.lines if line.startswith("✗")]
    assert bad.split()[1] == "workers"
    assert driver.split(maxsplit=1)[1].startswith("trainer on cuda:0")
    assert "`lab worker`" in bad
    asked = command("doctor", "--json")
    checks = found(asked.out)
    assert asked.status == 1
    assert json.loads(asked.out)["ok"] is False
    well = {name for name, one in checks.items() if one.state == "ok"}
    assert {"service", "version", "clock", "key", "database", "disk", "broker", "queue"} <= well
    assert checks["data digits"].state == "ok"
    assert checks["home"].state == "unknown"
    quiet = command("doctor", "--quiet").lines
    assert [line.split()[:2] for line in quiet[1:]] == [["✗", "workers"], ["✗", "trainer"]]
    assert "\x1b" not in said.out


def test_a_key_that_is_missing_is_told_and_what_it_hides_is_not_asked_for(
    database: Database, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.writing() as session:
        create_key(session, "ann", "submit")
    server = Loopback(settings)
    url = server.url
    try:
        assert main(["doctor", "--json", "--url", url]) == 1
    finally:
        server.end()
    checks = found(capsys.readouterr().out)
    assert checks["key"].state == "bad"
    assert checks["key"].remedy == f"`lab login {url}` asks for yours"
    assert checks["data"].state == "unknown"
    assert checks["database"].state == "ok"


def test_what_does_not_answer_is_told_by_what_has_its_port(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_lab.retrying.FIRST_SECONDS", 0.0)
    assert main(["doctor", "--json", "--url", "http://127.0.0.1:9"]) == 3
    assert "nothing listens on port 9" in found(capsys.readouterr().out)["service"].said
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = findings.nobody_there(f"http://127.0.0.1:{port}", Unreachable("no answer"))
    assert error.said == f"no answer; another program has port {port}"
    assert f"--port {port + 1}" in error.remedy


def answered(answers: dict[str, Any], check: findings.Check) -> dict[str, Finding]:
    """What a check finds of a service that answers so: a status, a document and headers by path."""

    def answer(request: httpx.Request) -> httpx.Response:
        status, document, headers = answers[request.url.path]
        return httpx.Response(status, json=document, headers=headers)

    with Lab("http://other", retries=0, transport=httpx.MockTransport(answer)) as lab:
        return {one.name: one for one in check(Service(lab))}


def test_another_version_another_clock_and_another_program_are_seen() -> None:
    late = format_datetime(output.now() - timedelta(minutes=5), usegmt=True)
    other = {"version": "9.9.9", "revision": "abc", "python": "3.11.7"}
    said = answered({"/version": (200, other, {"date": late})}, findings.check_version)
    assert said["version"].said == f"9.9.9, revision abc; the client has {VERSION}"
    assert (said["clock"].state, said["version"].state) == ("bad", "bad")
    assert "behind this machine's" in said["clock"].said
    none = answered({"/version": (200, other, {})}, findings.check_version)
    assert none["clock"].state == "unknown"
    page = answered({"/version": (404, [], {})}, findings.check_version)
    assert page["service"].state == "bad"


def test_what_is_not_ready_is_told_as_the_service_says_it() -> None:
    checks = {
        "database": "wrong schema revision",
        "storage": "low on disk",
        "free_bytes": 5_000_000,
        "broker": "redis does not answer; idle workers look for runs by themselves",
        "workers_online": 2,
        "runs_queued": 3,
        "oldest_wait_seconds": 90,
    }
    said = answered(
        {"/readyz": (503, {"status": "not ready", "checks": checks}, {})},
        findings.check_readiness,
    )
    assert {name for name, one in said.items() if one.state == "bad"} == {
        "database",
        "disk",
        "broker",
    }
    assert said["disk"].said == "low on disk, 5.0 MB free"
    assert said["queue"].said == "3 runs waiting, the oldest for 1 min"
    workers = {"data": [{"device": "cpu"}, {"device": "cuda:0"}, {"device": "cpu"}]}
    (online,) = answered({"/workers": (200, workers, {})}, findings.check_workers).values()
    assert online.said == "3 online: 2 x cpu, cuda:0"
    workers["data"][0]["caution"] = "GPU found and not usable; trains on the CPU"
    workers["data"][1]["trouble"] = "the driver is too old"
    said = answered({"/workers": (200, workers, {})}, findings.check_workers)
    assert (said["worker on cuda:0"].state, said["worker on cpu"].state) == ("bad", "unknown")
    assert said["worker on cuda:0"].said == "cannot train: the driver is too old"


def test_what_the_probe_of_this_machine_says_is_told_line_by_line() -> None:
    warn = {"level": "warn", "what": "free disk", "found": "0.5 GB", "do": "make room"}
    disk, driver = local_findings.findings_of_devices(
        saying(warn, "a warning of some library", DRIVER)
    )
    assert (disk.state, driver.state) == ("unknown", "bad")
    assert (driver.name, driver.said, driver.remedy) == (
        "trainer on cuda:0",
        "the driver is too old",
        "update it",
    )
    (broken,) = local_findings.findings_of_devices(saying("LAB_DEVICES: tpu is none", status=2))
    assert (broken.state, broken.said) == ("bad", "LAB_DEVICES: tpu is none")
    (silent,) = local_findings.findings_of_devices((sys.executable, "-c", "raise SystemExit(3)"))
    assert silent.said == "the probe of this machine ended with status 3"


def local() -> dict[str, Finding]:
    return {one.name: one for one in local_findings.local_findings()}


def test_on_a_machine_of_the_service_its_home_is_looked_at_too(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LAB_HOME", str(settings.home))
    monkeypatch.setenv("LAB_MIN_FREE_BYTES", "0")
    said = local()
    assert said["home"].said == str(settings.home)
    assert said["database here"].said == "lab.sqlite3, its log on a local disk"
    assert said["disk here"].state == "ok"
    assert "broker here" not in said
    monkeypatch.setenv("LAB_BROKER_URL", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("LAB_MIN_FREE_BYTES", str(10**18))
    monkeypatch.setattr(local_findings, "SHARED_MEMORY", tmp_path / "none")
    said = local()
    assert said["broker here"].state == said["disk here"].state == "bad"
    assert said["shared memory"].state == "unknown"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text("no database" * 500), "is no database of this service"),
        (lambda file: file.write_bytes(b""), "has the schema of another version"),
    ],
    ids=["garbage", "empty"],
)
def test_a_database_that_cannot_be_used_is_told_why(
    spoil: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(tmp_path / "lab.sqlite3")
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    assert local()["database here"].state == "bad"
    assert said in local()["database here"].said


def test_a_setting_that_cannot_be_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_MAX_EPOCHS", "many")
    (home,) = local().values()
    assert (home.name, home.state) == ("home", "bad")
    assert "LAB_MAX_EPOCHS" in home.said
