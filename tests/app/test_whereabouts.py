"""Homes are found as git finds a repository, what only reads makes none, and another user's is not used."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.__main__ import _parser, main
from app.commands.setting_sources import setting_sources
from app.settings import Settings
from app.storage.db import open_database
from app.whereabouts import find_home

MAKES_A_HOME = {("serve",), ("api",), ("worker",), ("keys", "create"), ("restore",)}
"""Commands that may make a home; and the demo, which has one of its own."""
SPEAKS_TO_A_SERVICE = "--url"
KNOWS_NO_HOME = {("login",), ("config",), ("completion",)}
"""What is about a service elsewhere, or none."""
NOBODY = 65534

pytestmark = pytest.mark.sqlite


@pytest.fixture
def folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty folder to be in, where nobody names a home."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    for name in [key for key in os.environ if key.upper().startswith("LAB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def used(folder: Path) -> Path:
    """The same with a home that was used, and two folders below it."""
    open_database(Settings()).close()
    (folder / "homework" / "week-1").mkdir(parents=True)
    return folder


def commands_of(
    parser: argparse.ArgumentParser, names: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command that does something, with its parser."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield names, parser
    for action in below:
        for name, child in action.choices.items():
            yield from commands_of(child, (*names, name))


def arguments_of(parser: argparse.ArgumentParser) -> list[str]:
    """The least that a command needs; what speaks to a service finds none."""
    given = []
    for action in parser._actions:
        if SPEAKS_TO_A_SERVICE in action.option_strings:
            given += ["--url", "http://127.0.0.1:1"]
        elif not action.option_strings and action.nargs != "*":
            first = "exp_0000000000000" if action.dest == "id" else "one"
            given.append(next(iter(action.choices), first) if action.choices else first)
    return given


@pytest.mark.slow
def test_no_command_makes_anything_but_those_that_are_meant_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []
    for names, parser in commands_of(_parser()):
        if names in MAKES_A_HOME or names == ("demo",):
            continue
        try:
            status = main([*names, *arguments_of(parser)])
        except SystemExit as error:
            raise AssertionError(f"lab {' '.join(names)}: {capsys.readouterr().err}") from error
        said = capsys.readouterr()
        assert list(folder.iterdir()) == [], f"lab {' '.join(names)} has made something"
        speaks = any(SPEAKS_TO_A_SERVICE in action.option_strings for action in parser._actions)
        if not speaks and names not in KNOWS_NO_HOME:
            assert f"no .lab was found in {folder}" in said.err, names
            assert status == (0 if names == ("settings",) else 2), names
            tried.append(names)
    assert {("keys", "list"), ("keys", "revoke"), ("backup",), ("gc",), ("settings",)} <= set(tried)


def test_what_may_make_a_home_makes_it_in_the_current_folder(folder: Path) -> None:
    assert main(["keys", "create", "ada"]) == 0
    assert [path.name for path in folder.iterdir()] == [".lab"]
    assert main(["keys", "list"]) == 0


def test_a_home_is_found_from_the_folders_below_it(
    used: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(used / "homework" / "week-1")
    assert Settings().home == used / ".lab"
    assert setting_sources()["home"] == "found"
    assert main(["keys", "create", "ada"]) == 0
    assert main(["keys", "list"]) == 0
    assert "ada" in capsys.readouterr().out
    assert not (used / "homework" / "week-1" / ".lab").exists()


def test_the_nearest_home_wins_and_one_in_the_current_folder_though_it_is_empty(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(used / "homework" / "week-1")
    (used / "homework" / ".lab").mkdir()
    assert Settings().home == used / ".lab", "an empty folder further up is no home"
    Path(".lab").mkdir()
    assert Settings().home == Path(".lab")


def test_who_names_a_home_gets_that_one(
    used: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(used / "homework")
    assert Settings(home=used / "other").home == used / "other"
    Path(".env").write_text("LAB_HOME=mine\n")
    assert Settings().home == Path("mine")
    monkeypatch.setenv("LAB_HOME", str(used / "another"))
    assert Settings().home == used / "another"
    assert main(["gc"]) == 2
    assert f"there is no folder {used / 'another'}, which LAB_HOME names" in capsys.readouterr().err


def test_the_env_file_beside_a_found_home_is_read_and_the_one_of_the_current_folder_wins(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = used / ".env"
    beside.write_text("LAB_API_KEYS=on\nLAB_MAX_SEEDS=7\nLAB_DATA_DIR=data:/srv/images\n")
    monkeypatch.chdir(used / "homework")
    Path(".env").write_text("LAB_MAX_SEEDS=9\n")
    settings = Settings()
    assert (settings.api_keys, settings.max_seeds) == ("on", 9)
    assert settings.search_folders == (used / "data", Path("/srv/images"))
    assert settings.home == used / ".lab"
    sources = setting_sources()
    assert (sources["api_keys"], sources["max_seeds"], sources["max_epochs"]) == (
        str(beside),
        ".env",
        "default",
    )
    monkeypatch.setenv("LAB_HOME", "named")
    assert (Settings().api_keys, setting_sources()["api_keys"]) == ("auto", "default")
    monkeypatch.delenv("LAB_HOME")
    beside.write_text("LAB_HOME=elsewhere\nAPP_MAX_SEEDS=3\n")
    assert setting_sources()["max_seeds"] == ".env"
    assert Settings().home == used / "elsewhere"
    assert Settings(_env_file=None).home == used / ".lab"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("way", ["home", "link"])
def test_a_home_of_another_user_is_passed_over_with_a_sentence(
    used: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    foreign = used / ".lab"
    if way == "link":
        foreign.rename(used / "theirs")
        foreign.symlink_to("theirs")
    os.chown(foreign, NOBODY, NOBODY, follow_symlinks=False)
    monkeypatch.chdir(used / "homework")
    assert find_home().foreign == (foreign,)
    assert main(["keys", "list"]) == 2
    said = capsys.readouterr().err
    assert f"{foreign} belongs to another user" in said
    assert f"LAB_HOME={foreign} uses it all the same" in said
    assert main(["keys", "create", "ada"]) == 0
    assert f"{foreign} belongs to another user" in capsys.readouterr().err
    assert Path(".lab").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_env_file_of_another_user_beside_a_found_home_is_not_read(
    used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (used / ".env").write_text("LAB_API_KEYS=off\nLAB_MAX_SEEDS=7\n")
    os.chown(used / ".env", NOBODY, NOBODY)
    monkeypatch.chdir(used / "homework")
    assert Settings().max_seeds == 100


def test_a_home_without_its_database_is_said_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".lab").mkdir()
    assert main(["keys", "list"]) == 2
    assert f"there is no database {folder / '.lab' / 'lab.sqlite3'}" in capsys.readouterr().err
    assert list((folder / ".lab").iterdir()) == []


def test_a_database_url_that_is_none_is_said_by_name(
    used: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_DATABASE_URL", "garbage")
    for command in (["keys", "list"], ["gc"], ["backup", "copy.db"]):
        assert main(command) == 2
        assert "LAB_DATABASE_URL is not a database URL" in capsys.readouterr().err
    assert main(["settings"]) == 0
