"""`lab logs`, `watch`, `curves`, `metrics`, `compare`, `diff` and `clone`, as a terminal sees them."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from app.storage.db import Database
from tests.app.test_retry import begin, fail, finish_epoch, resume, succeed
from tests.client.commanding import Command
from tests.client.test_objects import DIGITS, trained
from training_lab import Lab, Run
from training_lab.commands import job_waiting
from training_lab.commands.text_plots import ASCII, Curve, number, plot
from training_lab.commands.watching import Watched
from training_lab.events import Event

pytestmark = pytest.mark.sqlite


def write_log(settings: Settings, run: Run, text: str, attempt: int = 1) -> None:
    path = settings.home / "runs" / run.id / f"attempt-{attempt}" / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# lab logs


def test_a_log_is_printed_whole_by_its_last_lines_and_followed_to_its_end(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    made = trained(lab, database, settings)
    write_log(settings, made.runs[0], "epoch 1/2\nepoch 2/2\ndone\x1b[31m")
    assert command("logs", made.id).out == "epoch 1/2\nepoch 2/2\ndone?[31m\n"
    assert command("logs", "@last", "--tail", "2").lines == ["epoch 2/2", "done?[31m"]
    assert command("logs", made.runs[0].id, "--attempt", "1").lines[0] == "epoch 1/2"
    assert command("logs", made.id, "-f").lines == ["epoch 1/2", "epoch 2/2", "done?[31m"]
    assert command("logs", made.id, "-f", "--tail", "1").lines == ["done?[31m"]
    assert command("logs", made.id, "-f", "--tail", "9").lines[0] == "epoch 1/2"
    absent = command("logs", made.id, "--attempt", "3")
    assert (absent.status, absent.out) == (1, "")
    assert "no attempt 3" in absent.err
    assert command("logs", made.id, "-f", "--attempt", "1").status == 2
    assert command("logs", made.id, "--tail", "0").status == 2
    assert command("logs", made.id, "--seed", "7").status == 2


def test_a_log_that_is_followed_from_its_last_line_tells_what_comes_after(
    lab: Lab, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_lab.run.FOLLOW_SECONDS", 0.01)
    made = lab.submit(DIGITS)
    lease = begin(database)
    write_log(settings, made.runs[0], "one\ntwo\nthr")
    lines = made.runs[0].follow_log(tail=2)
    assert next(lines) == "two"
    write_log(settings, made.runs[0], "one\ntwo\nthree\nfour\n")
    assert [next(lines), next(lines)] == ["three", "four"]
    resume(database, lease, settings)
    finish_epoch(database, lease, 1)
    succeed(database, lease)
    assert list(lines) == []


def test_who_ends_a_follow_is_told_that_the_run_goes_on(
    command: Command, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Run, tail: int | None = None) -> Iterator[str]:
        yield "a line"
        raise KeyboardInterrupt

    made = lab.submit(DIGITS)
    monkeypatch.setattr(Run, "follow_log", interrupted)
    said = command("logs", made.id, "-f")
    assert (said.status, said.out) == (130, "a line\n")
    assert f"the run goes on: `lab logs {made.runs[0].id} -f" in said.err


# lab watch


def test_a_watch_tells_changes_ends_with_a_table_and_with_the_jobs_status(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    good = trained(lab, database, settings, name="good")
    said = command("watch", good.id[:9])
    assert said.status == 0
    assert said.lines[0] == f"{good.id} (good) succeeded: All epochs done."
    assert said.lines[1].split() == ["id", "name", "status", "epoch", "val", "test", "accuracy"]
    assert said.lines[2].split()[:4] == [good.id, "good", "succeeded", "2"]
    assert "loss 0.500, accuracy 0.500" in said.lines[2]
    assert "0.900 (n = 1)" in said.lines[2]
    bad = lab.submit(DIGITS)
    fail(database, begin(database))
    both = command("watch", good.id, bad.id)
    assert both.status == 1
    assert f"{bad.id} failed" in both.out
    silent = command("watch", bad.id, "--quiet")
    assert (silent.status, silent.out, silent.err) == (1, "", "")
    assert command("watch").err == "Nothing of yours is under way.\n"


def test_a_watch_without_names_is_of_ones_own_and_goes_on_until_they_have_ended(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    made = lab.submit(DIGITS)
    lease = begin(database)

    def train() -> None:
        resume(database, lease, settings)
        finish_epoch(database, lease, 1)
        succeed(database, lease)

    later = threading.Timer(0.5, train)
    later.start()
    said = command("watch")
    later.join()
    assert said.status == 0
    assert [line.split()[1] for line in said.lines if line.startswith(f"{made.id} ")][-2:] == [
        "succeeded:",
        "succeeded",
    ]


def test_a_study_is_watched_by_its_cells(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    study = lab.study_of(spec={**DIGITS, "epochs": 1}, vary={"batch_size": [16, 32]})
    study.cancel()
    said = command("watch", "@last-study")
    assert said.status == 1
    assert {cell["experiment_id"] for cell in study.cells} <= set(said.out.split())


def test_who_ends_a_watch_is_told_what_goes_on(
    command: Command, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lab.submit(DIGITS)
    row = {"id": made.id, "name": None, "status": "queued", "status_message": "Queued."}

    def interrupted(self: Lab, *_: object, **__: object) -> Iterator[Event]:
        yield Event("experiment", row, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Lab, "events", interrupted)
    said = command("watch", made.id)
    assert said.status == 130
    assert "No longer watching, but 1 experiment will go on" in said.err
    assert lab.experiment(made.id).status == "queued"


def test_what_is_deleted_while_it_is_watched_has_not_succeeded() -> None:
    watched = Watched()
    row = {"id": "exp_a", "name": None, "status": "succeeded", "status_message": "Done."}
    assert watched.take(Event("experiment", row)) == "exp_a succeeded: Done."
    assert watched.take(Event("experiment", row)) is None
    assert watched.has_succeeded
    assert watched.take(Event("deleted", {"kind": "run", "id": "run_a"})) is None
    assert watched.take(Event("deleted", {"kind": "experiment", "id": "exp_a"})) == "exp_a deleted"
    assert not watched.has_succeeded


# lab curves and metrics


def test_a_plot_has_numbers_at_its_axes_and_each_point_in_its_place() -> None:
    curves = [
        Curve("train", ".", [(1, 1.0), (2, 0.5), (3, 0.0)]),
        Curve("val", "*", [(1, 1.0), (3, 1.0)]),
    ]
    assert plot("loss", curves, 18, ASCII, height=5) == [
        "loss   . train  * val",
        "1.00 +************",
        "     |  ...",
        "0.50 +     ...",
        "     |        ..",
        "0.00 +          ..",
        "     +------------",
        "      1          3",
    ]
    assert plot("loss", [Curve("val", "*", [])], 40) == []
    (_, *rows, axis, numbers) = plot("loss", [Curve("val", "*", [(4, 0.5)])], 40, ASCII, height=3)
    assert rows == ["0.550 +", "0.500 +*", "0.450 +"]
    assert numbers.strip() == "4"
    assert max(map(len, [*rows, axis])) <= 40


@pytest.mark.parametrize(
    ("value", "spread", "said"),
    [(0.97123, 0.001, "0.97123"), (12.3, 30.0, "12.3"), (2e9, 1e9, "2.000e+09"), (5.0, 900, "5")],
)
def test_an_axis_has_the_digits_that_tell_its_numbers_apart(
    value: float, spread: float, said: str
) -> None:
    assert number(value, spread) == said


def test_curves_are_drawn_as_text_or_stored_as_a_picture(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    made = trained(lab, database, settings, seeds=2, name="a")
    said = command("curves", made.id, "--ascii")
    assert said.status == 0
    assert said.lines[0] == "a: All 2 runs done."
    assert "loss   . train  * val" in said.lines
    assert "accuracy   . train  * val" in said.lines
    assert said.out.isascii()
    assert max(map(len, said.lines)) == 50
    assert "● val" in command("curves", made.id).out
    for ending, magic in (
        ("png", b"\x89PNG"),
        ("svg", b"<?xml"),
        ("pdf", b"%PDF"),
        ("tex", b"\\documentclass"),
    ):
        picture = tmp_path / f"curves.{ending}"
        assert command("curves", made.id, "-o", str(picture)).status == 0
        assert picture.read_bytes().startswith(magic)
    assert command("curves", made.id, "-o", str(tmp_path / "a.gif")).status == 2
    assert command("curves", made.id, "-o", str(tmp_path / "none" / "a.svg")).status == 2
    waiting = lab.submit(DIGITS)
    nothing = command("curves", waiting.id)
    assert (nothing.status, nothing.out) == (1, "")
    assert "has no finished epoch yet" in nothing.err
    study = lab.study_of(spec=DIGITS, vary={"epochs": [1, 2]})
    assert "-o FILE.pdf" in command("curves", study.id).err


def test_metrics_are_csv_or_parquet_of_all_that_is_named_once(
    command: Command, lab: Lab, database: Database, settings: Settings, tmp_path: Path
) -> None:
    import pyarrow.parquet

    made = trained(lab, database, settings, seeds=2)
    said = command("metrics", made.id, "@last")
    assert (
        said.lines[0] == "experiment,run,seed,epoch,train.accuracy,train.loss,val.accuracy,val.loss"
    )
    assert len(said.lines) == 5
    stored = command("metrics", made.id, "-o", str(tmp_path / "a.csv"))
    assert (stored.out, stored.err) == ("", f"4 rows in {tmp_path / 'a.csv'}\n")
    assert (tmp_path / "a.csv").read_text().splitlines() == said.lines
    assert command("metrics", made.id, "-o", str(tmp_path / "a.parquet"), "--quiet").err == ""
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").num_rows == 4
    assert command("metrics", made.id, "-o", str(tmp_path / "a.xlsx")).status == 2


# lab compare, diff and clone


def test_a_comparison_is_a_sentence_and_a_row_for_each(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    a, b, c = (
        trained(lab, database, settings, seeds=2, name=name, optimizer__learning_rate=rate)
        for name, rate in (("a", 0.1), ("b", 0.2), ("c", 0.3))
    )
    said = command("compare", a.id[:9], b.id, c.id, "--margin", "0.5")
    assert said.status == 0
    assert said.lines[0] == f"b against a: {lab.compare(a, b, margin=0.5).sentence}"
    assert said.lines[1].startswith("c against a: ")
    assert said.lines[3].split()[:3] == ["experiment", "name", "verdict"]
    assert [line.split()[:2] for line in said.lines[4:]] == [[b.id, "b"], [c.id, "c"]]
    assert "+0 percentage points" in said.lines[4]
    assert len(json.loads(command("compare", a.id, b.id, "--json").out)) == 1
    assert command("compare", a.id, a.id).status == 2
    assert command("compare", a.id).status == 2
    refused = command("compare", a.id, b.id, "--metric", "test.beauty")
    assert (refused.status, refused.out) == (1, "")


def test_a_diff_is_a_row_for_each_field(command: Command, lab: Lab) -> None:
    a = lab.submit(DIGITS, name="a")
    b = a.clone(epochs=7, optimizer__weight_decay=0.5)
    said = command("diff", a.id, b.id)
    assert [line.split() for line in said.lines] == [
        ["field", "a", b.id],
        ["epochs", "4", "7"],
        ["optimizer.weight_decay", "0.0", "0.5"],
    ]
    assert json.loads(command("diff", a.id, b.id, "--json").out)["epochs"] == [4, 7]
    same = command("diff", a.id, a.id)
    assert (same.status, same.out, same.err) == (0, "", "The specs are the same.\n")


def test_lists_of_layers_of_one_length_differ_in_layers(lab: Lab) -> None:
    layers = [{"conv": 8}, "relu", {"residual": ["relu", {"conv": 8}]}]
    a = lab.submit({**DIGITS, "model": {"layers": layers}})
    b = a.clone(set={"model.layers.1": "tanh", "model.layers.2.residual.1.conv": 4})
    assert a.diff(b) == {
        "model.layers.1": ("relu", "tanh"),
        "model.layers.2.residual.1.conv": (8, 4),
    }
    c = a.clone(set={"model.layers": layers[:2]})
    assert a.diff(c) == {"model.layers": (layers, layers[:2])}


def test_a_clone_has_what_is_changed_and_may_be_waited_for(
    command: Command,
    lab: Lab,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a = trained(lab, database, settings, labels={"week": 3})
    said = command(
        "clone", "@last", "epochs=7", "optimizer.learning_rate=0.1", "name=long", "labels.v=1.10"
    )
    assert said.status == 0
    made = lab.latest()
    assert said.lines == [f"{made.id} queued: {made.message}"]
    assert a.diff(made) == {"epochs": (4, 7), "optimizer.learning_rate": (0.001, 0.1)}
    assert (made.name, made.labels) == ("long", {"week": "3", "v": "1.10"})
    late = command("clone", a.id, "epochs=8", "--wait", "--timeout", "0.1", "--quiet")
    assert late.status == 124
    assert f"{lab.latest().id} has not ended within 0.1 s, but goes on: `lab watch" in late.err
    assert command("clone", a.id, "--timeout", "1").status == 2
    assert command("clone", a.id, "epochs").status == 2
    assert command("clone", a.id, "epoch=3").status == 1

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job_waiting, "wait_with_progress", interrupted)
    left = command("clone", a.id, "epochs=9", "--wait")
    assert left.status == 130
    assert f"{lab.latest().id} goes on" in left.err
