"""Arbitrary JSON in the words of the specs: nothing breaks the service, and every error points to a place that the
sender can find.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from pydantic import BaseModel
from starlette.testclient import TestClient

from app.api.experiments.steering import Changes
from app.api.studies.studies import Extension
from app.main import create_app
from app.settings import Settings
from lab_models.datasets.catalog import BUILT_IN
from lab_models.recipes.catalog import RECIPES
from lab_models.specs import DistillRequest, ExperimentRequest, TransferRequest
from lab_models.studies.request import StudyRequest

MOST_OF_AN_ADDRESS = 200
"""Longer names are cut in a pointer."""


def words_of(schema: Any) -> Iterator[str]:
    """Names of fields, and the names and kinds that they may have, anywhere in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        yield from (
            word for word in [*schema.get("enum", []), schema.get("const")] if isinstance(word, str)
        )
        for part in schema.values():
            yield from words_of(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from words_of(part)


MODELS: tuple[type[BaseModel], ...] = (
    ExperimentRequest,
    DistillRequest,
    TransferRequest,
    StudyRequest,
    Extension,
    Changes,
)
WORDS = sorted(
    {word for model in MODELS for word in words_of(model.model_json_schema())}
    | {*BUILT_IN, *RECIPES, "model.depth", "dataset.name", "a/b~c"}
)
NUMBERS = [
    0,
    -1,
    1,
    2,
    3,
    1000,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.0,
    -0.0,
    0.5,
    1.0,
    1e308,
    -1e308,
    5e-324,
]
LEAVES = (
    strategies.sampled_from([None, True, False, *NUMBERS])
    | strategies.sampled_from(WORDS)
    | strategies.text(max_size=6)
)
KEYS = strategies.sampled_from(WORDS) | strategies.text(max_size=4)
TREES = strategies.recursive(
    LEAVES,
    lambda inner: (
        strategies.lists(inner, max_size=4) | strategies.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=25,
)
TOP = {
    "/experiments?dry_run=true": (ExperimentRequest, DistillRequest, TransferRequest),
    "/studies": (StudyRequest,),
}


@strategies.composite
def like(draw: strategies.DrawFn, model: type[BaseModel]) -> dict[str, Any]:
    """An object with some of a model's fields, each of any value, now and then as the model has it."""
    names = draw(
        strategies.lists(
            strategies.sampled_from([*model.model_fields, "x"]), max_size=5, unique=True
        )
    )
    return {name: draw(TREES | strategies.just(default_of(model, name))) for name in names}


def default_of(model: type[BaseModel], name: str) -> Any:
    """What the field is when nothing is said, as JSON."""
    field = model.model_fields.get(name)
    if field is None or field.is_required():
        return {}
    default = field.get_default(call_default_factory=True, validated_data={})
    return (
        default.model_dump(mode="json")
        if isinstance(default, BaseModel)
        else json.loads(json.dumps(default))
    )


@strategies.composite
def requests(draw: strategies.DrawFn) -> tuple[str, Any]:
    """An address and a body for it."""
    address = draw(strategies.sampled_from(sorted(TOP)))
    model = draw(strategies.sampled_from(TOP[address]))
    return address, draw(like(model) | TREES)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One service for all examples; small limits, so that no valid one is slow."""
    limits = Settings(
        home=tmp_path_factory.mktemp("specs"),
        log_level="ERROR",
        max_study_runs=20,
        max_epochs=100,
        max_parameters=5_000_000,
        _env_file=None,
    )
    with TestClient(create_app(limits), raise_server_exceptions=False) as client:
        yield client


def missing_from(document: Any, pointer: str) -> tuple[int, int]:
    """How many names a JSON Pointer has, and how many of them lead nowhere."""
    names = [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
    for place, name in enumerate(names):
        if isinstance(document, dict):
            full = next((key for key in document if key[:MOST_OF_AN_ADDRESS] == name), None)
            if full is None:
                return len(names), len(names) - place
            document = document[full]
        elif isinstance(document, list) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        else:
            return len(names), len(names) - place
    return len(names), 0


def require_what_helps(answer: Any, body: Any) -> None:
    """Below 500; a problem document when refused; each pointer leads to something in the body, or to a field that its
    owner lacks.
    """
    assert answer.status_code < 500, answer.text
    if answer.status_code < 400:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    for error in problem["errors"]:
        assert error["message"]
        assert error["pointer"] == "" or error["pointer"].startswith("/"), error
        _, missing = missing_from(body, error["pointer"])
        assert missing <= 1, f"{error} leads nowhere in {json.dumps(body)[:2000]}"


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=requests())
def test_no_words_of_the_specs_break_the_service_and_every_error_can_be_found(
    limited: TestClient, request: tuple[str, Any]
) -> None:
    address, body = request
    require_what_helps(limited.post(address, content=json.dumps(body)), body)


def test_a_missing_field_is_pointed_to_where_it_would_stand(limited: TestClient) -> None:
    body = {"spec": {}, "vary": {"model.depth": [1]}, "contrasts": [{"treatment": "a"}]}
    answer = limited.post("/studies", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (
        422,
        "/contrasts/0/control",
    )
    assert missing_from(body, "/contrasts/0/control") == (3, 1)
    assert missing_from(body, "/contrasts/1/control") == (3, 2)
