"""`lab show`, and `lab cancel`, `pause`, `resume`, `retry`, `delete`: one page, and a line for each that is steered."""

import io
import json
from pathlib import Path

import httpx
import pytest

from app.services import lifecycle
from app.settings import Settings
from app.storage.db import Database
from tests.app.studies import fail_next
from tests.client.commanding import Command, Said
from tests.client.test_objects import DIGITS, trained
from training_lab import Lab, Unusable
from training_lab.commands import predicting, showing
from training_lab.commands.command_line import complain
from training_lab.commands.running import parser_with
from training_lab.commands.steering import VERBS

pytestmark = pytest.mark.sqlite


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# The verbs


def test_several_are_steered_with_a_line_each_and_a_refusal_keeps_none_of_the_others(
    command: Command, lab: Lab
) -> None:
    first, second, third = (lab.submit(DIGITS) for _ in range(3))
    first.cancel()
    second.cancel()
    lab.submit(DIGITS)
    said = command("delete", first.id, third.id, second.id[:9], first.id)
    assert (said.status, said.lines) == (1, [f"{first.id} is deleted.", f"{second.id} is deleted."])
    assert said.err.startswith(f"{third.id}: ")
    assert "(409)" in said.err
    paused = command("pause", third.id)
    assert paused.lines == [f"{third.id} paused: {third.refresh().message}"]
    assert json.loads(command("resume", third.id, "--json").out)["status"] == "queued"
    assert command("cancel", third.id, "--quiet").out == ""
    retried = json.loads(command("retry", third.id, "@last", "--json").out)
    assert [one["id"] for one in retried] == [third.id]
    gone = command("rm", "exp_zzzz")
    assert (gone.status, gone.out) == (1, "")
    assert gone.err == "there is no experiment 'exp_zzzz', and none that begins so\n"


def test_what_waits_for_a_device_is_sent_elsewhere(command: Command, lab: Lab) -> None:
    assert command("train", "--dataset", "digits", "--device", "cuda", "--no-wait").status == 0
    stuck = next(iter(lab.experiments(limit=1)))
    assert stuck.refresh().raw["trains_on"] == "cuda"
    moved = command("move", "@last", "--device", "any")
    assert moved.lines == [f"{stuck.id} queued: {stuck.refresh().message}"]
    assert (stuck.raw["device"], stuck.raw["trains_on"]) == ("any", None)
    study = lab.study_of(specs=[DIGITS, {**DIGITS, "epochs": 3}], seeds=1, device="cuda")
    said = command("move", study.id, "--device", "cpu", "--json")
    assert json.loads(said.out)["id"] == study.id
    cells = list(lab.experiments(study=study.id))
    assert {one.refresh().raw["trains_on"] for one in cells} == {"cpu"}
    stuck.cancel()
    assert "has ended" in command("move", stuck.id, "--device", "cpu").err
    assert command("move", stuck.id).status == 2
    study.cancel()
    assert command("move", study.id, "--device", "cpu").status == 2


