"""OpenAPI: the request's schema, examples, and the shape of every error."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.problems import MEDIA_TYPE, Problem
from lab_models.specs import DistillRequest, ExperimentRequest, TransferRequest

DESCRIPTION = "Trains image classifiers as jobs: POST a spec, poll the experiment, read metrics, curves and weights."

EXAMPLES: dict[str, dict[str, Any]] = {
    "shortest": {"summary": "Everything by default", "value": {"model": "mlp", "dataset": "digits"}},
    "small-mnist": {
        "summary": "784-128-64-10 with dropout on MNIST",
        "value": {
            "name": "small MLP",
            "dataset": {"name": "mnist", "val_fraction": 0.1},
            "model": {"arch": "mlp", "hidden": [128, 64], "dropout": 0.2, "dropout_at": "last_hidden"},
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
}

REQUESTS = (ExperimentRequest, DistillRequest, TransferRequest)
REQUEST_SCHEMAS = [{"$ref": f"#/components/schemas/{request.__name__}"} for request in REQUESTS]

ERRORS = {
    "400": "The body cannot be read",
    "404": "Not found",
    "409": "Conflict",
    "413": "The body is too large",
    "422": "Bad fields",
    "503": "Busy",
    "507": "The disk is full",
}
ERRORS_BY_METHOD = {
    "get": ("404", "422", "503"),
    "post": ("400", "404", "409", "413", "422", "503"),
    "put": ("400", "409", "413", "422", "507"),
    "delete": ("404", "409", "422", "503"),
}


def describe(app: FastAPI) -> None:
    """Make `app.openapi()` tell the whole truth: bodies are validated by hand, so their schema is added here."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = schema["components"]["schemas"]
    for request in REQUESTS:
        document = request.model_json_schema(ref_template="#/components/schemas/{model}")
        components.update(document.pop("$defs", {}))
        components[request.__name__] = document
    components["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(components["Problem"].pop("$defs", {}))
    for unused in ("HTTPValidationError", "ValidationError"):
        components.pop(unused, None)
    for operations in schema["paths"].values():
        for method, operation in operations.items():
            for status in ERRORS_BY_METHOD[method]:
                operation["responses"][status] = {"description": ERRORS[status], "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    schema["paths"]["/experiments"]["post"]["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": REQUEST_SCHEMAS}, "examples": EXAMPLES}},
    }
    return schema
