"""A teacher or source per seed: each run is built on the network of its own seed, in experiments and in studies."""

from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run
from tests.app.studies import finish, finish_all, runs_by_cell, send
from tests.app.test_retry import submit
from tests.app.test_reuse import online

TEACHER: dict[str, Any] = {"model": {"hidden": [16]}, "epochs": 2}
CONVOLUTIONS: dict[str, Any] = {"model": {"arch": "cnn", "width": 8}}
STUDENT: dict[str, Any] = {"kind": "distill", "student": {"hidden": [8]}, "epochs": 1}
PROBE: dict[str, Any] = {"kind": "transfer", "strategy": "linear_probe", "epochs": 1}
ROLES = [(STUDENT, "teacher"), (PROBE, "source")]


def needs_of(database: Database, experiment: str) -> dict[int, Run]:
    """By seed of an experiment's runs the run that each is built on."""
    with database.reading() as session:
        runs = session.exec(select(Run).where(col(Run.experiment_id) == experiment)).all()
        return {run.seed: session.get_one(Run, run.needs) for run in runs}


@pytest.mark.parametrize(("work", "role"), ROLES)
def test_each_seed_is_built_on_the_network_of_its_own_seed(
    api: TestClient, database: Database, settings: Settings, work: dict[str, Any], role: str
) -> None:
    record = submit(api, {**work, role: {"spec": TEACHER, "seed": "own"}, "seeds": [3, 5]})
    below = needs_of(database, record["id"])
    assert {seed: run.seed for seed, run in below.items()} == {3: 3, 5: 5}
    assert len({run.experiment_id for run in below.values()}) == 1
    assert record["related"][f"{role}_experiment"] == below[3].experiment_id
    assert f"{role}_run" not in record["related"]
    assert [run["needs"] for run in record["runs"]] == [below[3].id, below[5].id]
    assert record["spec"][role]["seed"] == "own"
    finish_all(database, settings, {3: 0.9, 5: 0.8})
    done = api.get(f"/experiments/{record['id']}").json()
    assert [run["built_on"]["seed"] for run in done["runs"]] == [3, 5]
    assert done["environment_differs"]["built_on"].keys() == {"3", "5"}


def test_the_fingerprint_names_it(api: TestClient) -> None:
    prints = [
        submit(api, {**STUDENT, "teacher": {"spec": TEACHER, "seed": seed}})["fingerprint"]
        for seed in (0, 1, "own")
    ]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(("work", "role"), ROLES)
def test_what_is_there_is_built_on_and_only_the_others_are_trained_first(
    api: TestClient, database: Database, settings: Settings, work: dict[str, Any], role: str
) -> None:
    trained = submit(api, {**TEACHER, "seeds": [1, 2]})
    finish_all(database, settings, {1: 0.9, 2: 0.9})
    body = {**work, role: {"spec": TEACHER, "seed": "own"}, "seeds": 4}
    priced = api.post("/experiments?dry_run=true", json=body).json()
    assert priced["foundation"]["seeds"] == [0, 3]
    assert priced["foundation"]["seconds"] > 0
    below = needs_of(database, submit(api, body)["id"])
    there = {run["seed"]: run["id"] for run in trained["runs"]}
    assert {seed: below[seed].id for seed in (1, 2)} == there
    assert below[0].experiment_id == below[3].experiment_id != trained["id"]
    with database.reading() as session:
        first = session.get_one(Experiment, below[0].experiment_id)
        assert first.submitted["seeds"] == [0, 3]
    again = api.post("/experiments?dry_run=true", json=body).json()
    assert again["foundation"] is None, "they are queued"


@pytest.mark.parametrize(("seed", "is_built_on"), [(0, True), ("own", False)])
def test_a_network_that_had_all_cores_stands_beside_none_that_have_their_share(
    api: TestClient, database: Database, settings: Settings, seed: int | str, is_built_on: bool
) -> None:
    online(database, {"threads": 1, "cores": 4})
    wide = submit(api, {**CONVOLUTIONS, "epochs": 1})
    finish_all(database, settings, {0: 0.9})
    with database.writing() as session:
        run = session.get_one(Run, wide["runs"][0]["id"])
        run.environment = {**(run.environment or {}), "threads": 4}
    body = {**STUDENT, "teacher": {"spec": {**CONVOLUTIONS, "epochs": 1}, "seed": seed}}
    below = needs_of(database, submit(api, body)["id"])
    assert (below[0].id == wide["runs"][0]["id"]) == is_built_on


