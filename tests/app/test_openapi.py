"""The OpenAPI document says what the service does: statuses, bodies, links, and forms of schemas that every generator
reads.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api.openapi.schema_forms import simplify
from tests.app.studies import grid, send

PROBLEM = "application/problem+json"


@pytest.fixture
def document(api: TestClient) -> dict[str, Any]:
    described: dict[str, Any] = api.get("/openapi.json").json()
    return described


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_names_the_problems_that_it_can_give(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        problems = {
            status
            for status, response in operation["responses"].items()
            if PROBLEM in response.get("content", {})
        }
        assert problems >= {"400", "401", "403", "422", "429", "503"}, path
        assert ("404" in problems) >= ("{" in path), path
        assert ("413" in problems) == ("requestBody" in operation), path
        assert (problems >= {"409", "507"}) >= (method != "get"), path
        assert not any(
            status >= "400" and "description" not in response
            for status, response in operation["responses"].items()
        )


def test_a_problem_does_not_hide_what_a_route_says_of_the_same_status(
    document: dict[str, Any],
) -> None:
    assert set(document["paths"]["/readyz"]["get"]["responses"]["503"]["content"]) == {
        "application/json",
        PROBLEM,
    }


def test_a_known_key_or_a_dry_run_answers_200_with_either_form(document: dict[str, Any]) -> None:
    schema = document["paths"]["/experiments"]["post"]["responses"]["200"]["content"][
        "application/json"
    ]["schema"]
    assert [part["$ref"].rpartition("/")[2] for part in schema["anyOf"]] == [
        "DryRun",
        "ExperimentRecord",
    ]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/experiments", "GET, HEAD, POST"),
        ("/experiments/exp_none", "GET, HEAD, PATCH, DELETE"),
        ("/experiments/exp_none/retry", "POST"),
        ("/datasets/x", "GET, HEAD, PUT, DELETE"),
    ],
)
def test_405_names_every_method_that_is_served(api: TestClient, path: str, allowed: str) -> None:
    for method in ("OPTIONS", "TRACE"):
        answer = api.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.headers["content-type"] == PROBLEM


def test_what_a_post_has_made_is_linked_to_what_can_be_done_with_it(
    api: TestClient, document: dict[str, Any]
) -> None:
    known = {
        operation["operationId"]: (method, path) for path, method, operation in operations(document)
    }
    made = document["paths"]["/experiments"]["post"]["responses"]["201"]
    linked = {known[link["operationId"]]: link["parameters"] for link in made["links"].values()}
    assert linked["get", "/experiments/{experiment_id}"] == {"experiment_id": "$response.body#/id"}
    assert linked["get", "/runs/{run_id}"] == {"run_id": "$response.body#/runs/0/id"}
    assert {
        ("delete", "/experiments/{experiment_id}"),
        ("post", "/experiments/{experiment_id}/cancel"),
    } <= set(linked)
    of_study = {
        known[link["operationId"]]
        for link in document["paths"]["/studies"]["post"]["responses"]["201"]["links"].values()
    }
    assert {
        ("post", "/studies/{study_id}/extend"),
        ("delete", "/studies/{study_id}"),
        ("get", "/experiments/{experiment_id}"),
    } <= of_study
    record = send(api, **grid())
    assert api.get(f"/experiments/{record['cells'][0]['experiment_id']}").status_code == 200


def test_no_endpoint_reads_a_body_that_the_document_does_not_mention(
    api: TestClient, document: dict[str, Any]
) -> None:
    """Half an object is no JSON: whoever reads it says so."""
    study = send(api, **grid())
    experiment = study["cells"][0]["experiment_id"]
    run = api.get(f"/experiments/{experiment}").json()["runs"][0]["id"]
    known = {
        "study_id": study["id"],
        "experiment_id": experiment,
        "run_id": run,
        "name": "digits",
        "key_id": "key_none",
        "webhook_id": "whk_none",
        "delivery_id": "msg_none",
    }
    reading = []
    for path, method, operation in operations(document):
        if method in ("post", "put", "patch") and "requestBody" not in operation:
            answer = api.request(method, path.format(**known), content=b"{")
            reading += [(method, path)] if answer.json().get("code") == "bad_json" else []
    assert reading == []


def test_schemas_are_put_into_plain_forms() -> None:
    assert simplify({"prefixItems": [{"type": "integer"}] * 3, "minItems": 3}) == {
        "items": {"type": "integer"},
        "minItems": 3,
    }
    mixed = {"prefixItems": [{"type": "integer"}, {"type": "string"}]}
    assert simplify(mixed) == mixed
    union = {"oneOf": [{"$ref": "#/a"}, {"$ref": "#/b"}], "discriminator": {"propertyName": "name"}}
    assert simplify({"properties": {"x": union}}) == {
        "properties": {"x": {"anyOf": [{"$ref": "#/a"}, {"$ref": "#/b"}]}}
    }


def test_operations_have_names_that_people_read_each_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert {"list_experiments", "create_experiment", "read_run", "count_experiments"} <= set(names)
    assert all(name.isidentifier() and "__" not in name for name in names)
