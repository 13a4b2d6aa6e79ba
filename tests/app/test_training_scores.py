"""Scores of training over the API: the gap between train and test, and when an accuracy on val was reached."""

import json
from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.services.analyses.scores import ScoreKind
from app.services.analyses.training_scores import Threshold, reached, threshold_of
from app.services.lifecycle.entering import TAKEN_OVER
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run
from tests.app.pictures import words
from tests.app.studies import finish, grid, runs_by_cell, send

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases

PLAIN, RESIDUAL = "model.depth=2,model.residual=false", "model.depth=2,model.residual=true"


@pytest.fixture
def study(api: TestClient, database: Database, settings: Settings) -> dict[str, Any]:
    """Val accuracy rises by 0.05 in the second of two epochs: 85.5 % is reached by two of three plain runs and by all
    residual ones.
    """
    record = send(api, **grid(seeds=3))
    scores = {(PLAIN, seed): 0.90 + 0.01 * seed for seed in range(3)} | {
        (RESIDUAL, seed): 0.91 + 0.01 * seed for seed in range(3)
    }
    finish(database, settings, record["id"], scores)
    return record


def know_train(database: Database, study_id: str, cell: str, accuracies: list[float]) -> None:
    with database.writing() as session:
        for run in session.exec(
            select(Run)
            .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
            .where(col(Experiment.study_id) == study_id, col(Experiment.cell) == cell)
        ):
            run.train = {"loss": 0.1, "accuracy": accuracies[run.seed]}


def rows_of(api: TestClient, study: dict[str, Any], metric: str) -> dict[str, Any]:
    answer = api.get(f"/studies/{study['id']}/table?metric={metric}")
    assert answer.status_code == 200, answer.text
    return {row["cell"]: row["score"] for row in answer.json()["rows"]}


def test_the_gap_is_train_minus_test_for_accuracy_and_test_minus_train_for_loss(
    api: TestClient, database: Database, study: dict[str, Any]
) -> None:
    know_train(database, study["id"], PLAIN, [0.95, 0.95, 0.99])
    gaps = rows_of(api, study, "gap.accuracy")
    assert gaps[PLAIN]["values"] == pytest.approx([0.05, 0.04, 0.07])
    assert gaps[RESIDUAL] is None, "runs of older versions have none, which is no zero"
    assert rows_of(api, study, "gap.loss")[PLAIN]["values"] == pytest.approx([0.4] * 3)
    assert rows_of(api, study, "train.accuracy")[PLAIN]["values"] == [0.95, 0.95, 0.99]
    text = api.get(f"/studies/{study['id']}/table?metric=gap.accuracy&format=md").text
    assert "| train minus test accuracy, percentage points |" in text
    assert "| 5.33 ± 1.53 |" in text


def test_a_record_has_the_scores_on_train_beside_those_on_test(
    api: TestClient, database: Database, study: dict[str, Any]
) -> None:
    experiment = runs_by_cell(database, study["id"])[PLAIN, 0].experiment_id
    before = api.get(f"/experiments/{experiment}").json()
    assert [run["train"] for run in before["runs"]] == [None] * 3
    assert (before["results"]["train"], before["results"]["gap"]) == ({}, {})
    know_train(database, study["id"], PLAIN, [0.95, 0.95, 0.99])
    after = api.get(f"/experiments/{experiment}").json()
    assert after["runs"][0]["train"] == {"loss": 0.1, "accuracy": 0.95}
    assert after["results"]["train"]["accuracy"]["values"] == [0.95, 0.95, 0.99]
    assert after["results"]["gap"]["accuracy"]["mean"] == pytest.approx(0.16 / 3)
    assert after["results"]["gap"]["loss"]["ci95"] is None  # equal numbers say nothing of the next


def test_who_takes_results_over_takes_the_scores_on_train_as_well() -> None:
    assert {"best", "test", "train"} <= set(TAKEN_OVER)


def test_the_time_to_an_accuracy_is_of_the_runs_that_reach_it_and_says_so(
    api: TestClient, study: dict[str, Any]
) -> None:
    epochs = rows_of(api, study, "epochs_to.85.5")
    assert (epochs[PLAIN]["n"], epochs[PLAIN]["values"]) == (2, [2.0, 2.0])
    assert (epochs[RESIDUAL]["n"], epochs[RESIDUAL]["values"]) == (3, [2.0, 2.0, 2.0])
    assert rows_of(api, study, "seconds_to.85.5")[RESIDUAL]["values"] == [5.0, 5.0, 5.0]
    assert rows_of(api, study, "seconds_to.80")[PLAIN]["values"] == [2.5, 2.5, 2.5]
    table = api.get(f"/studies/{study['id']}/table?metric=epochs_to.85.5").json()
    assert any("85.5 % val accuracy: " in note and "2 of 3" in note for note in table["notes"])
    for asked in ("&format=md", "&format=latex"):
        text = api.get(f"/studies/{study['id']}/table?metric=epochs_to.85.5{asked}").text
        assert "2 of 3" in text
        assert "those that did" in text
    all_did = api.get(f"/studies/{study['id']}/table?metric=epochs_to.80").json()
    assert not any("reached" in note for note in all_did["notes"])


