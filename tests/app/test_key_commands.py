"""`lab keys`: keys made, listed and revoked in the database of LAB_HOME, and the key that the other commands send; `lab
open`.
"""

import io
import re
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from app.commands.__main__ import main
from app.main import create_app
from app.settings import Settings
from app.storage.db import open_database
from tests.app.people import browser, client_of
from training_lab import Lab, blocking
from training_lab.errors import refusal


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
    assert err.startswith("A new home is made: ")
    assert re.search(r"^key_\w{13}: a key of anna with the role 'submit'\.", err, re.MULTILINE)
    assert out.strip() not in err
    with TestClient(
        create_app(Settings(log_level="ERROR", _env_file=None)), raise_server_exceptions=False
    ) as api:
        assert api.get("/experiments").status_code == 401
        assert client_of(api, out.strip()).get("/experiments").status_code == 200


def test_keys_are_listed_without_their_secrets_and_revoked_by_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    open_database(Settings()).close()
    main(["keys", "list"])
    assert capsys.readouterr() == ("", "There are no keys: `lab keys create NAME` makes one.\n")
    main(["keys", "create", "ben", "--role", "read"])
    main(["keys", "create", "anna", "--role", "admin"])
    secrets = capsys.readouterr().out.split()
    main(["keys", "list"])
    heading, anna, ben = capsys.readouterr().out.splitlines()
    assert heading.split() == ["owner", "role", "id", "begins", "with", "made"]
    assert [anna.split()[place] for place in (0, 1, 3)] == ["anna", "admin", secrets[1][:10] + "…"]
    assert [ben.split()[place] for place in (0, 1, 3)] == ["ben", "read", secrets[0][:10] + "…"]
    assert main(["keys", "revoke", ben.split()[2]]) == 0
    assert main(["keys", "revoke", ben.split()[2]]) == 0
    assert "a key of ben, is revoked" in capsys.readouterr().err
    main(["keys", "list"])
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == "1 more are revoked: --all shows them.\n"
    main(["keys", "list", "--all"])
    heading, anna, ben = capsys.readouterr().out.splitlines()
    assert heading.split()[-1] == "revoked"
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d  +\d{4}-\d\d-\d\d \d\d:\d\d$", ben)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["keys", "create", "anna/b"],
            "'anna/b' is no owner's name: write 1 to 64 of a-z, 0-9, '.', '_' and '-'",
        ),
        (
            ["keys", "revoke", "key_none"],
            "there is no key 'key_none'; `lab keys list` shows their ids",
        ),
        (
            ["keys", "revoke", "--owner", "bne"],
            "no key was ever made for 'bne'; `lab keys list --all` shows whose there are",
        ),
        (
            ["keys", "revoke", "key_1", "--owner", "ben"],
            "name one key by its id, or an owner: `lab keys revoke key_…` or `--owner NAME`",
        ),
        (
            ["keys", "create"],
            "name one owner, or a list of them: `lab keys create NAME` or `--from FILE`",
        ),
        (
            ["keys", "quota", "bne", "--running", "2"],
            "there is no owner 'bne'; did you mean 'ben'?",
        ),
        (["keys", "create", "--from", "nowhere.txt"], "nowhere.txt: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said_with_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    main(["keys", "create", "ben"])
    capsys.readouterr()
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip() == said


@pytest.mark.parametrize("verb", ["list", "revoke key_1", "quota anna"])
def test_what_only_reads_makes_no_home(
    home: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert main(["keys", *verb.split()]) == 2
    assert f"there is no folder {home}, which LAB_HOME names" in capsys.readouterr().err
    assert not home.exists()


def test_all_keys_of_an_owner_are_revoked_at_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for owner in ("anna", "anna", "ben"):
        main(["keys", "create", owner])
    secrets = capsys.readouterr().out.split()
    assert main(["keys", "revoke", "--owner", "anna"]) == 0
    assert capsys.readouterr().err.count("a key of anna, is revoked") == 2
    assert main(["keys", "revoke", "--owner", "anna"]) == 0
    assert capsys.readouterr().err == "All keys of anna were revoked before.\n"
    with TestClient(
        create_app(Settings(log_level="ERROR", _env_file=None)), raise_server_exceptions=False
    ) as api:
        assert [client_of(api, key).get("/workers").status_code for key in secrets] == [
            401,
            401,
            200,
        ]
    assert home.is_dir()


def test_a_list_of_names_becomes_a_file_of_keys_that_its_owner_alone_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_bytes(b"\xef\xbb\xbf# group 1\r\nanna\r\n\r\nben\r\n")
    assert main(["keys", "create", "--from", "names.txt", "--out", "keys.csv"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "2 keys with the role 'submit'" in err
    file = tmp_path / "keys.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    heading, *rows = file.read_text().splitlines()
    assert heading == "owner,role,key"
    assert [row.rsplit(",", 1)[0] for row in rows] == ["anna,submit", "ben,submit"]
    with TestClient(
        create_app(Settings(log_level="ERROR", _env_file=None)), raise_server_exceptions=False
    ) as api:
        owners = [
            client_of(api, row.rsplit(",", 1)[1]).get("/me").json()["owner"]["name"] for row in rows
        ]
    assert owners == ["anna", "ben"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_list_sent_twice_makes_no_second_keys_and_overwrites_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("anna\nben\n")
    create = ["keys", "create", "--from", "names.txt", "--out", "keys.csv"]
    main(create)
    kept = (tmp_path / "keys.csv").read_bytes()
    assert main(create) == 2
    assert "keys.csv is there already" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("anna\nben\n", newline="\r\n")
    assert main([*create, "--force"]) == 0
    err = capsys.readouterr().err
    assert "No key was made." in err
    assert "2 have a key already and were left alone (--again makes another): anna, ben" in err
    assert (tmp_path / "keys.csv").read_bytes() == kept, "what opens something stays"
    (tmp_path / "names.txt").write_text("anna\ncarl\n")
    assert main(["keys", "create", "--from", "names.txt"]) == 0
    assert [row.split(",")[0] for row in capsys.readouterr().out.splitlines()] == ["owner", "carl"]
    assert main([*create, "--force", "--again"]) == 0
    assert [row.split(",")[0] for row in (tmp_path / "keys.csv").read_text().splitlines()] == [
        "owner",
        "anna",
        "carl",
    ]


def test_one_bad_line_and_nothing_is_made(
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = io.TextIOWrapper(io.BytesIO(b"anna\nben!\n\nAnna@b.example\n"))
    monkeypatch.setattr("sys.stdin", names)
    assert main(["keys", "create", "--from", "-", "--out", "keys.csv"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "standard input: no key was made.",
        "line 2: 'ben!' gives no owner's name: write 1 to 64 of a-z, 0-9, '.', '_' and '-'",
        "line 4: 'Anna@b.example' gives the name anna, as line 1 does",
    ]
    assert not (tmp_path / "keys.csv").exists()
    assert not home.exists()


def test_keys_that_cannot_be_written_are_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "names.txt").write_text("anna\n")
    assert main(["keys", "create", "--from", "names.txt", "--out", "nowhere/keys.csv"]) == 2
    assert (
        "nowhere/keys.csv cannot be written: No such file or directory" in capsys.readouterr().err
    )
    assert main(["keys", "create", "--from", "names.txt", "--out", "/dev/full/keys.csv"]) == 2
    main(["keys", "create", "ben"])
    capsys.readouterr()
    main(["keys", "list"])
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == ["owner", "ben"]


def test_quotas_are_shown_with_whom_they_are_set_for(capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create", "anna"])
    assert main(["keys", "quota", "--role", "submit", "--queued", "50", "--hours", "none"]) == 0
    capsys.readouterr()
    assert main(["keys", "quota", "anna", "--running", "2", "--disk", "1.5GB"]) == 0
    assert [re.split("  +", row) for row in capsys.readouterr().out.splitlines()] == [
        ["quota", "limit", "set for"],
        ["queued", "50 runs", "role submit"],
        ["running", "2 runs", "anna"],
        ["hours", "none", "role submit"],
        ["disk", "1.5 GB", "anna"],
    ]
    assert main(["keys", "quota", "anna", "--running", "default", "--disk", "none"]) == 0
    assert [re.split("  +", row)[1:] for row in capsys.readouterr().out.splitlines()[2:]] == [
        ["none", "everybody"],
        ["none", "role submit"],
        ["none", "anna"],
    ]
    assert main(["keys", "quota", "--role", "read"]) == 0
    assert capsys.readouterr().out.count("not set") == 4


@pytest.mark.parametrize(
    "option", ["--running 0", "--running two", "--hours -1", "--hours nan", "--disk 5XB"]
)
def test_what_is_no_quota_is_refused(capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit):
        main(["keys", "quota", "anna", *option.split()])
    assert option.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "api"])
def test_a_service_for_a_network_without_keys_does_not_start(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    workers = ["--workers", "1"] if command == "serve" else []
    assert main([command, "--host", "0.0.0.0", *workers]) == 2
    assert "make one with `lab keys create YOUR-NAME --role admin`" in capsys.readouterr().err


def test_a_command_sends_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_API_KEY", " lab_abc\n")
    with Lab("http://127.0.0.1:1") as lab:
        assert lab._driver.http.headers["authorization"] == "Bearer lab_abc"
    monkeypatch.delenv("LAB_API_KEY")
    with Lab("http://127.0.0.1:1") as lab:
        assert "authorization" not in lab._driver.http.headers


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


def test_one_name_is_read_as_a_list_of_names_is(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "Anna Müller"]) == 0
    said = capsys.readouterr()
    assert "'Anna Müller' is called 'anna.muller' here." in said.err
    assert "a key of anna.muller" in said.err
    for wrong in ("*", "a b<x>"):
        assert main(["keys", "create", wrong]) == 2
        said = capsys.readouterr()
        assert "is called" not in said.err
        assert f"{wrong!r} is no owner's name" in said.err


def test_a_page_is_opened_by_whoever_may_write_the_database(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for role in ("read", "admin"):
        main(["keys", "create", "anna", "--role", role])
    capsys.readouterr()
    assert main(["open", "stu_1", "--as", "anna", "--print", "--url", "http://gpubox:8000/"]) == 0
    address = urlsplit(capsys.readouterr().out.strip())
    assert (address.netloc, address.path) == ("gpubox:8000", "/ui/session")
    with TestClient(create_app(Settings(log_level="ERROR", _env_file=None))) as api:
        opened = browser(api)
        answer = opened.get(f"{address.path}?{address.query}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/studies/stu_1")
        assert opened.get("/me").json()["role"] == "admin"
    assert main(["open", "--as", "ben"]) == 2
    assert "'ben' has no key" in capsys.readouterr().err
    assert main(["open", "curves"]) == 2
    assert "'curves' is no page" in capsys.readouterr().err


def test_a_page_is_opened_with_the_key_of_the_environment(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)  # says that there is none
    with TestClient(create_app(Settings(log_level="ERROR", _env_file=None))) as api:
        monkeypatch.setattr(
            blocking.httpx,
            "Client",
            lambda base_url, headers, transport: TestClient(api.app, base_url, headers=headers),
        )
        assert main(["open", "exp_1", "--url", "http://testserver"]) == 0
        assert opened == ["http://testserver/ui/experiments/exp_1"]
        assert capsys.readouterr().out == "http://testserver/ui/experiments/exp_1\n"
        main(["keys", "create", "anna"])
        secret = capsys.readouterr().out.strip()
        assert main(["open", "--url", "http://testserver"]) == 1
        assert "A key is needed (401)" in capsys.readouterr().err
        monkeypatch.setenv("LAB_API_KEY", secret)
        assert main(["open", "--url", "http://testserver"]) == 0
        printed, said = capsys.readouterr()
        assert secret not in printed
        assert "No browser could be started here" in said
        assert browser(api).get(opened[-1]).headers["location"] == "/ui/experiments"


@pytest.mark.parametrize(
    ("detail", "errors", "is_told"),
    [
        ("/epochs: must be above 0", [("/epochs", "must be above 0")], True),
        ("/a: x; /b: y", [("/a", "x"), ("/b", "y")], True),
        (
            "images lie in a/p (12); put them into train/",
            [("a/p/1.png", "is in no class folder")],
            False,
        ),
        ("must be above 0", [("/epochs", "must be above 0")], True),
        ("nothing is known of it", [], False),
    ],
)
def test_what_a_refusal_says_beyond_its_fields_is_shown(
    detail: str, errors: list[tuple[str, str]], is_told: bool
) -> None:
    problem = {
        "title": "Refused",
        "detail": detail,
        "errors": [{"pointer": pointer, "message": message} for pointer, message in errors],
    }
    refused = refusal(422, "", problem)
    assert (detail in str(refused).splitlines()[0]) is not is_told
