"""Studies over the API: written as one, extended, reused, cancelled, retried, deleted."""

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Artifact, Experiment, Metric, Run, Study
from tests.app.studies import fail_next, finish, grid, runs_by_cell, send


def counted(database: Database) -> tuple[int, int, int]:
    with database.reading() as session:
        return tuple(len(session.exec(select(table)).all()) for table in (Study, Experiment, Run))  # type: ignore[return-value, call-overload]


def test_a_grid_becomes_a_cell_per_combination_with_every_seed(
    api: TestClient, database: Database
) -> None:
    record = send(api, **grid(name="my study", labels={"exercise": "1.2"}, priority=3))
    assert [cell["title"] for cell in record["cells"]] == [
        "depth 2, residual no",
        "depth 2, residual yes",
        "depth 3, residual no",
        "depth 3, residual yes",
    ]
    assert record["cells"][3]["key"] == "model.depth=3,model.residual=true"
    assert record["cells"][3]["factors"] == {"depth": 3, "residual": True}
    assert (record["status"], record["progress"]["num_runs"], record["seeds"]) == (
        "queued",
        8,
        [0, 1],
    )
    experiment = api.get(f"/experiments/{record['cells'][3]['experiment_id']}").json()
    assert (experiment["study_id"], experiment["cell"]) == (
        record["id"],
        "model.depth=3,model.residual=true",
    )
    assert (experiment["spec"]["model"]["depth"], experiment["spec"]["model"]["residual"]) == (
        3,
        True,
    )
    assert experiment["labels"] == {"exercise": "1.2"}
    assert {row["id"] for row in api.get(f"/experiments?study={record['id']}").json()["data"]} == {
        cell["experiment_id"] for cell in record["cells"]
    }
    assert counted(database) == (1, 4, 8)


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({}, "", "give one of 'recipe', 'specs' or 'spec'"),
        ({"recipe": "no-such"}, "/recipe", "there is no recipe 'no-such'"),
        ({"spec": {}}, "", "'spec' and 'vary' go together"),
        (grid(vary={"model.depth": [1, 0]}), "/vary/model.depth", "greater than or equal to 1"),
        (grid(spec={"epochs": 0}), "/spec/epochs", "greater than or equal to 1"),
        (grid(spec={"seeds": 3}), "/spec/seeds", "in a study 'seeds' is the study's"),
        (grid(vary={"model.depht": [1]}), "/vary/model.depht", "unknown field"),
        (grid(vary={"epochs.much": [1]}, spec={"epochs": 3}), "/epochs.much", "holds no fields"),
        (
            grid(overrides={"dataset.name": "mnits"}),
            "/spec/dataset/name",
            "there is no data set 'mnits'",
        ),
        (
            grid(cell_overrides={"nobody": {"epochs": 1}}),
            "/cell_overrides/nobody",
            "there is no cell 'nobody'",
        ),
        (
            grid(contrasts=[{"treatment": "a", "control": "b", "factor": "model.depth"}]),
            "/contrasts",
            "a contrast names cell 'a', which is none",
        ),
        ({"specs": [{"name": "a"}, {"name": "a"}]}, "/specs", "two cells are called 'a'"),
        (
            {"specs": [{"kind": "distill", "teacher": {"cell": "x"}}]},
            "/specs/0/teacher/cell",
            "there is no cell 'x' before this one",
        ),
        (
            {"specs": [{"kind": "distill", "teacher": {"spec": {}}, "baseline": True}]},
            "/specs/0/baseline",
            "the control is a cell of its own",
        ),
        (grid(seeds=[1, 1]), "/seeds", "a seed is named twice"),
        (
            grid(vary={"model.depth": list(range(1, 90)), "batch_size": list(range(1, 90))}),
            "/vary",
            "more than a study's 1,000",
        ),
    ],
)
def test_a_bad_study_is_refused_where_it_is_bad_and_nothing_is_stored(
    api: TestClient, database: Database, body: dict[str, Any], pointer: str, said: str
) -> None:
    answer = api.post("/studies", json=body)
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert errors[0]["pointer"] == pointer, errors
    assert said in errors[0]["message"]
    assert counted(database) == (0, 0, 0)


def test_a_study_that_is_too_large_is_refused(settings: Settings) -> None:
    from app.main import create_app

    with TestClient(create_app(settings.model_copy(update={"max_study_runs": 7}))) as api:
        answer = api.post("/studies", json=grid())
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/seeds")
        assert "LAB_MAX_STUDY_RUNS" in answer.json()["detail"]
        assert api.post("/studies", json=grid(seeds=1)).status_code == 201


