"""Doing an experiment again over the API: what it takes, and what is said of the second time."""

import json
import shlex
from typing import Any

import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Artifact, Run, Study
from lab_models.common.revision import torch_version
from lab_models.recipes.catalog import RECIPES
from lab_models.recipes.references import RECIPE_BIBTEX
from lab_models.specs import fingerprint, read_request
from tests.app.studies import finish, finish_all, grid, send

SPECS = [{"name": "net", "model": {"width": 16, "depth": 1}, "epochs": 2}]


@pytest.fixture
def original(api: TestClient, database: Database, settings: Settings) -> str:
    record = send(api, specs=SPECS, seeds=3)
    finish(database, settings, record["id"], {("net", 0): 0.90, ("net", 1): 0.91, ("net", 2): 0.92})
    experiment: str = record["cells"][0]["experiment_id"]
    return experiment


def verified(
    api: TestClient,
    database: Database,
    settings: Settings,
    original: str,
    accuracies: dict[int, float],
) -> dict[str, Any]:
    answer = api.post(f"/experiments/{original}/verify")
    assert answer.status_code == 201
    again = answer.json()
    assert answer.headers["location"] == f"/experiments/{again['id']}"
    finish_all(database, settings, accuracies)
    found: dict[str, Any] = api.get(again["links"]["verification"]).json()
    return found


def test_the_exact_request_gives_an_equal_experiment(api: TestClient, original: str) -> None:
    found = api.get(f"/experiments/{original}/reproduce").json()
    assert fingerprint(read_request(found["request"]).spec) == found["fingerprint"]  # type: ignore[union-attr]
    assert (found["seeds"], found["dataset"]) == ([0, 1, 2], {"name": "digits", "sha256": "d" * 64})
    assert found["runs"][0]["environment"]["torch"] == torch_version()
    assert len(found["runs"][0]["weights_sha256"]) == 64
    body = shlex.split(found["command"])[2]
    again = api.post("/experiments", content=body)
    assert again.status_code == 201
    assert again.json()["fingerprint"] == found["fingerprint"]
    assert json.loads(shlex.split(found["command_without_service"])[1]) == found["request"]


def test_a_distillation_is_reproduced_with_its_teachers_spec(api: TestClient) -> None:
    body = {
        "kind": "distill",
        "teacher": {"spec": {"model": {"depth": 1, "width": 8}}, "seed": 4},
        "student": {"hidden": [8]},
    }
    first = api.post("/experiments", json=body).json()
    found = api.get(f"/experiments/{first['id']}/reproduce").json()
    assert found["request"]["teacher"]["seed"] == 4
    again = api.post("/experiments", json=found["request"]).json()
    assert (again["fingerprint"], again["related"]["teacher_run"]) == (
        first["fingerprint"],
        first["related"]["teacher_run"],
    )


def test_a_second_time_with_the_same_bits_is_bit_equal(
    api: TestClient, database: Database, settings: Settings, original: str
) -> None:
    found = verified(api, database, settings, original, {0: 0.90, 1: 0.91, 2: 0.92})
    assert (found["agreement"], found["experiment_id"]) == ("within_interval", original), (
        "equal scores alone are no equal bits"
    )
    with database.writing() as session:
        for run in session.exec(
            select(Run).where(col(Run.experiment_id) == found["again_experiment_id"])
        ):
            first = session.exec(
                select(Run).where(col(Run.experiment_id) == original, col(Run.seed) == run.seed)
            ).one()
            artifact = session.get_one(Artifact, (run.id, "weights.safetensors"))
            artifact.sha256 = session.get_one(Artifact, (first.id, "weights.safetensors")).sha256
    found = api.get(f"/experiments/{found['again_experiment_id']}/verification").json()
    assert found["agreement"] == "bit_equal"
    assert (
        found["sentence"] == "Bit-equal: all 3 runs gave the same weights and the same test scores."
    )


def test_a_second_time_near_enough_is_within_the_interval(
    api: TestClient, database: Database, settings: Settings, original: str
) -> None:
    found = verified(api, database, settings, original, {0: 0.905, 1: 0.905, 2: 0.905})
    assert found["agreement"] == "within_interval"
    half_width = 4.302653 * 0.01 * (1 + 1 / 3) ** 0.5
    assert found["runs"][0]["interval"] == pytest.approx([0.91 - half_width, 0.91 + half_width])
    assert (found["runs"][0]["accuracy"], found["runs"][0]["again_accuracy"]) == (0.90, 0.905)


def test_a_second_time_that_lies_outside_is_different_and_says_by_how_much(
    api: TestClient, database: Database, settings: Settings, original: str
) -> None:
    found = verified(api, database, settings, original, {0: 0.90, 1: 0.5, 2: 0.92})
    assert found["agreement"] == "different"
    assert "1 of 3 runs lie outside" in found["sentence"]
    assert "−41.00 points" in found["sentence"]


def test_a_run_that_was_made_in_two_ways_is_said_to_be(
    api: TestClient, database: Database, settings: Settings, original: str
) -> None:
    with database.writing() as session:
        for run in session.exec(select(Run).where(col(Run.experiment_id) == original)):
            run.environment = {**(run.environment or {}), "before_resuming": {"threads": 2}}
    found = verified(api, database, settings, original, {0: 0.90, 1: 0.91, 2: 0.92})
    assert found["runs"][0]["environment_differs"] == {"before_resuming": [{"threads": 2}, None]}
    assert found["sentence"].endswith("differ in what was otherwise before a checkpoint.")


def test_a_single_run_is_held_against_the_sampling_of_the_test_images(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, specs=SPECS, seeds=1)
    finish(database, settings, record["id"], {("net", 0): 0.9})
    found = verified(api, database, settings, record["cells"][0]["experiment_id"], {0: 0.91})
    half_width = 1.959964 * (2 * 0.9 * 0.1 / 360) ** 0.5
    assert found["runs"][0]["interval"] == pytest.approx([0.9 - half_width, 0.9 + half_width])
    assert found["agreement"] == "within_interval"


def test_what_waits_failed_or_was_never_done_is_said(
    api: TestClient, database: Database, original: str
) -> None:
    again = api.post(f"/experiments/{original}/verify").json()
    found = api.get(f"/experiments/{again['id']}/verification").json()
    assert (found["agreement"], found["sentence"]) == (
        "waiting",
        "0 of 3 runs are done again so far.",
    )
    assert api.post(f"/experiments/{again['id']}/cancel").status_code == 200
    assert api.get(f"/experiments/{again['id']}/verification").json()["agreement"] == "not_repeated"
    assert api.get(f"/experiments/{original}/verification").status_code == 404
    assert api.post(f"/experiments/{again['id']}/verify").status_code == 409


def test_what_to_cite_is_the_data_set_and_the_published_source_of_a_recipe(api: TestClient) -> None:
    alone = api.post("/experiments", json={"epochs": 1}).json()["id"]
    cited = api.get(f"/experiments/{alone}/reproduce").json()["bibtex"]
    assert cited["dataset"].startswith("@misc{alpaydin1998optical,")
    assert cited["recipe"] is None
    assert RECIPE_BIBTEX.keys() <= RECIPES.keys()


def test_a_recipes_cell_names_its_paper(api: TestClient, database: Database) -> None:
    study = send(api, **grid())
    with database.writing() as session:
        session.get_one(Study, study["id"]).recipe = "hinton-mnist"
    cell = study["cells"][0]["experiment_id"]
    cited = api.get(f"/experiments/{cell}/reproduce").json()["bibtex"]
    assert "1503.02531" in cited["recipe"]
