"""`lab keys`: keys made, listed and revoked in the database of LAB_HOME, and the key that the other commands send."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.commands import client
from app.commands.__main__ import main
from app.main import create_app
from app.settings import Settings
from app.storage.db import open_database
from tests.app.people import client_of


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAB_API_KEY", raising=False)
    return tmp_path / "home"


def test_a_key_is_printed_alone_so_that_a_shell_can_take_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["keys", "create", "anna"]) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"lab_[A-Za-z0-9_-]{43}\n", out)
    assert re.match(r"key_\w{13}: a key of anna with the role 'submit'\.", err)
    assert out.strip() not in err
    with TestClient(
        create_app(Settings(log_level="ERROR", _env_file=None)), raise_server_exceptions=False
    ) as api:
        assert api.get("/experiments").status_code == 401
        assert client_of(api, out.strip()).get("/experiments").status_code == 200


def test_keys_are_listed_without_their_secrets_and_revoked_by_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["keys", "list"])
    assert capsys.readouterr() == ("", "There are no keys: `lab keys create NAME` makes one.\n")
    main(["keys", "create", "ben", "--role", "read"])
    main(["keys", "create", "anna", "--role", "admin"])
    secrets = capsys.readouterr().out.split()
    main(["keys", "list"])
    heading, anna, ben = capsys.readouterr().out.splitlines()
    assert heading.split() == ["id", "owner", "role", "begins", "with", "made"]
    assert anna.split()[1:4] == ["anna", "admin", secrets[1][:10] + "…"]
    assert ben.split()[1:4] == ["ben", "read", secrets[0][:10] + "…"]
    assert main(["keys", "revoke", ben.split()[0]]) == 0
    assert main(["keys", "revoke", ben.split()[0]]) == 0
    assert "a key of ben, is revoked" in capsys.readouterr().err
    main(["keys", "list"])
    heading, anna, ben = capsys.readouterr().out.splitlines()
    assert heading.split()[-1] == "revoked"
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d  +\d{4}-\d\d-\d\d \d\d:\d\d$", ben)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["keys", "create", "Anna B"],
            "'Anna B' is no owner's name: write 1 to 64 of a-z, 0-9, '.', '_' and '-'",
        ),
        (
            ["keys", "revoke", "key_none"],
            "there is no key 'key_none'; `lab keys list` shows their ids",
        ),
    ],
)
def test_what_cannot_be_done_is_said_with_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip() == said


@pytest.mark.parametrize("command", ["serve", "api"])
def test_a_service_for_a_network_without_keys_does_not_start(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    workers = ["--workers", "1"] if command == "serve" else []
    assert main([command, "--host", "0.0.0.0", *workers]) == 2
    assert "make one with `lab keys create YOUR-NAME --role admin`" in capsys.readouterr().err


def test_a_command_sends_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_API_KEY", " lab_abc\n")
    with client.Service("http://127.0.0.1:1") as service:
        assert service._http.headers["authorization"] == "Bearer lab_abc"
    monkeypatch.delenv("LAB_API_KEY")
    with client.Service("http://127.0.0.1:1") as service:
        assert "authorization" not in service._http.headers


@pytest.mark.parametrize("value", ["lab_a lab_b", "schlüssel", "lab_a\nlab_b"])
def test_what_can_be_no_key_is_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    monkeypatch.setenv("LAB_API_KEY", value)
    assert main(["show", "exp_1", "--url", "http://127.0.0.1:1"]) == 2
    assert "LAB_API_KEY holds no key" in capsys.readouterr().err


def test_a_key_made_while_the_service_runs_counts_from_the_next_request(home: Path) -> None:
    settings = Settings(log_level="ERROR", _env_file=None)
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        assert api.get("/experiments").status_code == 200
        assert main(["keys", "create", "anna"]) == 0
        assert api.get("/experiments").status_code == 401
    open_database(settings).close()
    assert home.is_dir()