def test_what_fits_a_label_is_steered_once_somebody_has_said_yes(
    command: Command, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = [lab.submit(DIGITS, labels={"week": 3}) for _ in range(2)]
    other = lab.submit(DIGITS)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # a script says --yes
    asked = command("cancel", "--label", "week:3")
    assert (asked.status, asked.out) == (2, "")
    assert "2 experiments fit: exp_" in asked.err
    assert asked.err.endswith("Nothing was done: --yes says that they are meant\n")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert command("cancel", "--label", "week:3").status == 1
    assert {one.refresh().status for one in labelled} == {"queued"}
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    said = command("cancel", "--label", "week:3")
    assert (said.status, len(said.lines)) == (0, 2)
    assert {one.refresh().status for one in labelled} == {"cancelled"}
    assert other.refresh().status == "queued"
    again = command("retry", "--status", "cancelled", "--yes", "--json")
    assert {one["id"] for one in json.loads(again.out)} == {one.id for one in labelled}
    nothing = command("delete", "--label", "week:4", "--yes")
    assert (nothing.status, nothing.out) == (0, "")
    assert nothing.err == "There is no experiment of yours to delete that fits.\n"
    assert command("cancel").status == 2
    assert command("cancel", other.id, "--label", "week:3").status == 2


def test_every_verb_says_in_its_help_what_it_does(command: Command) -> None:
    for verb in VERBS:
        assert f"usage: lab {verb.name}" in command(verb.name, "--help").out


# lab show


def test_an_experiment_is_shown_with_results_seeds_and_its_page(
    command: Command, lab: Lab, database: Database, settings: Settings
) -> None:
    made = trained(lab, database, settings, seeds=2, name="two [red]", labels={"week": 3})
    said = command("show", made.id[:9])
    assert (said.status, said.err) == (0, "")
    assert "\x1b" not in said.out
    assert said.lines[0] == f"{made.id}  succeeded  two [red]"
    assert said.lines[1] == made.message
    facts = dict(line.split("  ", 1) for line in said.lines if line.startswith(("network", "page")))
    assert facts["network"].strip().startswith("mlp 1 x 8, ")
    assert facts["page"].strip() == made.url
    assert "\nlabels     week:3\n" in said.out
    score = next(line for line in said.lines if line.startswith("accuracy"))
    assert str(made.results["test"]["accuracy"]) in score
    rows = [line.split() for line in said.lines if "run_" in line]
    assert [row[:3] for row in rows] == [[str(run.seed), run.id, "succeeded"] for run in made.runs]
    record = json.loads(command("show", made.id, "--json").out)
    assert record == made.refresh().raw
    run = command("show", made.runs[0].id)
    assert run.lines[0] == f"{made.runs[0].id}  succeeded  seed {made.runs[0].seed}"
    assert f"experiment  {made.id}" in run.out
    assert json.loads(command("show", made.runs[0].id, "--json").out)["id"] == made.runs[0].id


def test_what_waits_and_what_failed_says_why_and_what_to_do(
    command: Command, lab: Lab, database: Database
) -> None:
    made = lab.submit(DIGITS, seeds=2)
    waiting = command("show", made.id).lines[1]
    assert waiting.startswith("Queued, but no worker is online: start one with `lab worker`.")
    assert waiting.endswith("(0 % done, place 1 in the queue)")
    with database.writing() as session:
        assert lifecycle.claim(session, "worker") is not None
    fail_next(database)
    said = command("show", made.id).out
    assert "Errors\nseed 1: the loss is not finite (lower the learning rate)\n" in said


def test_a_study_is_shown_with_its_cells_and_where_its_report_is(
    command: Command, lab: Lab
) -> None:
    study = lab.study_of(spec=DIGITS, vary={"epochs": [1, 2]}, seeds=2)
    said = command("show", "@last-study")
    assert said.lines[0] == f"{study.id}  queued  {study.name}"
    cells = [line.split() for line in said.lines if "exp_" in line]
    assert [cell[-1] for cell in cells] == [cell["experiment_id"] for cell in study.cells]
    assert [cell[-4:-1] for cell in cells] == [["0", "of", "2"]] * 2
    assert f"{lab.url}/studies/{study.id}/report.html" in said.out
    assert json.loads(command("show", study.id, "--json").out)["id"] == study.id


def test_a_record_with_less_and_more_than_is_known_is_shown_all_the_same() -> None:
    record = {"id": "exp_1", "status": "resting", "spec": {}, "runs": [], "new": {"a": 1}}
    parts = [str(part) for part in showing._experiment(record, {}, "http://other")]
    assert parts[0] == "exp_1  resting"


# lab predict


def test_predictions_are_a_row_an_image_and_what_cannot_be_is_said_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a service of a few lines: networks are asked by tests/app/test_predict.py."""
    image, bad = tmp_path / "leaf.png", tmp_path / "bad.png"
    image.write_bytes(b"an image")
    bad.write_bytes(b"none")
    run_id = "run_" + 13 * "1"
    asked: list[tuple[str, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"id": run_id, "seed": 4, "status": "succeeded"})
        asked.append((request.url.query.decode(), request.content))
        if request.content == b"none":
            problem = {"title": "Not an image", "detail": "it has 4 bytes", "code": "bad"}
            return httpx.Response(422, json=problem)
        classes = [{"name": "rose", "probability": 0.75}, {"name": "lily", "probability": 0.25}]
        return httpx.Response(200, json={"predicted": classes[0], "probabilities": classes})

    def speaking(*words: str) -> Said:
        capsys.readouterr()
        options = parser_with([]).parse_args(["predict", *words])
        with Lab("http://other", transport=httpx.MockTransport(answer)) as lab:
            try:
                status = predicting._predict(lab, options)
            except Unusable as error:
                status = complain(str(error), 2)
        return Said(status, *capsys.readouterr())

    said = speaking(run_id, str(image), "test:17", "--top", "2")
    assert (said.status, said.err) == (0, f"By {run_id}, seed 4.\n")
    assert [line.split() for line in said.lines] == [
        ["image", "class", "probability", "then"],
        [str(image), "rose", "75.0", "%", "lily", "25.0", "%"],
        ["test:17", "rose", "75.0", "%", "lily", "25.0", "%"],
    ]
    assert asked == [("top=2", b"an image"), ("top=2", b'{"split": "test", "row": 17}')]
    partly = speaking(run_id, str(bad), str(image), "--json")
    assert partly.status == 1
    assert partly.err == f"{bad}: Not an image (422): it has 4 bytes\n"
    assert [one["image"] for one in json.loads(partly.out)] == [str(image)]
    asked.clear()
    missing = speaking(run_id, str(image), str(tmp_path / "none.png"))
    assert (missing.status, asked) == (2, [])
    assert "none.png: there is no such file" in missing.err
