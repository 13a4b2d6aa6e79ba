"""What reads cost: pictures of numbers added up in the database, ETags from rows, exports in pieces, lists that load
what they show.
"""

import csv
import io
import json
import math
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, insert, update
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.api.experiments.number_schemas import MetricsAnswer
from app.api.http import streams
from app.api.http.passes import Passes
from app.errors import Overloaded
from app.main import create_app
from app.plots.figures.experiments import CurvesFigure
from app.plots.pictures.experiments.curves import draw_curves
from app.services import lifecycle
from app.services.experiments import deletion, exports, metrics, progress, replicates, revisions
from app.services.experiments.metrics import curves_of, metrics_of, record_epoch
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Experiment, Metric, Run
from lab_models.training.protocol import Started
from tests.app.rows import create
from tests.app.series import over_runs
from tests.app.studies import finish, grid, send
from tests.app.test_passes import watched_api

SPEC = {"dataset": "digits", "model": {"depth": 1, "width": 8}, "epochs": 3}
NAMES = ("loss", "accuracy", "seconds")


def long_experiment(
    database: Database, *, seeds: int = 3, epochs: int = 40, gaps: float = 0.0
) -> str:
    """An experiment that has trained; `gaps` is the share of numbers that were not finite. The last run has ended after
    half of the epochs.
    """
    chance = random.Random(0)
    with database.writing() as session:
        experiment = create(session, {**SPEC, "epochs": epochs, "seeds": list(range(seeds))})
        session.flush()
        ids = list(
            session.exec(
                select(Run.id).where(Run.experiment_id == experiment.id).order_by(col(Run.position))
            )
        )
        rows = [
            {
                "run_id": run_id,
                "epoch": epoch,
                "split": split,
                "name": name,
                "value": None if chance.random() < gaps else chance.random() / epoch,
            }
            for run_id in ids
            for epoch in range(1, epochs // (2 if run_id == ids[-1] else 1) + 1)
            for split in ("train", "val")
            for name in NAMES
        ]
        session.execute(insert(Metric), rows)
        session.execute(
            update(Run).values(
                status=RunStatus.SUCCEEDED, status_reason=StatusReason.COMPLETED, epochs_done=epochs
            )
        )
        return experiment.id


def runs_of(session: Session, experiment_id: str) -> list[str]:
    return list(
        session.exec(
            select(Run.id).where(Run.experiment_id == experiment_id).order_by(col(Run.position))
        )
    )


def statements(database: Database) -> list[str]:
    """All that is asked of the database from now on."""
    found: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: found.append(statement),
    )
    return found


# Aggregated in the database


@pytest.mark.parametrize("gaps", [0.0, 0.3])
@pytest.mark.parametrize("seeds", [1, 4])
def test_numbers_added_up_in_the_database_are_those_of_the_runs_and_make_the_same_picture(
    database: Database, seeds: int, gaps: float
) -> None:
    experiment = long_experiment(database, seeds=seeds, gaps=gaps)
    with database.reading() as session:
        ids = runs_of(session, experiment)
        (found,) = curves_of(session, [ids], NAMES).groups
        raw = metrics_of(session, ids)
    own = {
        (split, name): over_runs(
            *(
                {epoch: splits[split][name] for epoch, splits in raw[run_id].items()}
                for run_id in ids
            )
        )
        for split in ("train", "val")
        for name in NAMES
    }
    assert found.keys() == own.keys()
    for key, series in found.items():
        assert series.epochs.tolist() == own[key].epochs.tolist()
        for part in ("mean", "low", "high"):
            assert getattr(series, part) == pytest.approx(getattr(own[key], part), nan_ok=True)
        assert (series.num_runs, series.has_gaps) == (own[key].num_runs, own[key].has_gaps)
    drawn = [
        draw_curves(CurvesFigure("a title", "", ["loss", "accuracy"], curves, 40), "png")
        for curves in (found, own)
    ]
    assert drawn[0] == drawn[1]


