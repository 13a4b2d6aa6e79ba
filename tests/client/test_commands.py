"""`lab ls`, ids as people write them, and what the exit status of the commands says."""

import argparse
import json
import re
import shlex
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from rich.cells import cell_len

from app.commands.__main__ import _parser, main
from app.settings import Settings
from app.storage.db import Database
from tests.client.commanding import Command
from tests.client.test_objects import DIGITS, trained
from training_lab import Lab, NotFound, Unusable
from training_lab.commands import COMMANDS, ids, listing, output
from training_lab.commands.command_line import carried_out

pytestmark = pytest.mark.sqlite


# lab ls


def test_a_list_has_a_row_each_with_score_and_age_and_no_control_characters(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    first = trained(lab, database, settings, seeds=2, name="first")
    second = lab.submit(DIGITS, name="second [red]", labels={"week": 3})
    said = command("ls")
    assert said.status == 0
    assert said.err == ""
    cells = [re.split(r"  +", line.strip()) for line in said.lines]
    ages = [row.pop() for row in cells]
    assert ages[0] == "age"
    assert all(re.fullmatch(r"\d+ s", age) for age in ages[1:])
    assert cells == [
        ["id", "name", "network", "data", "status", "progress", "test accuracy"],
        [second.id, "second [red]", "mlp 1 x 8", "digits", "queued", "0 %"],
        [first.id, "first", "mlp 1 x 8", "digits", "succeeded", "0.900 (n = 2)"],
    ]
    assert "\x1b" not in said.out
    assert output.plain("a\x1b[31mb\u202e") == "a?[31mb?"


def test_a_list_is_narrowed_sorted_and_cut_as_the_service_does(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    best = trained(lab, database, settings, name="best")
    others = [lab.submit(DIGITS, labels={"n": number}) for number in range(3)]
    assert command("ls", "--status", "succeeded").lines[1].startswith(best.id)
    assert command("ls", "--sort", "-test.accuracy", "-n", "1").lines[1].startswith(best.id)
    assert command("ls", "--sort=created_at", "-n", "1").lines[1].startswith(best.id)
    assert command("ls", "--label", "n:2").lines[1].startswith(others[2].id)
    assert command("ls", "-q", "BEST").lines[1].startswith(best.id)
    cut = command("ls", "-n", "2")
    assert (len(cut.lines), cut.err) == (3, "There are more: -n 4 shows further ones.\n")
    assert command("ls", "-n", "2", "--quiet").err == ""
    assert command("ls", "-n", "4").err == ""
    best.edit(archived=True)
    assert len(command("ls").lines) == 4
    assert "best (archived)" in command("ls", "-a").out
    assert [row["id"] for row in json.loads(command("ls", "-a", "-n", "9", "--json").out)] == [
        *(other.id for other in others[::-1]),
        best.id,
    ]


def test_a_list_of_nothing_says_so_and_a_filter_that_cannot_be_is_refused(command: Command) -> None:
    assert command("ls").err == "No experiment yet.\n"
    assert command("ls", "--status", "failed").err == "There is no such experiment.\n"
    assert command("ls", "--json").out == "[]\n"
    refused = command("ls", "--sort", "beauty")
    assert refused.status == 1
    assert "sort" in refused.err
    assert command("ls", "-n", "0").status == 2
    assert command("ls", "--nonsense").status == 2


def test_who_does_not_reach_a_service_gets_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training_lab.retrying.FIRST_SECONDS", 0.0)
        assert main(["ls", "--url", "http://127.0.0.1:9"]) == 3
    assert "no answer from http://127.0.0.1:9" in capsys.readouterr().err
    assert main(["ls", "--url", "localhost"]) == 2
    assert "write http://HOST:PORT" in capsys.readouterr().err


def test_each_end_has_its_status() -> None:
    from training_lab import RunFailed, TimedOut
    from training_lab.commands.command_line import Detached

    def ends(error: Exception) -> int:
        def act(_: argparse.Namespace) -> int:
            raise error

        return carried_out(act, argparse.Namespace())

    assert [ends(RunFailed("x")), ends(TimedOut("x")), ends(Detached("x"))] == [1, 124, 130]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_a_time_is_told_in_one_unit(seconds: int, said: str) -> None:
    assert output.span(seconds) == said


def test_what_is_under_way_tells_how_far_and_how_long_still() -> None:
    now = datetime(2026, 1, 31, tzinfo=UTC)
    row = {
        "progress": {"fraction": 0.4},
        "estimated_finish_at": (now + timedelta(minutes=3)).isoformat(),
    }
    assert listing.progress_text(row, now) == "40 %, 3 min left"
    assert listing.progress_text({**row, "is_terminal": True}, now) == ""


def test_every_command_has_a_help_with_an_example_that_the_parser_takes() -> None:
    parser = _parser()
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    seen = set()
    for name, command in action.choices.items():
        if command.epilog is None:
            continue
        examples = re.findall(r"^(?:example: )?(lab .*)", command.epilog, re.MULTILINE)
        assert examples, name
        for example in examples:
            options = parser.parse_args(shlex.split(example.partition(" > ")[0])[1:])
            assert options.run is command.get_default("run"), name
        assert command.format_help().endswith("\n")
        seen.add(name)
    assert {"submit", "again", "study", "show", "cancel", "rm", "ls", "clone", "login"} <= seen
    assert len(seen) > len(COMMANDS)


# Ids


def test_a_beginning_that_fits_one_is_that_one(lab: Lab) -> None:
    made = lab.submit(DIGITS)
    study = lab.study_of(spec=DIGITS, vary={"epochs": [1, 2]})
    made.edit(archived=True)
    assert ids.whole_id(lab, made.id[:8]) == made.id
    assert ids.whole_id(lab, f"exp_{made.id[4:10].upper()}") == made.id
    assert ids.whole_id(lab, study.id[:8]) == study.id
    assert ids.whole_id(lab, made.id) == made.id
    assert ids.whole_id(lab, "@last-study") == study.id
    assert ids.whole_id(lab, "@last") in {cell["experiment_id"] for cell in study.cells}
    assert ids.run_of(lab, made.id[:9], None).id == made.runs[0].id
    assert ids.run_of(lab, made.runs[0].id, 0).id == made.runs[0].id


def test_the_other_commands_take_short_ids_as_well(command: Command, lab: Lab) -> None:
    made = lab.submit(DIGITS)
    assert json.loads(command("show", made.id[:8], "--json").out)["id"] == made.id
    assert json.loads(command("cancel", "@last", "--json").out)["status"] == "cancelled"
    assert command("delete", made.id[:9]).out == f"{made.id} is deleted.\n"
    gone = command("show", made.id[:9])
    assert gone.status == 1
    assert gone.err == f"there is no experiment '{made.id[:9]}', and none that begins so\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a/../b", "'a/../b' is no id: write exp_… or stu_…"),
        ("exp_a/b", "is no id"),
        ("exp_abc", "exp_abc is too short: write at least 4 characters after exp_"),
        ("exp_zzzz", "there is no experiment 'exp_zzzz', and none that begins so"),
        ("stu_zzzz", "there is no study 'stu_zzzz', and none that begins so"),
        ("run_abcd", "write the whole id of a run, or its experiment's and --seed, not run_abcd"),
        ("@last", "@last: there is none yet of local's"),
        ("@last-study", "@last-study: there is none yet of local's"),
        ("@first", "is no id"),
    ],
)
def test_what_fits_nothing_is_told_why(lab: Lab, text: str, said: str) -> None:
    with pytest.raises((Unusable, NotFound), match=re.escape(said)):
        ids.whole_id(lab, text)


