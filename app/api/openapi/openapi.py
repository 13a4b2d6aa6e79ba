"""OpenAPI: the request's schema, examples, and the shape of every error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from app.api.experiments.steering import Changes
from app.api.http.gate import OPEN_PATHS
from app.api.http.problems import MEDIA_TYPE, Problem
from app.api.openapi.links import add_links
from app.api.openapi.schema_forms import simplify
from app.api.operations.owners import OwnerChanges
from app.api.studies.studies import Extension
from app.api.webhooks.schemas import WebhookChanges, WebhookRequest
from lab_models.specs import ContinueRequest, DistillRequest, ExperimentRequest, TransferRequest
from lab_models.studies.again import Again
from lab_models.studies.request import StudyRequest

KEY_SCHEME = "key"
KEY_DESCRIPTION = (
    "A key that `lab keys create` has printed, where the service asks for one; "
    "without keys nothing needs to be sent."
)

DESCRIPTION = "Trains image classifiers as jobs: POST a spec, poll the experiment, read metrics, curves and weights."

EXAMPLES: dict[str, dict[str, Any]] = {
    "shortest": {
        "summary": "Everything by default",
        "value": {"model": "mlp", "dataset": "digits"},
    },
    "small-mnist": {
        "summary": "784-128-64-10 with dropout on MNIST",
        "value": {
            "name": "small MLP",
            "dataset": {"name": "mnist", "val_fraction": 0.1},
            "model": {
                "arch": "mlp",
                "hidden": [128, 64],
                "dropout": 0.2,
                "dropout_at": "last_hidden",
            },
            "batch_size": 128,
            "epochs": 5,
        },
    },
    "residual": {
        "summary": "Residual MLP of depth 6, three seeds",
        "value": {
            "name": "residual MLP, depth 6",
            "labels": {"exercise": "1.2"},
            "seeds": 3,
            "dataset": "mnist",
            "model": {"arch": "mlp", "depth": 6, "width": 512, "residual": True},
            "optimizer": {"name": "adam", "learning_rate": 0.001},
            "epochs": 10,
        },
    },
    "distill": {
        "summary": "A student from a teacher that is trained first, with its baseline, three seeds",
        "value": {
            "kind": "distill",
            "name": "small student",
            "teacher": {"spec": {"model": {"depth": 2, "width": 256}, "epochs": 10}},
            "student": {"arch": "mlp", "hidden": [16, 8]},
            "temperature": 4.0,
            "alpha": 0.9,
            "baseline": True,
            "seeds": 3,
        },
    },
    "transfer": {
        "summary": "A CIFAR-10 network fine-tuned on CIFAR-100, its last two stages, with the control from scratch",
        "value": {
            "kind": "transfer",
            "source": {"spec": {"dataset": "cifar10", "model": "student", "epochs": 10}},
            "dataset": "cifar100",
            "strategy": "fine_tune",
            "last_stages": 2,
            "layer_decay": 0.7,
            "from_scratch": True,
        },
    },
    "pretrained": {
        "summary": "A linear probe on torchvision's ResNet-18 from ImageNet",
        "value": {
            "kind": "transfer",
            "source": {"pretrained": "resnet18", "image_size": 64},
            "dataset": "cifar10",
            "strategy": "linear_probe",
        },
    },
    "like": {
        "summary": "An experiment once more with another learning rate",
        "value": {"like": "exp_0123456789abc", "set": {"optimizer.learning_rate": 0.01}},
    },
    "go_on": {
        "summary": "Its trained networks, trained for 20 epochs more",
        "value": {"like": "exp_0123456789abc", "go_on": {"epochs": 20}},
    },
}

REQUESTS = (ExperimentRequest, DistillRequest, TransferRequest, ContinueRequest)
MODELS: tuple[type[BaseModel], ...] = (
    *REQUESTS,
    Again,
    StudyRequest,
    Extension,
    Changes,
    OwnerChanges,
    WebhookRequest,
    WebhookChanges,
    Problem,
)
REQUEST_SCHEMAS = [{"$ref": f"#/components/schemas/{form.__name__}"} for form in (*REQUESTS, Again)]

STUDY_EXAMPLES: dict[str, dict[str, Any]] = {
    "recipe": {"summary": "A recipe, small", "value": {"recipe": "mlp-depth", "scale": "smoke"}},
    "grid": {
        "summary": "Depth against residual connections, three seeds",
        "value": {
            "spec": {"dataset": "digits", "epochs": 5},
            "vary": {"model.depth": [2, 6], "model.residual": [False, True]},
            "seeds": 3,
        },
    },
    "search": {
        "summary": "Sixteen points of a learning rate and a dropout, drawn together",
        "value": {
            "spec": {"dataset": "digits", "epochs": 5},
            "vary": {
                "optimizer.learning_rate": {"log": [0.0001, 0.1]},
                "model.dropout": {"uniform": [0, 0.5]},
            },
            "sample": {"points": 16, "seed": 0},
            "seeds": 2,
        },
    },
}


def _json_body(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, **more}},
        }
    }


BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("/experiments", "post"): _json_body({"anyOf": REQUEST_SCHEMAS}, examples=EXAMPLES),
    ("/experiments/{experiment_id}", "patch"): _json_body(
        {"$ref": "#/components/schemas/Changes"}, example={"priority": 5, "labels": {"note": None}}
    ),
    ("/owners/{name}", "patch"): _json_body(
        {"$ref": "#/components/schemas/OwnerChanges"},
        example={"quotas": {"running": 2, "hours": 10}},
    ),
    ("/studies", "post"): _json_body(
        {"$ref": "#/components/schemas/StudyRequest"}, examples=STUDY_EXAMPLES
    ),
    ("/webhooks", "post"): _json_body(
        {"$ref": "#/components/schemas/WebhookRequest"},
        example={"url": "https://example.org/hook", "events": ["experiment.failed"]},
    ),
    ("/webhooks/{webhook_id}", "patch"): _json_body(
        {"$ref": "#/components/schemas/WebhookChanges"}, example={"enabled": True}
    ),
    ("/studies/{study_id}/extend", "post"): _json_body({"$ref": "#/components/schemas/Extension"}),
}
"""Bodies that routes read by hand, to say what is wrong in them better than FastAPI does."""

ERRORS = {
    "400": "The body cannot be read, or the Host header names another service",
    "401": "A key is needed",
    "403": "Not allowed with this key",
    "404": "Not found",
    "405": "Not served: an id with a slash in it is another address",
    "409": "Conflict",
    "413": "The body is too large",
    "415": "The body is compressed",
    "422": "Bad fields",
    "429": "Too many requests or waiting runs",
    "503": "Busy",
    "507": "The disk is full",
}
UNCHANGED = {"description": "The caller has it: If-None-Match names its tag"}
ANYWHERE = {"400", "401", "403", "422", "429", "503"}
CONFLICTING_READS = (
    "/experiments/{experiment_id}/confusion-matrix.json",
    "/experiments/{experiment_id}/confusion-matrix.{extension}",
    "/experiments/{experiment_id}/explanations.json",
    "/experiments/{experiment_id}/explanations.{extension}",
    "/experiments/{experiment_id}/network",
    "/comparisons",
    "/runs/{run_id}/model.onnx",
    "/runs/{run_id}/images/{split}/{row}.png",
)
"""What cannot be read while a run has not succeeded, or because what would be compared does not fit together."""
NAMED_IN_THE_QUERY = ("/comparisons", "/events")
"""What is found, or not, by ids in the query."""


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` tell the whole truth: bodies are validated by hand, so their schema is added here."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = schema["components"]["schemas"]
    for model in MODELS:
        document = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components.update(document.pop("$defs", {}))
        components[model.__name__] = document
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            operation.update(BODIES.get((path, method), {}))
            _add_errors(path, method, operation)
            if method == "get" and "application/json" in _content(operation):
                operation["responses"].setdefault("304", UNCHANGED)
            operation["security"] = [] if path in OPEN_PATHS else [{KEY_SCHEME: []}]
    schema["components"]["securitySchemes"] = {
        KEY_SCHEME: {"type": "http", "scheme": "bearer", "description": KEY_DESCRIPTION}
    }
    add_links(schema["paths"])
    simple: dict[str, Any] = simplify(schema)
    return simple


def _content(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["responses"].get("200", {}).get("content", {})
    return content


def _add_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    """Document every problem that this operation can answer with; what the route says itself stays."""
    operation["responses"].pop("422", None)  # FastAPI's own form, which `problems` replaces
    for status in sorted(_possible_errors(path, method, operation)):
        response = operation["responses"].setdefault(status, {"description": ERRORS[status]})
        response.setdefault("content", {})[MEDIA_TYPE] = {
            "schema": {"$ref": "#/components/schemas/Problem"}
        }


def _possible_errors(path: str, method: str, operation: dict[str, Any]) -> set[str]:
    possible = set(ANYWHERE)
    if "{" in path:
        possible |= {"404", "405"}
    if path in NAMED_IN_THE_QUERY:
        possible.add("404")
    if "requestBody" in operation:
        possible |= {"404", "413"}
        if set(operation["requestBody"]["content"]) == {"application/json"}:
            possible.add("415")
    if method != "get":
        possible |= {"409", "507"}
    elif path in CONFLICTING_READS:
        possible.add("409")
    return possible
