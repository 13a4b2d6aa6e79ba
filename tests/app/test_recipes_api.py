"""Recipes over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.services.experiments.estimates import estimate
from app.settings import Settings
from lab_models.datasets.catalog import BUILT_IN
from lab_models.recipes.catalog import RECIPES
from lab_models.recipes.recipe import Cell
from lab_models.specs import AnySpec, ExperimentRequest, Trained, read_request
from lab_models.studies.design import Design, cell_request
from lab_models.studies.designing import design_of
from lab_models.studies.request import read_study_request

pytestmark = pytest.mark.sqlite  # no rows


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("recipes")
    with TestClient(create_app(Settings(home=home, log_level="ERROR", _env_file=None))) as client:
        yield client


def test_a_recipe_costs_what_its_dry_run_says_and_nothing_where_it_is_not_allowed(
    client: TestClient, tmp_path: Path
) -> None:
    for row in client.get("/recipes").json()["data"]:
        for scale, said in row["scales"].items():
            body = {"recipe": row["name"], "scale": scale}
            priced = client.post("/studies?dry_run=true", json=body).json()
            assert (said["seconds"], said["based_on"]) == (priced["seconds"], priced["based_on"])
            assert said["based_on"].startswith("nominal, on two CPU cores")
            assert priced["seconds"] == priced["nominal_seconds"]
    small = Settings(home=tmp_path, max_epochs=5, log_level="ERROR", _env_file=None)
    with TestClient(create_app(small)) as other:
        scales = other.get("/recipes/mlp-depth").json()["scales"]
    assert (scales["full"]["seconds"], scales["full"]["based_on"]) == (None, None)
    assert scales["smoke"]["seconds"] > 1


def test_every_recipe_is_listed_slim(client: TestClient) -> None:
    listed = client.get("/recipes").json()["data"]
    assert [row["name"] for row in listed] == list(RECIPES)
    first = listed[0]
    assert set(first) == {"name", "title", "question", "reproduces", "num_cells", "scales", "links"}
    assert (first["name"], first["num_cells"]) == ("mlp-depth", 5)
    assert {
        name: (scale["seeds"], scale["num_runs"]) for name, scale in first["scales"].items()
    } == {"smoke": (3, 15), "full": (10, 50)}
    assert set(first["scales"]["smoke"]) == {
        "description",
        "seeds",
        "num_runs",
        "seconds",
        "based_on",
        "cost_cpu",
        "cost_gpu",
    }
    assert first["links"] == {"self": "/recipes/mlp-depth", "studies": "/studies?recipe=mlp-depth"}


def test_a_recipe_shows_requests_printed_and_expected_numbers(client: TestClient) -> None:
    whole = client.get("/recipes/mlp-depth").json()
    cell = whole["cells"][2]
    assert cell["key"] == "depth-6"
    assert cell["request"]["model"] == {"arch": "mlp", "depth": 6, "width": 512}
    assert cell["factors"] == {"depth": 6}
    assert cell["published"] == {"value": 0.9837, "metric": "test.accuracy", "printed": "98.37 %"}
    assert (cell["expected"]["low"], cell["expected"]["high"]) == (0.972, 0.982)
    assert cell["expected"]["source"].startswith("measured")
    assert whole["claims"][0]["test"] == {
        "kind": "not_monotone",
        "cells": ["depth-2", "depth-4", "depth-6", "depth-8", "depth-10"],
        "metric": "test.accuracy",
    }
    assert whole["scales"]["smoke"]["overrides"] == {"dataset.train_limit": 3000, "epochs": 2}
    assert whole["published_tables"][0]["rows"][0] == ["2", "98.26 %"]
    assert whole["margin_points"] == 0.15


def test_a_recipe_comes_with_what_the_linter_finds_and_a_request_that_is_ready(
    client: TestClient,
) -> None:
    whole = client.get("/recipes/mlp-residual").json()
    assert [finding["code"] for finding in whole["findings"]] == [
        "wrong_difference",
        "points_as_percent",
        "impossible_digits",
        "split_unsaid",
    ]
    assert "98.68 in place of 92.68" in whole["findings"][0]["suggestion"]
    assert whole["post"] == {
        "method": "POST",
        "path": "/studies",
        "body": {"recipe": "mlp-residual", "scale": "smoke"},
    }
    assert (
        len(design_of(read_study_request(whole["post"]["body"])).cells) == whole["num_cells"] == 6
    )


def test_runs_of_a_shared_teacher_are_counted_once(client: TestClient) -> None:
    scales = client.get("/recipes/distill").json()["scales"]
    assert (scales["full"]["seeds"], scales["full"]["num_runs"]) == (5, 11)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_read(client: TestClient, name: str) -> None:
    answer = client.get(f"/recipes/{name}")
    assert answer.status_code == 200
    assert [cell["key"] for cell in answer.json()["cells"]] == [
        cell.key for cell in RECIPES[name].cells
    ]


def test_an_unknown_recipe_is_not_found_and_the_nearest_is_suggested(client: TestClient) -> None:
    answer = client.get("/recipes/mlp-resdual")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert (
        answer.json()["detail"] == "there is no recipe 'mlp-resdual'; did you mean 'mlp-residual'?"
    )


@pytest.mark.parametrize("name", RECIPES)
def test_the_smoke_scale_ends_in_minutes_on_two_cores(name: str) -> None:
    design = design_of(read_study_request({"recipe": name, "scale": "smoke"}))
    assert (
        sum(len(design.seeds_of(cell)) * seconds_of(spec_of(design, cell)) for cell in design.cells)
        < 5 * 60
    )
    assert 1 < RECIPES[name].scales["smoke"].seeds <= RECIPES[name].scales["full"].seeds


NUMBERS = {
    "a third of a": 1 / 3,
    "half a": 0.5,
    "half an": 0.5,
    "a quarter of a": 0.25,
    "a": 1.0,
    "an": 1.0,
}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
FACTOR = 2.0
"""By how much what a recipe prints and what a dry run says nominally may differ, as docs/studies.md states."""


def printed(cost: str) -> float:
    """Seconds that a recipe's printed cost begins with, such as `3 to 3.5 minutes (measured)`."""
    found = re.match(
        r"(?:about |less than )?(?:([\d.]+)(?: to ([\d.]+))?|(\D+?)) (second|minute|hour|day|week)s?\b",
        cost,
    )
    assert found is not None, cost
    low, high, words, unit = found.groups()
    number = NUMBERS[words] if words else (float(low) + float(high or low)) / 2
    return number * SECONDS[unit]