def test_a_beginning_that_fits_several_names_them() -> None:
    """Ids are drawn at random, so a service of two lines has what fits."""
    rows = [
        {"id": f"exp_abcd{number}zzzzzzzz", "name": "x" if number else None} for number in range(7)
    ]

    def answer(few: int) -> httpx.MockTransport:
        page = {"data": rows[:few], "next_cursor": None}
        return httpx.MockTransport(lambda _: httpx.Response(200, json=page))

    with Lab("http://other", transport=answer(2)) as lab, pytest.raises(NotFound) as several:
        ids.whole_id(lab, "exp_abcd")
    assert str(several.value) == (
        "exp_abcd fits exp_abcd0zzzzzzzz, exp_abcd1zzzzzzzz (x): write more of it"
    )
    with Lab("http://other", transport=answer(7)) as lab, pytest.raises(NotFound) as many:
        ids.whole_id(lab, "exp_abcd")
    assert "exp_abcd4zzzzzzzz (x) and more: write more of it" in str(many.value)


def test_an_experiment_of_several_seeds_is_asked_which(lab: Lab) -> None:
    made = lab.submit(DIGITS, seeds=[3, 5])
    assert ids.run_of(lab, made.id, 5).seed == 5
    with pytest.raises(Unusable, match="has 2 runs: say which by --seed, one of 3, 5"):
        ids.run_of(lab, made.id, None)
    with pytest.raises(Unusable, match="has no seed 4; it has 3, 5"):
        ids.run_of(lab, made.id, 4)
    with pytest.raises(Unusable, match="has seed 3, not 5"):
        ids.run_of(lab, made.runs[0].id, 5)
    study = lab.study_of(spec=DIGITS, vary={"epochs": [1, 2]})
    with pytest.raises(Unusable, match=r"is a study, and an experiment \(exp_…\) is wanted"):
        ids.experiment_of(lab, study.id)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tain"], "there is no command 'tain' (did you mean 'train'?); `lab --help` lists them"),
        (["keys", "creat"], "no command 'creat' (did you mean 'create'?); `lab keys --help`"),
        (["zzz"], "lab: error: there is no command 'zzz'; `lab --help` lists them"),
        (
            ["ls", "--stats"],
            "lab ls: error: unrecognized arguments: --stats (did you mean '--status'?)",
        ),
        (
            ["train", "--modl", "mlp"],
            "unrecognized arguments: --modl mlp (did you mean '--model'?)",
        ),
        (["train", "--modl=mlp"], "unrecognized arguments: --modl=mlp (did you mean '--model'?)"),
        (["ls", "what"], "lab ls: error: unrecognized arguments: what\n"),
    ],
)
def test_a_slip_of_the_finger_is_told_what_was_probably_meant(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (200, "id name network data status progress test accuracy age"),
        (72, "id name network status progress accuracy age"),
        (40, "id status accuracy"),
    ],
)
def test_a_narrow_terminal_has_fewer_columns_and_whole_ids(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    headings: str,
) -> None:
    long = trained(lab, database, settings, seeds=2, name="längere Zeit 日本語 " * 3)
    waits = lab.submit(DIGITS, name="waits")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["ls"], ["show", long.id], ["ls", "--status", "queued"]):
        lines = [re.sub(r"\x1b\[\d*m", "", line) for line in command(*words).lines]
        assert all(cell_len(line) <= columns for line in lines)
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in command("ls").lines]
    firsts = [line.split()[0] for line in lines if line[:1].strip()]
    assert firsts[-2:] == [waits.id, long.id]
    above = lines[: next(place for place, line in enumerate(lines) if line.startswith("exp_"))]
    assert set(" ".join(above).split()) == set(f"{headings} test".split())
    status = command("show", long.id).out
    if columns > 40:  # no name of a score is broken
        assert any(line.startswith("accuracy  ") for line in status.splitlines())
    assert all(run.id in status for run in long.runs if columns > 40)
