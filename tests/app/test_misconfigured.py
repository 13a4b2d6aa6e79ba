"""What is set up wrongly is one sentence that names it, whichever command meets it first."""

from pathlib import Path

import pytest

from app.commands.__main__ import main
from app.errors import Misconfigured
from app.settings import Settings
from app.storage.db import open_database
from tests.e2e.service import free_port
from training_lab.errors import refusal


@pytest.mark.parametrize("command", [["serve"], ["api"], ["worker"], ["keys", "create", "anna"]])
@pytest.mark.sqlite
def test_a_home_that_cannot_be_used_is_named(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "a-file"
    home.touch()
    monkeypatch.setenv("LAB_HOME", str(home))
    assert main(command) == 2
    assert capsys.readouterr().err == (
        f"LAB_HOME is {home}, which cannot be used (File exists): name a folder that this user may write\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LAB_MAX_EPOCHS", "abc", "LAB_MAX_EPOCHS: "),
        ("LAB_LOG_FORMAT", "xml", "LAB_LOG_FORMAT: must be 'text' or 'json'\n"),
        ("LAB_LEASE_SECONDS", "-1", "LAB_LEASE_SECONDS: "),
        ("LAB_BROKER_URL", "http://x", "LAB_BROKER_URL: must be redis://HOST:PORT/NUMBER"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    name: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    assert main(["settings"]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(said)
    assert complaint.count("\n") == 1


def test_a_setting_left_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LAB_HOME=` made the current folder the home."""
    for name in ("LAB_HOME", "LAB_MAX_EPOCHS"):
        monkeypatch.setenv(name, "")
    settings = Settings(_env_file=None)
    assert (settings.home, settings.max_epochs) == (Path(".lab"), 10_000)


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    from app.storage.db import open_database

    url = "postgresql+psycopg://lab@127.0.0.1:9/lab"
    with pytest.raises(Misconfigured, match=r"the database does not answer: .*LAB_DATABASE_URL"):
        open_database(Settings(home=tmp_path, database_url=url, _env_file=None))


@pytest.mark.parametrize("port", ["99999", "-1", "x"])
def test_a_port_that_there_is_not_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--port", port])
    assert f"must be a number from 0 to 65535, not '{port}'" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "inf"])
def test_a_time_that_is_none_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["worker", "--max-seconds", seconds])
    assert f"must be a number of seconds above 0, not '{seconds}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("detail", "first"),
    [
        ("every class needs 3 images", "No such thing (422): every class needs 3 images"),
        ("a: has 2; b: has 2", "No such thing (422)"),
    ],
)
def test_the_sentence_that_explains_is_printed_unless_the_lines_say_it(
    detail: str, first: str
) -> None:
    errors = [{"pointer": "a", "message": "has 2"}, {"pointer": "b", "message": "has 2"}]
    problem = {"title": "No such thing", "detail": detail, "errors": errors}
    refused = refusal(422, "", problem)
    assert str(refused).splitlines() == [first, "  a: has 2", "  b: has 2"]


@pytest.mark.parametrize(
    "command",
    [["serve", "--port", "0"], ["api", "--port", "0"], ["keys", "list"], ["worker"]],
)
@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_named_with_what_to_do(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lab.sqlite3").write_text("garbage, and no database at all\n" * 100)
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    if command[0] in ("serve", "api"):
        command = [command[0], "--port", str(free_port())]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/lab.sqlite3 is no database of this service" in said
    assert "`lab restore`" in said
    assert "Traceback" not in said


def test_another_kind_of_database_is_not_helped_by_installing_something(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="'mysql', which is neither sqlite nor postgresql"):
        open_database(Settings(home=tmp_path, database_url="mysql://x/y", _env_file=None))


def test_settings_are_printed_without_passwords(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DATABASE_URL", "postgresql+psycopg://lab:secret1@host/lab")
    monkeypatch.setenv("LAB_BROKER_URL", "redis://:secret2@host:6379/0")
    main(["settings"])
    said = capsys.readouterr().out
    assert "LAB_DATABASE_URL=postgresql+psycopg://lab:***@host/lab" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LAB_TREADS", "did you mean LAB_THREADS?"),
        ("lab_max_epoch", "did you mean LAB_MAX_EPOCHS?"),
        ("LAB_COLOUR", "`lab settings` prints all there are"),
    ],
)
def test_a_variable_that_nobody_reads_is_said(
    name: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    monkeypatch.setenv(name, "2")
    assert main(["settings"]) == 0
    complaints = capsys.readouterr().err.splitlines()
    assert complaints[0] == f"{name} (in the environment) is no setting and changes nothing: {said}"


def test_a_setting_that_nobody_reads_in_a_file_is_said_and_what_others_read_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        "# LAB_NOTHING=1\nLAB_WORKERS=2\nexport LAB_LEASE_SECOND=9\nA=1\n"
    )
    assert main(["settings"]) == 0
    (complaint,) = [line for line in capsys.readouterr().err.splitlines() if "no setting" in line]
    assert complaint.startswith(f"LAB_LEASE_SECOND (in {tmp_path / '.env'}) is no setting")
    assert complaint.endswith("did you mean LAB_LEASE_SECONDS?")