def test_numbers_too_large_to_add_up_count_as_not_finite(database: Database) -> None:
    with database.writing() as session:
        ids = runs_of(session, create(session, {**SPEC, "seeds": 3}).id)
        for run_id, value in zip(ids, (1.5e308, -1.7e308, 2.0), strict=True):
            record_epoch(session, run_id, 1, {"train": {"loss": value}})
        (found,) = curves_of(session, [ids], ["loss"]).groups
    series = found["train", "loss"]
    assert (series.mean.tolist(), series.low.tolist(), series.high.tolist(), series.has_gaps) == (
        [2.0],
        [2.0],
        [2.0],
        True,
    )


def test_a_long_training_is_thinned_with_its_first_last_and_best_epoch_and_the_picture_says_so(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = long_experiment(database, seeds=2, epochs=40)
    monkeypatch.setattr(metrics, "MOST_EPOCHS", 12)
    with database.reading() as session:
        curves = curves_of(session, [runs_of(session, experiment)], ["loss"], marked=[18])
    assert curves.groups[0]["val", "loss"].epochs.tolist() == [
        1,
        5,
        9,
        13,
        17,
        18,
        21,
        25,
        29,
        33,
        37,
        40,
    ]
    assert curves.note == "every 4th of 40 epochs"
    svg = api.get(f"/experiments/{experiment}/curves.svg").text
    assert "every 4th of 40 epochs</text>" in svg
    compared = api.get("/comparisons/curves.svg", params={"experiments": experiment}).text
    assert ">1 experiments; every 4th of 40 epochs</text>" in compared
    assert len(api.get(f"/experiments/{experiment}/metrics").json()["runs"][0]["epochs"]) == 40, (
        "what is exported is never thinned"
    )


def test_many_runs_are_thinned_more_and_no_picture_reads_more_numbers_than_is_set(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = long_experiment(database, seeds=6, epochs=60)
    monkeypatch.setattr(metrics, "MOST_NUMBERS", 6 * 2 * 2 * 10)
    monkeypatch.setattr(metrics, "FEWEST_EPOCHS", 5)
    with database.reading() as session:
        curves = curves_of(session, [runs_of(session, experiment)], ["loss", "accuracy"])
    assert curves.every == 6
    assert len(curves.groups[0]["val", "loss"]) == 11


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2, "2nd"),
        (3, "3rd"),
        (11, "11th"),
        (12, "12th"),
        (13, "13th"),
        (21, "21st"),
        (1012, "1,012th"),
    ],
)
def test_ordinal_numbers(number: int, text: str) -> None:
    assert metrics.Curves([], number, 5_000).note == f"every {text} of 5,000 epochs"


# ETags


