"""OpenAPI links: what can be done with what a POST has made, so that a client, or a fuzzer, can go on by itself."""

from typing import Any

CREATIONS: dict[tuple[str, str], dict[str, str]] = {
    ("/experiments", "post"): {
        "experiment_id": "$response.body#/id",
        "run_id": "$response.body#/runs/0/id",
    },
    ("/experiments/{experiment_id}/verify", "post"): {
        "experiment_id": "$response.body#/id",
        "run_id": "$response.body#/runs/0/id",
    },
    ("/studies", "post"): {
        "study_id": "$response.body#/id",
        "experiment_id": "$response.body#/cells/0/experiment_id",
    },
    ("/webhooks", "post"): {"webhook_id": "$response.body#/id"},
}
"""What makes something, and where in its 201 the ids are that other addresses take."""


def add_links(paths: dict[str, Any]) -> None:
    """Link each creation to every operation that takes one of the ids it gives. `paths` is changed in place."""
    for (path, method), ids in CREATIONS.items():
        links = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {name: ids[name] for name in taken},
            }
            for address, operations in paths.items()
            for operation in operations.values()
            if (taken := [name for name in ids if f"{{{name}}}" in address])
        }
        made = paths[path][method]["responses"]["201"]
        made["links"] = links
        made["headers"] = {
            "Location": {
                "description": "Where it is",
                "required": True,
                "schema": {"type": "string"},
            }
        }