def test_what_no_run_reaches_has_no_number(api: TestClient, study: dict[str, Any]) -> None:
    assert set(rows_of(api, study, "epochs_to.99.9").values()) == {None}
    table = api.get(f"/studies/{study['id']}/table?metric=epochs_to.99.9").json()
    assert any("0 of 3" in note for note in table["notes"])


def test_a_comparison_of_times_warns_of_those_that_never_got_there(
    api: TestClient, database: Database, study: dict[str, Any]
) -> None:
    runs = runs_by_cell(database, study["id"])
    ids = ",".join(runs[cell, 0].experiment_id for cell in (PLAIN, RESIDUAL))
    found = api.get(f"/comparisons?experiments={ids}&metric=seconds_to.85.5").json()
    assert (found["n"], found["unit"]) == (2, "seconds")
    assert any("not every run reached 85.5 %" in warning for warning in found["warnings"])
    reached_by_all = api.get(f"/comparisons?experiments={ids}&metric=seconds_to.80").json()
    assert not any("reached" in warning for warning in reached_by_all["warnings"])
    verdicts = api.get(f"/studies/{study['id']}/verdicts?metric=epochs_to.85.5").json()
    assert "not every run reached 85.5 %" in json.dumps(verdicts["contrasts"])


@pytest.mark.parametrize("kind", ["factor", "heat-map", "tradeoff"])
def test_a_picture_of_times_says_that_not_every_run_got_there(
    api: TestClient, study: dict[str, Any], kind: str
) -> None:
    drawn = " ".join(
        words(api.get(f"/studies/{study['id']}/{kind}.svg?metric=epochs_to.85.5").text)
    )
    assert "not every run reached 85.5 %" in drawn


def test_the_sources_table_says_that_not_every_run_got_there(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, recipe="mlp-residual", seeds=2)
    finish(database, settings, record["id"], {("plain-6", 0): 0.5})
    asked = f"/studies/{record['id']}/table?shape=published&metric=epochs_to.80"
    assert "Not every run reached 80 % val accuracy: " in api.get(asked).json()["caption"]


@pytest.mark.parametrize("kind", ["factor", "differences", "heat-map", "tradeoff"])
def test_the_pictures_of_a_study_take_these_metrics(
    api: TestClient, study: dict[str, Any], kind: str
) -> None:
    for metric in ("gap.accuracy", "epochs_to.85.5", "seconds_to.80"):
        answer = api.get(f"/studies/{study['id']}/{kind}.svg?metric={metric}")
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "name",
    [
        *("epochs_to", "epochs_to.", "epochs_to.0", "epochs_to.101", "epochs_to.1e1"),
        *("epochs_to.-5", "steps_to.97", "gap.f1", "gap", "train.", "seconds_to.97.", "val_to.97"),
    ],
)
def test_what_is_no_such_score_is_refused(
    api: TestClient, study: dict[str, Any], name: str
) -> None:
    answer = api.get(f"/studies/{study['id']}/table", params={"metric": name})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["hint"].startswith("did you mean '")


def test_a_threshold_is_the_fraction_that_its_percentage_says() -> None:
    assert threshold_of("epochs_to.97") == Threshold("epochs", "97")
    for percent in range(1, 1001):
        text = f"{percent / 10:g}"
        assert Threshold("epochs", text).accuracy == percent / 1000, text


def test_the_first_epoch_counts_and_epochs_without_a_number_do_not() -> None:
    def epoch(accuracy: float | None) -> dict[str, dict[str, float | None]]:
        return {"train": {"seconds": 1.0}, "val": {"accuracy": accuracy, "seconds": 0.5}}

    numbers = {0: {}, 1: epoch(0.5), 2: epoch(None), 3: epoch(0.9), 4: epoch(0.7), 5: epoch(0.95)}
    assert reached(numbers, Threshold("epochs", "90")) == 3.0
    assert reached(numbers, Threshold("seconds", "90")) == 4.5
    assert reached(numbers, Threshold("epochs", "96")) is None
    assert reached({}, Threshold("epochs", "1")) is None


@pytest.mark.parametrize(
    ("name", "unit", "level", "label"),
    [
        ("gap.accuracy", "percentage points", "percentage points", "Train minus test accuracy"),
        ("gap.loss", "nats", "nats", "Test minus train loss"),
        ("train.accuracy", "percentage points", "%", "Train accuracy"),
        ("epochs_to.97.5", "epochs", "", "Epochs to 97.5 % val accuracy"),
        ("seconds_to.9", "seconds", "", "Seconds to 9 % val accuracy"),
    ],
)
def test_how_each_is_spoken_of(name: str, unit: str, level: str, label: str) -> None:
    kind = ScoreKind(name)
    assert (kind.unit, kind.level_unit, kind.label) == (unit, level, label)
    assert kind.lower_is_better is (name != "train.accuracy")


def test_an_interval_of_a_gap_may_lie_below_0_where_that_of_an_accuracy_is_cut() -> None:
    gap, accuracy = ScoreKind("gap.accuracy"), ScoreKind("test.accuracy")
    assert gap.interval((-0.25, 0.125)) == "-25.00 to 12.50"
    assert accuracy.interval((-0.25, 0.125)) == "0.00 to 12.50"