def test_an_experiment_that_is_named_needs_every_seed(api: TestClient, database: Database) -> None:
    trained = submit(api, {**TEACHER, "seeds": [0, 1]})
    body = {**STUDENT, "teacher": {"experiment": trained["id"], "seed": "own"}, "seeds": 2}
    below = needs_of(database, submit(api, body)["id"])
    assert [below[seed].id for seed in (0, 1)] == [run["id"] for run in trained["runs"]]
    refused = api.post("/experiments", json={**body, "seeds": 3}).json()
    assert refused["errors"][0]["pointer"] == "/teacher/seed"
    assert "has no run with seed 2" in refused["detail"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"run": "run_0", "seed": "own"}, "a run has its seed already"),
        ({"pretrained": "resnet18", "seed": "own"}, "published weights have no seed"),
        ({"spec": TEACHER, "seed": "mine"}, "own"),
    ],
)
def test_where_there_is_no_network_per_seed_it_is_refused(
    api: TestClient, source: dict[str, Any], message: str
) -> None:
    answer = api.post("/experiments", json={**PROBE, "source": source})
    assert answer.status_code == 422
    assert message in answer.text


def cells(**teacher: Any) -> list[dict[str, Any]]:
    return [
        {"name": "teacher", **TEACHER},
        {"name": "alone", "model": {"hidden": [8]}, "epochs": 1},
        {"name": "taught", **STUDENT, "teacher": {"cell": "teacher", **teacher}},
    ]


def test_a_cell_is_built_on_another_seed_by_seed_and_extended_with_it(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, specs=cells(seed="own"), seeds=2)
    address = f"/studies/{record['id']}"
    assert api.post(f"{address}/extend", json={"seeds": 2}).status_code == 200
    runs = runs_by_cell(database, record["id"])
    assert {runs["taught", seed].needs for seed in range(4)} == {
        runs["teacher", seed].id for seed in range(4)
    }
    for seed in range(4):
        assert runs["taught", seed].needs == runs["teacher", seed].id
        assert runs["taught", seed].status_reason == "waiting_for_teacher"
    assert finish(database, settings, record["id"], {}) == 12
    assert api.get(address).json()["status"] == "succeeded"

    again = send(api, specs=cells(seed="own"), seeds=3)
    assert (again["status"], again["progress"]["num_reused"]) == ("succeeded", 9)
    grown = api.post(f"/studies/{again['id']}/extend", json={"seeds": 2}).json()
    assert grown["progress"]["num_reused"] == 12, "of seed 3 all, of seed 4 nothing"
    runs = runs_by_cell(database, again["id"])
    assert runs["taught", 4].needs == runs["teacher", 4].id


