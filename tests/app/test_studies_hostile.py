"""What must not bring the service down, or make a study say what is not so: odd bodies, odd queries, odd results, and
requests at once.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as configured
from safetensors.numpy import save, save_file
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.main import create_app
from app.services.experiments import artifacts
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.training.protocol import SavedArtifact
from tests.app.studies import fail_next, finish, finish_all, grid, runs_by_cell, send
from tests.databases import database_of_its_own

STUDENT = {
    "kind": "distill",
    "teacher": {"cell": "teacher"},
    "student": {"hidden": [8]},
    "epochs": 1,
}
DISTILLATION = {
    "specs": [
        {"name": "teacher", "model": {"depth": 1, "width": 8}, "epochs": 1},
        {"name": "student", **STUDENT},
    ],
    "seeds": 2,
}
BODIES: list[dict[str, Any]] = [
    grid(),
    grid(
        overrides={"dataset.name": "digits", "epochs": 1},
        labels={"a": "b"},
        name="x",
        priority=1,
        margin_points=0.5,
        reuse=False,
    ),
    {
        "specs": [{"name": "a", "epochs": 1}, {"name": "b", "model": "mlp"}],
        "contrasts": [{"treatment": "b", "control": "a", "factor": "model"}],
        "seeds": [3, 1],
    },
    {**DISTILLATION, "cell_overrides": {"student": {"temperature": 2.0}}},
    {"recipe": "mlp-depth", "scale": "smoke", "overrides": {"dataset": "digits"}},
    grid(
        vary={
            "optimizer.learning_rate": {"log": [1e-4, 1e-1]},
            "model.depth": {"uniform": [1, 3]},
            "model.norm": {"choices": ["none", "batch"]},
            "batch_size": {"log": [16, 64], "n": 2},
            "model.residual": [False, True],
        },
        sample={"points": 3, "seed": 1},
    ),
]
TEXTS = strategies.sampled_from(
    [
        "",
        ".",
        "dataset..",
        "model.depth.x",
        "teacher.spec.model",
        "teacher.cell",
        "seeds",
        "a/b~c",
        "\x00",
        "\ud800",
        "x" * 300,
        "__class__",
        "student",
        "mlp",
    ]
)
LEAVES = (
    TEXTS
    | strategies.sampled_from(
        [None, True, False, 0, -1, 2**31 - 1, 2**31, 2**70, 0.0, -0.0, 1e308, 5e-324]
    )
    | strategies.text(max_size=5)
)
VALUES = strategies.recursive(
    LEAVES,
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(TEXTS | strategies.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(document: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within a document."""
    yield way
    children = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    for name, child in children:
        yield from places(child, (*way, name))


@strategies.composite
def mutated(draw: strategies.DrawFn) -> Any:
    """A valid body with some places changed, taken away or added to."""
    document: Any = json.loads(json.dumps(draw(strategies.sampled_from(BODIES))))
    for _ in range(draw(strategies.integers(1, 3))):
        way = draw(strategies.sampled_from(list(places(document))))
        if not way:
            document = draw(VALUES) if draw(strategies.booleans()) else document
            continue
        holder = document
        for step in way[:-1]:
            holder = holder[step]
        match draw(strategies.sampled_from(["change", "remove", "add"])):
            case "change":
                holder[way[-1]] = draw(VALUES)
            case "remove":
                del holder[way[-1]]
            case "add" if isinstance(holder, dict):
                holder[
                    draw(
                        TEXTS
                        | strategies.sampled_from(
                            [
                                "vary",
                                "overrides",
                                "cell_overrides",
                                "contrasts",
                                "teacher",
                                "cell",
                                "spec",
                            ]
                        )
                    )
                ] = draw(VALUES)
    return document