def test_what_the_caller_has_is_answered_before_any_number_is_read(
    api: TestClient, database: Database
) -> None:
    experiment = long_experiment(database)
    study = send(api, **grid())
    body = {"kind": "distill", "teacher": {"spec": {"epochs": 2}}, "baseline": True}
    distilled = api.post("/experiments", json=body).json()["id"]
    addresses = [
        f"/experiments/{experiment}/curves.png",
        f"/experiments/{distilled}/distillation.png",
        f"/comparisons/curves.png?experiments={experiment}",
        f"/studies/{study['id']}/curves.png",
    ]
    addresses += [
        f"/studies/{study['id']}/{what}"
        for what in ("table", "table?format=csv", "verdicts", "report.html")
    ]
    for address in addresses:
        first = api.get(address)
        assert first.status_code == 200, address
        asked = statements(api.app.state.database)  # type: ignore[attr-defined]
        again = api.get(address, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (
            304,
            b"",
            first.headers["etag"],
        )
        assert not [statement for statement in asked if "metric.value" in statement], address
    tags = {
        api.get(f"/experiments/{experiment}/curves.{extension}?metric={metric}").headers["etag"]
        for extension in ("png", "svg")
        for metric in NAMES[:2]
    }
    assert len(tags) == 4, "what is asked for is part of it"


def test_everything_that_changes_a_picture_changes_the_revision(database: Database) -> None:
    seen: list[str] = []
    with database.writing() as session:
        experiment = create(session, {**SPEC, "seeds": 2})

    def expect_another(what: str, wanted: bool = True) -> None:
        with database.reading() as session:
            revision = revisions.of_experiments(session, [experiment.id])
        assert (revision not in seen) == wanted, what
        seen.append(revision)

    def epoch(lease: lifecycle.Lease, number: int) -> None:
        with database.writing() as session:
            done = lifecycle.EpochDone(number, number, {"loss": 1.0})
            lifecycle.renew(session, lease, done)
            record_epoch(session, lease.run_id, number, {"train": {"loss": 1.0}})

    def claim() -> lifecycle.Lease:
        with database.writing() as session:
            lease = lifecycle.claim(session, "w")
            assert lease is not None
            return lease

    expect_another("at first")
    expect_another("nothing", wanted=False)
    lease = claim()
    expect_another("claimed")
    with database.writing() as session:
        lifecycle.renew(session, lease)
        record_epoch(session, lease.run_id, 0, {"gradient_l2": {"head": 1.0}})
    expect_another("measured at initialization")
    for number in (1, 2):
        epoch(lease, number)
        expect_another(f"epoch {number}")
    with database.writing() as session:
        lifecycle.renew(session, lease)
    expect_another("a sign of life", wanted=False)
    with database.writing() as session:
        lifecycle.release(session, lease)
    expect_another("left")
    lease = claim()
    with database.writing() as session:
        progress.record_started(
            session, lease, Started(environment={}, resumed_from=(1, 0), notes=[])
        )
    expect_another("a resume that forgets an epoch")
    epoch(lease, 2)
    expect_another("the same epoch by another attempt")
    with database.writing() as session:
        lifecycle.fail(
            session, lease, {"code": "diverged", "message": "", "hint": "", "traceback_tail": ""}
        )
    expect_another("failed")
    with database.writing() as session:
        lifecycle.retry(session, [lease.run_id])
    expect_another("retried")
    with database.writing() as session:
        lifecycle.cancel(session, [lease.run_id])
    expect_another("cancelled")
    with database.writing() as session:
        session.execute(update(Experiment).values(name="another"))
    expect_another("named")
    with database.writing() as session:
        replicates.add_seeds(session, {experiment.id: (0, 1, 2)}, {})
    expect_another("more seeds")
    with database.writing() as session:
        lifecycle.cancel(session, runs_of(session, experiment.id))
        deletion.delete(session, session.get_one(Experiment, experiment.id))
    expect_another("deleted")


def test_a_study_has_another_revision_with_each_result_and_with_more_seeds(
    api: TestClient, database: Database, settings: Settings
) -> None:
    study = send(api, **grid())
    tags = [api.get(f"/studies/{study['id']}/table").headers["etag"]]
    finish(database, settings, study["id"], {})
    tags.append(api.get(f"/studies/{study['id']}/table").headers["etag"])
    api.post(f"/studies/{study['id']}/extend", json={"seeds": 1})
    tags.append(api.get(f"/studies/{study['id']}/table").headers["etag"])
    assert len(set(tags)) == 3
    assert (
        len(
            {
                api.get(f"/studies/{study['id']}/table?format={form}").headers["etag"]
                for form in ("json", "md", "csv", "latex")
            }
        )
        == 4
    )


# Exports


def as_before(session: Session, experiment_id: str) -> dict[str, Any]:
    """The document, from all rows at once."""
    runs = session.exec(
        select(Run).where(Run.experiment_id == experiment_id).order_by(col(Run.position))
    ).all()
    numbers = metrics_of(session, [run.id for run in runs])
    return {
        "experiment_id": experiment_id,
        "runs": [
            {
                "run_id": run.id,
                "seed": run.seed,
                "epochs": [
                    {"epoch": epoch, "train": splits.get("train", {}), "val": splits.get("val", {})}
                    for epoch, splits in numbers[run.id].items()
                ],
            }
            for run in runs
        ],
    }


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_document_in_pieces_is_the_whole_one(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(exports, "EPOCHS_AT_ONCE", at_once)
    monkeypatch.setattr(exports, "EPOCHS_OF_NAMES", at_once)
    monkeypatch.setattr(streams, "AT_ONCE", 1)
    experiment = long_experiment(database, seeds=4, epochs=10, gaps=0.2)
    with database.writing() as session:
        ids = runs_of(session, experiment)
        # a run without numbers
        session.execute(Metric.__table__.delete().where(Metric.__table__.c.run_id == ids[1]))
        record_epoch(
            session,
            ids[2],
            3,
            {"val": {"teacher_agreement": 0.1 + 0.2}, "train": {'"quoted"': math.inf}},
        )
        whole = as_before(session, experiment)
    document = api.get(f"/experiments/{experiment}/metrics")
    assert MetricsAnswer.model_validate(document.json()).model_dump() == whole
    assert [list(run) for run in document.json()["runs"]] == [["run_id", "seed", "epochs"]] * 4
    assert list(document.json()["runs"][0]["epochs"][0]) == ["epoch", "train", "val"]
    rows = list(
        csv.DictReader(io.StringIO(api.get(f"/experiments/{experiment}/metrics?format=csv").text))
    )
    expected = [
        {"run_id": run["run_id"], "seed": str(run["seed"]), "epoch": str(epoch["epoch"])}
        | {
            f"{split}.{name}": "" if value is None else repr(value)
            for split in ("train", "val")
            for name, value in epoch[split].items()
        }
        for run in whole["runs"]
        for epoch in run["epochs"]
    ]
    columns = [
        "run_id",
        "seed",
        "epoch",
        *sorted({name for row in expected for name in row} - {"run_id", "seed", "epoch"}),
    ]
    assert [list(row) for row in rows] == [columns] * len(expected)
    assert rows == [{column: row.get(column, "") for column in columns} for row in expected]


def test_a_large_document_is_read_piece_by_piece_with_nothing_held_while_it_is_sent(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = long_experiment(database, seeds=5, epochs=200)
    monkeypatch.setattr(exports, "EPOCHS_AT_ONCE", 50)
    most_rows = 0
    epochs = exports.epochs_of

    def counted(session: Session, part: exports.EpochRange) -> Any:
        nonlocal most_rows
        rows = [(epoch, list(rows)) for epoch, rows in epochs(session, part)]
        most_rows = max(most_rows, sum(len(of_epoch) for _, of_epoch in rows))
        return iter(rows)

    monkeypatch.setattr(exports, "epochs_of", counted)
    with watched_api(settings, monkeypatch) as (api, _, witness):
        api.headers["Accept-Encoding"] = "identity"  # its length is that of the document
        small = api.get(f"/experiments/{experiment}/metrics")
        assert len(small.content) == int(small.headers["content-length"]) > 100_000, (
            "what is small is answered whole"
        )
        for form in ("json", "csv"):
            monkeypatch.setattr(streams, "AT_ONCE", 20_000)
            taken = witness.num_taken
            answer = api.get(f"/experiments/{experiment}/metrics?format={form}")
            assert "content-length" not in answer.headers
            assert witness.num_taken > taken + 10
            assert witness.faults == []
    assert most_rows == 50 * 2 * len(NAMES)
    with database.reading() as session:
        assert json.loads(small.content) == as_before(session, experiment)


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_only_what_came_after_an_epoch_is_exported_where_that_is_asked_for(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(exports, "EPOCHS_AT_ONCE", at_once)
    monkeypatch.setattr(exports, "EPOCHS_OF_NAMES", at_once)
    experiment = long_experiment(database, seeds=2, epochs=10)
    address = f"/experiments/{experiment}/metrics"
    whole = api.get(address).json()["runs"]
    for after in (0, 4, 9, 10, 99):
        later = api.get(f"{address}?after={after}").json()["runs"]
        assert [run["epochs"] for run in later] == [run["epochs"][after:] for run in whole]
        rows = csv.DictReader(io.StringIO(api.get(f"{address}?format=csv&after={after}").text))
        assert [int(row["epoch"]) for row in rows] == [
            epoch["epoch"] for run in later for epoch in run["epochs"]
        ]
    one = api.get(f"/runs/{whole[0]['run_id']}/metrics?after=8").json()["runs"]
    assert [epoch["epoch"] for epoch in one[0]["epochs"]] == [9, 10]
    assert api.get(f"{address}?after=-1").status_code == 422


def test_a_large_document_goes_on_when_its_turn_was_refused(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = long_experiment(database, seeds=2, epochs=40)
    monkeypatch.setattr(exports, "EPOCHS_AT_ONCE", 10)
    monkeypatch.setattr(streams, "AT_ONCE", 1_000)
    monkeypatch.setattr(streams, "AGAIN_SECONDS", 0.0)
    go, calls = Passes.go, 0

    async def overloaded(self: Passes, lane: Any, *asked: Any) -> Any:
        nonlocal calls
        calls += lane.name == "reading"
        if lane.name == "reading" and calls % 2 == 0:
            raise Overloaded("too many")
        return await go(self, lane, *asked)

    with TestClient(create_app(settings)) as api:
        whole = api.get(f"/experiments/{experiment}/metrics").json()
        calls = 0
        monkeypatch.setattr(Passes, "go", overloaded)
        assert api.get(f"/experiments/{experiment}/metrics").json() == whole
    assert calls > 8


# Lists


def test_a_list_reads_no_specs_and_a_status_asks_the_runs_of_a_page(
    api: TestClient, database: Database
) -> None:
    long_experiment(database)
    asked = statements(api.app.state.database)  # type: ignore[attr-defined]
    assert [row["status"] for row in api.get("/experiments?status=succeeded").json()["data"]] == [
        "succeeded"
    ]
    listed = next(statement for statement in asked if "FROM experiment" in statement)
    assert "spec" not in listed
    assert "submitted" not in listed
    assert "GROUP BY" not in listed


def test_pictures_drawn_at_the_same_time_are_those_drawn_alone() -> None:
    curves = {
        ("val", name): over_runs({epoch: 1 / epoch for epoch in range(1, 9)})
        for name in ("loss", "accuracy")
    }
    figures = [
        CurvesFigure(f"$figure$ {number}", "", ["loss", "accuracy"], curves, 8)
        for number in range(3)
    ]
    alone = [draw_curves(figure, "png") for figure in figures]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda figure: draw_curves(figure, "png"), figures)) == alone
    assert len(set(alone)) == 3
    assert np.isfinite(curves["val", "loss"].mean).all()


def test_whoever_polls_a_long_training_reads_its_last_epochs_alone(database: Database) -> None:
    with database.writing() as session:
        (run_id,) = runs_of(session, create(session, {**SPEC, "epochs": 300}).id)
        for epoch in range(1, 101):
            record_epoch(
                session,
                run_id,
                epoch,
                {"train": {"seconds": 9.0 if epoch <= 80 else 2.0}, "val": {"seconds": 1.0}},
            )
        session.execute(update(Run).values(epochs_done=100))
        assert metrics.paces(session, [run_id]) == {run_id: 3.0}
        assert metrics.paces(session, [run_id, "run_none"]) == {run_id: 3.0}
        assert metrics.seconds_of_training(session, [run_id]) == {run_id: 860.0}, (
            "a table's seconds are those of all epochs"
        )
