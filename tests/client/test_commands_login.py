"""`lab login`, `lab config` and `lab completion`: what is stored and for whom, and what a shell is told."""

import io
import os
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.commands.__main__ import _parser, main
from app.services.owners.keys import create_key
from app.settings import Settings
from app.storage.db import Database
from tests.client.commanding import Command
from tests.client.conftest import Loopback
from training_lab import Lab, Unusable
from training_lab.config import config_path, store
from training_lab.keys import key_header, url_for
from training_lab.recent_ids import recent_ids

pytestmark = pytest.mark.sqlite


@pytest.fixture
def key(database: Database) -> str:
    with database.writing() as session:
        return create_key(session, "ann", "submit")[1]


@pytest.fixture
def guarded(key: str, settings: Settings) -> Iterator[str]:
    """The address of a service that asks for keys, as one has been made before it began."""
    server = Loopback(settings)
    yield server.url
    server.end()


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_key_that_the_service_takes_is_stored_for_its_owners_eyes_and_used_from_then_on(
    guarded: str,
    key: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed(monkeypatch, f"{key}\n")
    assert main(["login", f"{guarded}/"]) == 0
    said = capsys.readouterr()
    assert f"{guarded}: key_" in said.err
    assert " of ann, role submit. Stored in " in said.err
    assert key not in said.err + said.out
    assert stat.S_IMODE(config_path().stat().st_mode) == 0o600
    assert tomllib.loads(config_path().read_text()) == {"url": guarded, "key": key}
    with Lab() as lab:
        assert lab.url == guarded
        assert lab.get("/me")["owner"]["name"] == "ann"
    assert main(["me"]) == 0
    assert capsys.readouterr().out.startswith("ann, role 'submit'")
    assert main(["config"]) == 0
    service, whose = capsys.readouterr().out.splitlines()
    assert service == f"service: {guarded} (by {config_path()})"
    assert whose.endswith(f" of ann, role submit (by {config_path()})")
    assert key not in whose


def test_a_key_that_is_refused_is_not_stored(
    guarded: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, message in (
        ("lab_wrong\n", "it does not take this key. Nothing is stored."),
        ("", "it asks for a key. Nothing is stored."),
    ):
        typed(monkeypatch, text)
        assert main(["login", guarded]) == 1
        assert message in capsys.readouterr().err
    typed(monkeypatch, "two words\n")
    assert main(["login", guarded]) == 2
    typed(monkeypatch, "")
    assert main(["login", "gpu-box"]) == 2
    monkeypatch.setattr("training_lab.retrying.FIRST_SECONDS", 0.0)
    typed(monkeypatch, "")
    assert main(["login", "http://127.0.0.1:9"]) == 3
    assert not config_path().exists()


def test_a_service_without_keys_is_stored_alone(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "lab_needless\n")
    assert main(["login", url]) == 0
    assert "asks for no keys, so yours is not stored" in capsys.readouterr().err
    assert tomllib.loads(config_path().read_text()) == {"url": url}
    assert main(["config"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "key: no keys are asked for"


def test_the_environment_goes_before_what_is_stored_and_no_other_service_gets_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store("http://gpu-box:8000", "lab_stored")
    assert url_for(None) == "http://gpu-box:8000"
    assert key_header(None, "http://gpu-box:8000") == {"Authorization": "Bearer lab_stored"}
    assert key_header(None, "http://other") == {}
    assert key_header("", "http://gpu-box:8000") == {}
    with Lab("http://gpu-box:8000/") as mine, Lab("http://other") as other:
        assert mine._driver.http.headers["authorization"] == "Bearer lab_stored"
        assert "authorization" not in other._driver.http.headers
    monkeypatch.setenv("LAB_URL", "http://other")
    monkeypatch.setenv("LAB_API_KEY", "lab_environment")
    assert url_for(None) == "http://other"
    assert key_header(None, "http://other") == {"Authorization": "Bearer lab_environment"}
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"data": []})

    monkeypatch.delenv("LAB_API_KEY")
    with Lab(transport=httpx.MockTransport(answer)) as lab:
        lab.workers()
    assert "authorization" not in seen[0].headers


@pytest.mark.parametrize(
    ("content", "said"),
    [("url = ", "is not TOML"), ("url = 3", "must have a text 'url'"), ("", "must have a text")],
)
def test_a_file_that_says_nothing_is_told_by_name_and_the_version_is_still_there(
    content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store("http://gpu-box", None)
    config_path().write_text(content)
    with pytest.raises(Unusable, match=said):
        Lab()
    for words in (["ls"], ["me"]):
        assert main(words) == 2
        assert str(config_path()) in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0


def test_the_folder_is_xdgs_unless_that_is_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path() == tmp_path / ".config" / "lab" / "config.toml"


# lab completion


def completed(script: str, *words: str) -> list[str]:
    """What bash offers after these words."""
    asked = f"COMP_WORDS=({' '.join(words)} ''); COMP_CWORD={len(words)}; compopt() {{ :; }}; _lab;"
    program = f"{script}\n{asked} printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=os.environ["XDG_CONFIG_HOME"],
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_their_own_commands_and_their_options(command: Command) -> None:
    script = main_output(["completion", "bash"])
    names = completed(script, "lab")
    assert {"ls", "watch", "logs", "curves", "metrics", "compare", "serve", "keys"} <= set(names)
    assert {"create", "list", "revoke", "quota"} <= set(completed(script, "lab", "keys"))
    assert "--role" in completed(script, "lab", "keys", "create")
    assert {"--status", "--label", "--sort", "--url"} <= set(completed(script, "lab", "ls"))
    assert "--follow" in completed(script, "lab", "logs", "exp_4k7z")
    assert completed(script, "lab", "completion")[:3] == ["bash", "zsh", "fish"]


def main_output(words: list[str]) -> str:
    import contextlib

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(words) == 0
    return out.getvalue()


def test_every_command_of_the_parser_is_completed_in_every_shell() -> None:
    names = list(_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr]
    for shell in ("bash", "zsh", "fish"):
        script = main_output(["completion", shell])
        for name in names:
            assert f" {name}" in script or f"'{name}'" in script, (shell, name)
    fish = main_output(["completion", "fish"])
    assert "complete -c lab -n '__fish_seen_subcommand_from ls' -l sort -d 'created_at," in fish
    with pytest.raises(SystemExit) as ended:
        main(["completion", "csh"])
    assert ended.value.code == 2


def test_a_key_that_is_not_taken_says_whose_it_was(
    guarded: str, key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stale one of the environment goes before what `lab login` has stored."""
    store(guarded, key)
    assert main(["ls", "--url", guarded]) == 0
    monkeypatch.setenv("LAB_API_KEY", "lab_stale")
    capsys.readouterr()
    assert main(["ls", "--url", guarded]) == 1
    assert capsys.readouterr().err.endswith("The key that was sent is that of LAB_API_KEY.\n")
    monkeypatch.delenv("LAB_API_KEY")
    store(guarded, "lab_stale")
    assert main(["ls", "--url", guarded]) == 1
    assert f"is that of {config_path()}.\n" in capsys.readouterr().err
    assert main(["ls", "--url", f"{guarded}/"]) == 1


def test_without_a_home_folder_all_goes_that_stores_nothing(
    command: Command, lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container whose user has no name."""

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    for name in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    assert command("ls").status == 0
    assert command("config").status == 0
    monkeypatch.setenv("LAB_URL", lab.url)
    lab.submit(dataset="digits")
    assert any(line.startswith("exp_") for line in recent_ids())
    typed(monkeypatch, "\n")
    assert main(["login", lab.url]) == 2
    assert (
        capsys.readouterr().err == "your home folder is not known: set HOME, or XDG_CONFIG_HOME\n"
    )
    said = command("sync", "tensorboard", "@last")
    assert (said.status, said.err) == (
        2,
        "your home folder is not known: set HOME, or XDG_STATE_HOME\n",
    )


def test_ctrl_d_where_a_key_is_asked_for_is_no_key(
    guarded: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("training_lab.commands.login.getpass", ended)
    assert main(["login", guarded]) == 1
    assert capsys.readouterr().err == f"\n{guarded}: it asks for a key. Nothing is stored.\n"