def test_a_student_of_another_teacher_of_the_same_seed_is_not_taken_over(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = send(api, specs=cells(seed="own"), seeds=2)
    finish(database, settings, first["id"], {})
    with database.writing() as session:
        run = session.get_one(Run, runs_by_cell(database, first["id"])["teacher", 1].id)
        run.environment = {**(run.environment or {}), "torch": "2.1.0"}
        session.add(run)
    runs = runs_by_cell(database, send(api, specs=cells(seed="own"), seeds=2)["id"])
    assert sorted(place for place, run in runs.items() if run.reused_from is None) == [
        ("taught", 1),
        ("teacher", 1),
    ]


def test_foundations_that_are_no_cells_are_added_for_new_seeds(
    api: TestClient, database: Database, settings: Settings
) -> None:
    specs = [{"name": "taught", **STUDENT, "teacher": {"spec": TEACHER, "seed": "own"}}]
    dry = api.post("/studies?dry_run=true", json={"specs": specs, "seeds": 2}).json()
    record = send(api, specs=specs, seeds=2)
    finish_all(database, settings, dict.fromkeys(range(9), 0.9))
    submit(api, {**TEACHER, "seeds": [3]})
    grown = api.post(f"/studies/{record['id']}/extend", json={"seeds": 2}).json()
    assert grown["progress"]["runs"] == {"succeeded": 2, "queued": 2}
    below = needs_of(database, grown["cells"][0]["experiment_id"])
    assert {seed: run.seed for seed, run in below.items()} == {0: 0, 1: 1, 2: 2, 3: 3}
    with database.reading() as session:
        names = {
            seed: session.get_one(Experiment, run.experiment_id).name for seed, run in below.items()
        }
    assert names == {0: names[0], 1: names[0], 2: "teacher of taught", 3: None}
    finish_all(database, settings, dict.fromkeys(range(9), 0.9))
    assert api.get(f"/studies/{record['id']}").json()["status"] == "succeeded"
    alone = api.post("/studies?dry_run=true", json={"specs": specs, "seeds": 2}).json()
    assert alone["seconds"] < dry["seconds"], (
        "what trains the teachers is priced while it has to be"
    )


def test_a_recipes_teacher_gets_the_seeds_that_its_students_ask_for(
    api: TestClient, database: Database
) -> None:
    small = {"dataset.name": "digits", "dataset.train_limit": 200, "epochs": 1}
    body = {"recipe": "distill", "scale": "smoke", "seeds": 2, "overrides": small}
    plain = runs_by_cell(database, send(api, **body)["id"])
    taught = {key for (key, _), run in plain.items() if run.needs}
    assert taught
    own = {key: {"teacher.seed": "own"} for key in taught}
    runs = runs_by_cell(database, send(api, **body, cell_overrides=own)["id"])
    by_id = {run.id: place for place, run in runs.items()}
    for (key, seed), run in runs.items():
        if key in taught:
            assert by_id[str(run.needs)][1] == seed


def test_a_caution_says_that_all_seeds_share_one_teacher(
    api: TestClient, database: Database, settings: Settings
) -> None:
    def cautions(**teacher: Any) -> list[str]:
        record = send(api, specs=cells(**teacher), seeds=3)
        finish(database, settings, record["id"], {})
        found = api.get(f"/studies/{record['id']}/verdicts").json()["cautions"]
        return [one for one in found if "one and the same" in one]

    assert cautions() == [
        "All seeds of taught build on one and the same teacher: their intervals and verdicts speak"
        ' of this teacher only. "seed": "own" beside it gives each seed its own.'
    ]
    assert cautions(seed="own") == []


def test_it_is_reproduced_verified_and_shown_with_its_teachers(
    api: TestClient, database: Database, settings: Settings
) -> None:
    body = {**STUDENT, "teacher": {"spec": TEACHER, "seed": "own"}, "seeds": 2, "baseline": True}
    record = submit(api, body)
    finish_all(database, settings, {0: 0.9, 1: 0.8})
    reproduced = api.get(f"/experiments/{record['id']}/reproduce").json()
    assert reproduced["request"]["teacher"]["seed"] == "own"
    again = submit(api, reproduced["request"])
    assert again["fingerprint"] == record["fingerprint"]
    assert [run["needs"] for run in again["runs"]] == [run["needs"] for run in record["runs"]]
    verifying = api.post(f"/experiments/{record['id']}/verify").json()
    assert [run["needs"] for run in verifying["runs"]] == [run["needs"] for run in record["runs"]]
    table = api.get(f"/experiments/{record['id']}/distillation").json()
    assert table["rows"][0]["role"] == "teacher"
    assert table["rows"][0]["accuracy"]["n"] == 2
    assert api.get(f"/experiments/{record['id']}/distillation.png").status_code == 200


def test_a_dry_run_and_a_submit_warn_of_a_source_that_has_seen_what_is_val(
    api: TestClient,
) -> None:
    body = {**PROBE, "source": {"spec": {"dataset": {"split_seed": 1}}}, "dataset": "digits"}
    for query in ("?dry_run=true", ""):
        answer = api.post(f"/experiments{query}", json=body)
        assert answer.status_code in (200, 201), answer.text
        assert any("val flatters" in one for one in answer.json()["warnings"]), query
    same = {**body, "source": {"spec": {"dataset": "digits"}}}
    priced = api.post("/experiments?dry_run=true", json=same).json()
    assert not any("val flatters" in one for one in priced["warnings"])