@pytest.mark.parametrize("scale", ["smoke", "full"])
@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_prints_is_what_a_dry_run_says(name: str, scale: str) -> None:
    design = design_of(read_study_request({"recipe": name, "scale": scale}))
    said = sum(
        len(design.seeds_of(cell)) * seconds_of(spec_of(design, cell)) for cell in design.cells
    )
    shown = printed(RECIPES[name].scales[scale].cost_cpu)
    assert shown / FACTOR < said < FACTOR * shown, f"{said:.0f} s, printed {shown:.0f} s"


def test_bfloat16_costs_less_where_there_are_convolutions() -> None:
    def seconds(model: str, precision: str) -> float:
        request = read_request({"dataset": "cifar10", "model": model, "precision": precision})
        assert isinstance(request, ExperimentRequest)
        return estimate(request.spec, BUILT_IN["cifar10"]).seconds

    assert seconds("teacher", "float32") == pytest.approx(2 * seconds("teacher", "bfloat16"), 0.01)
    assert seconds("mlp", "float32") == seconds("mlp", "bfloat16")


def spec_of(design: Design, cell: Cell) -> AnySpec:
    request = cell_request(design, cell)
    if isinstance(request, ExperimentRequest):
        return request.spec
    assert request.reference.spec is not None
    return request.spec_with(Trained(spec=request.reference.spec, seed=request.reference.seed or 0))


def seconds_of(spec: AnySpec) -> float:
    """Nominal seconds of one run."""
    return estimate(spec, BUILT_IN[spec.dataset.name]).seconds