def test_a_dry_run_stores_nothing_and_names_cells_cost_and_contrasts(
    api: TestClient, database: Database
) -> None:
    answer = api.post("/studies?dry_run=true", json=grid())
    assert answer.status_code == 200
    document = answer.json()
    assert (document["num_runs"], len(document["cells"]), document["cells"][0]["parameters"]) == (
        8,
        4,
        64 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10,
    )
    pairs = [
        (contrast["treatment"], contrast["control"], contrast["factor"])
        for contrast in document["contrasts"]
    ]
    assert (
        "model.depth=3,model.residual=false",
        "model.depth=2,model.residual=false",
        "model.depth",
    ) in pairs
    assert (
        "model.depth=3,model.residual=true",
        "model.depth=3,model.residual=false",
        "model.residual",
    ) in pairs
    assert len(pairs) == 4
    assert counted(database) == (0, 0, 0)


def test_overrides_reach_every_cell_and_cell_overrides_one(api: TestClient) -> None:
    record = send(
        api,
        specs=[{"name": "a", "dataset": "digits"}, {"name": "b", "epochs": 7}],
        overrides={"dataset.train_limit": 100},
        cell_overrides={"b": {"epochs": 3}},
    )
    specs = [
        api.get(f"/experiments/{cell['experiment_id']}").json()["spec"] for cell in record["cells"]
    ]
    assert [
        (spec["dataset"]["name"], spec["dataset"]["train_limit"], spec["epochs"]) for spec in specs
    ] == [("digits", 100, 10), ("digits", 100, 3)]


def test_a_student_waits_for_the_studys_own_teacher(api: TestClient, database: Database) -> None:
    student = {
        "kind": "distill",
        "teacher": {"cell": "teacher"},
        "student": {"hidden": [8]},
        "epochs": 1,
    }
    record = send(
        api,
        specs=[
            {"name": "teacher", "model": {"depth": 1, "width": 8}, "epochs": 1},
            {"name": "student", **student},
        ],
        seeds=[5, 6],
    )
    runs = runs_by_cell(database, record["id"])
    assert {runs["student", seed].needs for seed in (5, 6)} == {runs["teacher", 5].id}
    assert runs["student", 5].status_reason == "waiting_for_teacher"