def assert_no_fault_of_ours(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One service for all examples; small limits, so that no example is slow."""
    limits = Settings(
        home=tmp_path_factory.mktemp("fuzzed"),
        log_level="ERROR",
        max_study_runs=40,
        max_epochs=100,
        _env_file=None,
    )
    with TestClient(create_app(limits), raise_server_exceptions=False) as client:
        yield client


@configured(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=mutated())
def test_no_body_brings_the_service_down(fuzzed: TestClient, body: Any) -> None:
    sent = json.dumps(body).encode()
    dry = fuzzed.post("/studies?dry_run=true", content=sent)
    assert_no_fault_of_ours(dry)
    wet = fuzzed.post("/studies", content=sent)
    assert_no_fault_of_ours(wet)
    assert (dry.status_code, wet.status_code) in {(200, 201), (wet.status_code, wet.status_code)}, (
        "a dry run says what the real one would"
    )
    if wet.status_code == 201:
        for page in ("", "/table", "/verdicts"):
            assert fuzzed.get(f"/studies/{wet.json()['id']}{page}").status_code == 200


@pytest.fixture(scope="module")
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[TestClient, str]]:
    """A finished grid of two factors, one run of it failed."""
    with database_of_its_own(request):
        yield from _finished(
            Settings(home=tmp_path_factory.mktemp("finished"), log_level="ERROR", _env_file=None)
        )


def _finished(home: Settings) -> Iterator[tuple[TestClient, str]]:
    database = open_database(home)
    with TestClient(create_app(home), raise_server_exceptions=False) as client:
        record = send(client, **grid())
        fail_next(database)
        finish(database, home, record["id"], {})
        yield client, record["id"]
    database.close()


METRICS = [
    "test.accuracy",
    "val.loss",
    "test.",
    "test",
    ".",
    "val.__class__",
    "test.teacher_agreement",
    "seconds",
    "best.epoch",
    "gradient_flow.slope",
]
NAMES = [
    "depth",
    "residual",
    "",
    "model.depth",
    "__class__",
    "x" * 300,
    "\x00",
    "loss,",
    ",,,",
    "é",
]


@configured(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    page=strategies.sampled_from(
        [
            "table",
            "verdicts",
            "factor.svg",
            "heat-map.svg",
            "differences.svg",
            "curves.svg",
            "gradient-flow.svg",
        ]
    ),
    query=strategies.dictionaries(
        strategies.sampled_from(["metric", "factor", "x", "y", "format", "margin", "sort"]),
        strategies.sampled_from(METRICS + NAMES) | strategies.text(max_size=6),
        max_size=3,
    ),
)
def test_no_query_brings_the_service_down(
    finished: tuple[TestClient, str], page: str, query: dict[str, str]
) -> None:
    api, study = finished
    sent = "&".join(
        f"{name}={quote(value.encode('utf-8', 'replace'))}" for name, value in query.items()
    )
    assert_no_fault_of_ours(api.get(f"/studies/{study}/{page}?{sent}"))
    ids = ",".join(
        cell["experiment_id"] for cell in api.get(f"/studies/{study}").json()["cells"][:2]
    )
    assert_no_fault_of_ours(api.get(f"/comparisons?experiments={ids}&{sent}"))


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        (grid(vary={"seeds": [1, 2]}), "/vary/seeds", "in a study 'seeds' is the study's"),
        (grid(overrides={"name": "x"}), "/overrides/name", "in a study 'name' is the study's"),
        (
            {"specs": [{"name": "a/b"}], "cell_overrides": {"a/b": {"labels.x": "y"}}},
            "/cell_overrides/a~1b/labels.x",
            "in a study 'labels'",
        ),
        (
            grid(vary={"model.depth": [1, 2], "model": ["mlp"]}),
            "/vary/model",
            "it would replace 'model.depth', which varies too",
        ),
        (
            grid(overrides={"model": "mlp"}),
            "/overrides/model",
            "it would replace 'model.depth', which varies",
        ),
        (grid(vary={"model.depth": [1, 1]}), "/vary", "two cells are called 'model.depth=1'"),
        (grid(overrides={"a/b..c": 1}), "/a~1b..c", "is no path"),
        (grid(overrides={"model.note": "x" * 20_000}), "/overrides", "goes into every cell"),
        (
            {**DISTILLATION, "cell_overrides": {"student": {"teacher.spec.epochs": 9}}},
            "/specs/1/teacher/spec",
            "cell 'teacher' says what the teacher is",
        ),
        (
            {**DISTILLATION, "cell_overrides": {"student": {"teacher.seed": 9}}},
            "/specs/1/teacher/seed",
            "which is not among that one's seeds",
        ),
    ],
)
@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_what_would_make_a_table_say_what_is_not_so_is_refused(
    api: TestClient, body: dict[str, Any], pointer: str, said: str, query: str
) -> None:
    answer = api.post("/studies" + query, json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert said in answer.json()["errors"][0]["message"]


def test_a_thousand_bad_cells_are_refused_at_once(api: TestClient) -> None:
    answer = api.post(
        "/studies",
        json={"specs": [{"name": f"cell {number}", "epohcs": 1} for number in range(1000)]},
    )
    assert (answer.status_code, len(answer.json()["errors"])) == (422, 50)


def test_seeds_end_where_the_largest_one_is(api: TestClient, database: Database) -> None:
    study = send(api, specs=[{"epochs": 1}], seeds=[2**31 - 3])["id"]
    assert api.post(f"/studies/{study}/extend", json={"seeds": 2}).json()["seeds"][-1] == 2**31 - 1
    refused = api.post(f"/studies/{study}/extend", json={"seeds": 1})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/seeds")
    assert "2,147,483,647, the largest there is" in refused.json()["detail"]


def test_a_cancelled_distillation_is_cancelled_and_not_failed(
    api: TestClient, database: Database, settings: Settings
) -> None:
    study = send(api, **DISTILLATION)["id"]
    cancelled = api.post(f"/studies/{study}/cancel").json()
    assert (cancelled["status"], cancelled["progress"]["runs"], cancelled["errors"]) == (
        "cancelled",
        {"cancelled": 4},
        [],
    )
    assert api.post(f"/studies/{study}/retry").json()["progress"]["runs"] == {"queued": 4}
    runs = runs_by_cell(database, study)
    assert runs["student", 0].status_reason == "waiting_for_teacher"
    assert finish(database, settings, study, {}) == 4


def test_a_failed_teacher_takes_its_students_along_until_all_are_retried(
    api: TestClient, database: Database, settings: Settings
) -> None:
    study = send(api, **DISTILLATION)["id"]
    fail_next(database)
    record = api.get(f"/studies/{study}").json()
    assert record["progress"]["runs"] == {"failed": 3, "queued": 1}
    extended = api.post(f"/studies/{study}/extend", json={"seeds": 1})
    assert extended.status_code == 409
    assert "retry it first" in extended.json()["detail"]
    assert api.get(f"/studies/{study}").json()["progress"] == record["progress"]
    assert api.post(f"/studies/{study}/retry").json()["progress"]["runs"] == {"queued": 4}
    assert finish(database, settings, study, {}) == 4


def test_a_reused_teacher_lets_its_students_start_at_once(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = send(api, **{**DISTILLATION, "specs": DISTILLATION["specs"][:1]})
    finish(database, settings, first["id"], {})
    record = send(api, **DISTILLATION)
    assert record["progress"] == {
        **record["progress"],
        "num_reused": 2,
        "runs": {"succeeded": 2, "queued": 2},
    }
    runs = runs_by_cell(database, record["id"])
    assert (runs["student", 0].status_reason, runs["student", 0].needs) == (
        "waiting_for_worker",
        runs["teacher", 0].id,
    )
    assert finish(database, settings, record["id"], {}) == 2


def test_what_another_experiment_builds_on_is_not_deleted(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **DISTILLATION)
    finish(database, settings, record["id"], {})
    student = record["cells"][1]["experiment_id"]
    again = api.post(f"/experiments/{student}/verify").json()
    refused = api.delete(f"/studies/{record['id']}")
    assert (refused.status_code, again["id"] in refused.json()["detail"]) == (409, True), (
        "its verification is built on the study's teacher"
    )
    finish_all(database, settings, {0: 0.9, 1: 0.9})
    assert api.delete(f"/experiments/{again['id']}").status_code == 204
    alone = api.post(f"/experiments/{record['cells'][0]['experiment_id']}/verify").json()
    refused = api.delete(f"/studies/{record['id']}")
    assert (refused.status_code, alone["id"] in refused.json()["detail"]) == (409, True), (
        "what it would be held against would be gone"
    )
    api.post(f"/experiments/{alone['id']}/cancel")
    assert api.delete(f"/experiments/{alone['id']}").status_code == 204
    assert api.delete(f"/studies/{record['id']}").status_code == 204


def test_students_are_trained_anew_with_a_teacher_whose_files_are_gone(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = send(api, **DISTILLATION)
    finish(database, settings, first["id"], {})
    for seed in (0, 1):
        lost = runs_by_cell(database, first["id"])["teacher", seed]
        (settings.runs_folder / lost.id / "attempt-1" / "weights.safetensors").unlink()
    second = send(api, **DISTILLATION)
    assert second["progress"]["runs"] == {"queued": 4}
    for run in runs_by_cell(database, second["id"]).values():
        assert not (settings.runs_folder / run.id).exists()


def test_students_that_an_older_version_took_over_are_verified_once_their_teacher_is_trained(
    api: TestClient, database: Database, settings: Settings
) -> None:
    finish(database, settings, send(api, **DISTILLATION)["id"], {})
    second = send(api, **DISTILLATION)
    assert second["progress"]["runs"] == {"succeeded": 4}
    with database.writing() as session:
        for (cell, _), run in runs_by_cell(database, second["id"]).items():
            if cell == "teacher":
                session.get_one(Run, run.id).status = RunStatus.QUEUED
    student = second["cells"][1]["experiment_id"]
    waiting = api.post(f"/experiments/{student}/verify").json()
    assert {run["status_reason"] for run in waiting["runs"]} == {"waiting_for_teacher"}
    assert api.post(f"/studies/{second['id']}/cancel").status_code == 200
    refused = api.post(f"/experiments/{student}/verify")
    assert (refused.status_code, "retry it first" in refused.json()["detail"]) == (409, True)


def test_at_once_two_extensions_add_different_seeds_and_two_equal_keys_one_study(
    api: TestClient, database: Database
) -> None:
    study = send(api, **grid(seeds=1))["id"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda _: api.post(f"/studies/{study}/extend", json={"seeds": 1}).status_code,
                range(4),
            )
        )
        keyed = list(
            pool.map(
                lambda _: api.post("/studies", json=grid(), headers={"Idempotency-Key": "k"}),
                range(4),
            )
        )
    assert answers == [200] * 4
    assert api.get(f"/studies/{study}").json()["seeds"] == [0, 1, 2, 3, 4]
    assert sorted(answer.status_code for answer in keyed) == [200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in keyed}) == 1


def test_numbers_that_are_none_null_or_nan_are_left_out(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **grid(seeds=4))
    finish(database, settings, record["id"], {})
    odd: list[dict[str, Any]] = [{}, {"accuracy": None}, {"accuracy": float("nan")}]
    with database.writing() as session:
        of_cell = col(Run.experiment_id) == record["cells"][0]["experiment_id"]
        for run, test in zip(
            session.exec(select(Run).where(of_cell).order_by(col(Run.seed))),
            [*odd, {"accuracy": 0.5}],
            strict=True,
        ):
            run.test, run.environment, run.best = test, None, None
            session.add(run)
    row = api.get(f"/studies/{record['id']}/table").json()["rows"][0]
    assert (row["score"]["values"], row["score"]["ci95"], row["val"], row["chosen_epoch"]) == (
        [0.5],
        None,
        None,
        None,
    )
    contrast = api.get(f"/studies/{record['id']}/verdicts").json()["contrasts"][0]
    assert (contrast["comparison"]["seeds"], contrast["comparison"]["warnings"]) == (
        [3],
        ["without a partner, and left out: seeds 0, 1, 2"],
    )
    for page in (
        "report.html",
        "factor.svg",
        "differences.svg",
        "heat-map.svg",
        "table?format=csv",
        "table?metric=best.epoch",
    ):
        assert api.get(f"/studies/{record['id']}/{page}").status_code == 200, page


def test_damaged_or_unequal_predictions_are_no_evidence(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(
        api,
        specs=[{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1, "batch_size": 32}],
        seeds=6,
    )
    finish(database, settings, record["id"], {})
    zeros = np.zeros(10, dtype=np.int64)
    whole = save({"predictions": zeros, "labels": zeros})
    odd = [
        whole[:-3],
        b"",
        save({"predictions": zeros}),
        save({"predictions": zeros[:4], "labels": zeros}),
        save({"predictions": zeros[:, None], "labels": zeros}),
    ]
    with database.writing() as session:
        for (cell, seed), run in runs_by_cell(database, record["id"]).items():
            path = settings.runs_folder / run.id / "attempt-1" / "predictions.safetensors"
            path.write_bytes(odd[seed] if cell == "b" and seed < len(odd) else whole)
            artifacts.publish(session, run.id, [_saved(path)])
    comparison = api.get(f"/studies/{record['id']}/verdicts").json()["contrasts"][0]["comparison"]
    assert (comparison["seeds"], [one["seed"] for one in comparison["mcnemar"]]) == (
        [0, 1, 2, 3, 4, 5],
        [5],
    )
    for run in runs_by_cell(database, record["id"]).values():
        save_file(
            {"predictions": zeros, "labels": zeros + (run.seed % 2)},
            settings.runs_folder / run.id / "attempt-1" / "predictions.safetensors",
        )
    assert api.get(f"/studies/{record['id']}/report.html").status_code == 200


def test_a_list_counts_what_the_records_count(
    api: TestClient, database: Database, settings: Settings
) -> None:
    records = [send(api, **grid()), send(api, **DISTILLATION)]
    fail_next(database)
    with database.writing() as session:
        run = session.exec(
            select(Run)
            .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
            .where(col(Run.status) == "queued")
        ).first()
        assert run is not None
        run.epochs_done, run.step = 1, run.num_steps // 2
        session.add(run)
    send(api, **grid())
    rows = {row["id"]: row for row in api.get("/studies").json()["data"]}
    for record in records:
        read = api.get(f"/studies/{record['id']}").json()
        assert {name: read[name] for name in rows[read["id"]]} == rows[read["id"]]


def test_a_picture_shows_at_most_so_many_cells_and_says_so(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(
        api,
        specs=[
            {"name": f"cell {number}", "model": {"width": 8 + number}, "epochs": 1}
            for number in range(45)
        ],
        seeds=1,
    )
    finish(database, settings, record["id"], {})
    assert "the first 40 of 45 cells" in api.get(f"/studies/{record['id']}/curves.svg").text


def _saved(path: Path) -> SavedArtifact:
    return SavedArtifact(
        name=path.name,
        media_type="application/octet-stream",
        path=f"attempt-1/{path.name}",
        sha256="0" * 64,
        size_bytes=path.stat().st_size,
    )


@pytest.mark.sqlite
@pytest.mark.parametrize("cell", [[], {}, 3, None])
def test_a_cell_that_is_no_name_is_refused(fuzzed: TestClient, cell: Any) -> None:
    body = {"recipe": "distill", "scale": "smoke", "overrides": {"teacher": {"cell": cell}}}
    answer = fuzzed.post("/studies?dry_run=true", json=body)
    assert answer.status_code == 422, answer.text