def test_finished_equal_runs_are_taken_over_with_their_numbers_and_files(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = send(api, **grid())
    finish(database, settings, first["id"], {("model.depth=2,model.residual=false", 1): 0.75})
    second = send(api, **grid(seeds=3))
    assert second["status"] == "running"
    assert second["progress"] == {
        "fraction": 0.6667,
        "num_runs": 12,
        "num_reused": 8,
        "runs": {"succeeded": 8, "queued": 4},
    }
    assert "8 of them taken over from equal runs" in second["status_message"]
    source, copy = (
        runs_by_cell(database, study["id"])["model.depth=2,model.residual=false", 1]
        for study in (first, second)
    )
    assert (copy.reused_from, copy.status_reason, copy.attempt, copy.test) == (
        source.id,
        "reused",
        0,
        source.test,
    )
    record = api.get(f"/runs/{copy.id}").json()
    assert (record["reused_from"], record["test"]["accuracy"]) == (source.id, 0.75)
    assert (
        api.get(f"/runs/{copy.id}/metrics").json()["runs"][0]["epochs"]
        == api.get(f"/runs/{source.id}/metrics").json()["runs"][0]["epochs"]
        != []
    )
    weights = api.get(f"/runs/{copy.id}/artifacts/weights.safetensors").content
    assert weights == api.get(f"/runs/{source.id}/artifacts/weights.safetensors").content != b""
    assert api.delete(f"/studies/{first['id']}").status_code == 204
    assert not (settings.runs_folder / source.id).exists()
    assert api.get(f"/runs/{copy.id}/artifacts/weights.safetensors").content == weights


def test_a_second_equal_study_trains_nothing(
    api: TestClient, database: Database, settings: Settings
) -> None:
    finish(database, settings, send(api, **grid())["id"], {})
    again = send(api, **grid())
    assert (again["status"], again["progress"]["num_reused"]) == ("succeeded", 8)
    third = send(api, **grid())
    runs = runs_by_cell(database, third["id"])
    originals = runs_by_cell(database, api.get("/studies").json()["data"][2]["id"])
    assert {key: run.reused_from for key, run in runs.items()} == {
        key: run.id for key, run in originals.items()
    }, "the run that was trained is named, not a copy"


def test_nothing_is_taken_over_when_that_is_not_wanted_or_the_numbers_would_differ(
    api: TestClient, database: Database, settings: Settings
) -> None:
    finish(database, settings, send(api, **grid())["id"], {})
    assert send(api, **grid(reuse=False))["progress"]["num_reused"] == 0
    assert send(api, **grid(overrides={"batch_size": 65}))["progress"]["num_reused"] == 0
    with database.writing() as session:
        for run in session.exec(select(Run).where(col(Run.status) == "succeeded")):
            run.environment = {**(run.environment or {}), "results_version": 0}
            session.add(run)
    assert send(api, **grid())["progress"]["num_reused"] == 0


def test_a_run_whose_files_are_gone_is_trained_anew(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = send(api, **grid())
    finish(database, settings, first["id"], {})
    lost = runs_by_cell(database, first["id"])["model.depth=3,model.residual=true", 0]
    (settings.runs_folder / lost.id / "attempt-1" / "weights.safetensors").unlink()
    second = send(api, **grid())
    assert second["progress"]["num_reused"] == 7
    assert (
        runs_by_cell(database, second["id"])["model.depth=3,model.residual=true", 0].status
        == "queued"
    )


def test_extend_adds_the_next_seeds_to_every_cell(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **grid(seeds=[0, 3]))
    finish(database, settings, record["id"], {})
    answer = api.post(f"/studies/{record['id']}/extend", json={"seeds": 2})
    assert answer.status_code == 200
    assert (answer.json()["seeds"], answer.json()["progress"]["runs"]) == (
        [0, 3, 4, 5],
        {"succeeded": 8, "queued": 8},
    )
    assert finish(database, settings, record["id"], {}) == 8
    assert api.get(f"/studies/{record['id']}").json()["status"] == "succeeded"
    bad = api.post(f"/studies/{record['id']}/extend", json={"seeds": 0})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/seeds")
    assert api.post(f"/studies/{record['id']}/extend", json={"seeds": 1000}).status_code == 422


def test_further_students_are_built_on_the_same_teacher(
    api: TestClient, database: Database, settings: Settings
) -> None:
    student = {
        "kind": "distill",
        "teacher": {"cell": "teacher"},
        "student": {"hidden": [8]},
        "epochs": 1,
    }
    record = send(
        api,
        specs=[
            {"name": "teacher", "model": {"depth": 1, "width": 8}, "epochs": 1},
            {"name": "student", **student},
        ],
        seeds=1,
    )
    assert api.post(f"/studies/{record['id']}/extend", json={"seeds": 1}).status_code == 200
    runs = runs_by_cell(database, record["id"])
    assert runs["student", 1].needs == runs["teacher", 0].id
    assert runs["student", 1].status_reason == "waiting_for_teacher"


def test_cancel_retry_and_delete_act_on_the_whole_study(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **grid())
    address = f"/studies/{record['id']}"
    failed = fail_next(database)
    assert api.delete(address).status_code == 409
    cancelled = api.post(f"{address}/cancel")
    assert (cancelled.status_code, cancelled.json()["progress"]["runs"]) == (
        200,
        {"failed": 1, "cancelled": 7},
    )
    assert cancelled.json()["status"] == "failed"
    assert cancelled.json()["errors"] == [
        {
            "cell": "model.depth=2,model.residual=false",
            "run_id": failed,
            "seed": 0,
            "code": "diverged",
            "message": "the loss is not finite",
            "hint": "lower the learning rate",
        }
    ]
    retried = api.post(f"{address}/retry")
    assert (retried.status_code, retried.json()["progress"]["runs"]) == (200, {"queued": 8})
    finish(database, settings, record["id"], {})
    assert api.post(f"{address}/retry").status_code == 409
    assert api.post(f"{address}/cancel").status_code == 409
    cell = record["cells"][0]["experiment_id"]
    refused = api.delete(f"/experiments/{cell}")
    assert refused.status_code == 409
    assert record["id"] in refused.json()["detail"]
    assert api.delete(address).status_code == 204
    assert api.get(address).status_code == 404
    assert counted(database) == (0, 0, 0)
    with database.reading() as session:
        assert session.exec(select(Metric)).all() == session.exec(select(Artifact)).all() == []
    assert list(Path(settings.runs_folder).iterdir()) == []


def test_a_repeated_post_with_a_key_returns_the_first_study(
    api: TestClient, database: Database
) -> None:
    first = api.post("/studies", json=grid(), headers={"Idempotency-Key": "k"})
    again = api.post("/studies", json=grid(), headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code, again.json()["id"]) == (
        201,
        200,
        first.json()["id"],
    )
    other = api.post("/studies", json=grid(seeds=1), headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert counted(database) == (1, 4, 8)


def test_the_list_shows_the_newest_first_in_pages(api: TestClient) -> None:
    ids = [send(api, **grid(seeds=1))["id"] for _ in range(3)]
    page = api.get("/studies?limit=2").json()
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (ids[:0:-1], True)
    rest = api.get(f"/studies?limit=2&cursor={page['next_cursor']}").json()
    assert ([row["id"] for row in rest["data"]], rest["has_more"]) == (ids[:1], False)
    assert api.get("/studies?recipe=mlp-depth").json()["data"] == []
