"""The tables of docs/api.md: every route with its parameters, every error, as the service itself describes them."""

from collections.abc import Iterator
from typing import Any

from app.api.openapi.openapi import ANYWHERE
from app.commands.reference.schema_words import kind, shown_default
from app.errors import ServiceError
from app.main import create_app
from app.settings import Settings


def routes_reference() -> str:
    """One row per route: its parameters, and what it answers beside what any route may."""
    document = create_app(Settings(log_level="ERROR")).openapi()
    rows = [
        f"| `{method.upper()} {path}` | {_parameters(operation, document)} | {_answers(operation)} |"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return "\n".join(["| route | parameters | answers |", "|---|---|---|", *rows])


def errors_reference() -> str:
    """One row per `code` of a problem."""
    first_of_its_code = {error.code: error for error in reversed(list(_family(ServiceError)))}
    rows = [
        f"| {error.status} | `{error.code}` | {_sentence(error.__doc__)} |"
        for error in first_of_its_code.values()
    ]
    return "\n".join(["| status | `code` | when |", "|---|---|---|", *sorted(rows)])


def _family(error: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """What is derived from it."""
    for member in error.__subclasses__():
        yield member
        yield from _family(member)


def _parameters(operation: dict[str, Any], document: dict[str, Any]) -> str:
    """What may stand in the query, and headers; what is in the path is plain to see."""
    return "<br>".join(
        _parameter(parameter, document)
        for parameter in operation.get("parameters", [])
        if parameter["in"] != "path"
    )


def _parameter(parameter: dict[str, Any], document: dict[str, Any]) -> str:
    name = parameter["name"].title() if parameter["in"] == "header" else parameter["name"]
    schema = _resolved(parameter["schema"], document)
    default = (
        f"; {shown_default(schema['default'])}" if schema.get("default") not in (None, []) else ""
    )
    described = parameter.get("description", "")
    meaning = f": {_sentence(described).rstrip('.')}" if described else ""
    kinds = kind(schema).replace('`"', "`").replace('"`', "`")
    return f"`{name}` ({kinds}{default}){meaning}"


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The schema with what it refers to in its place, and without `null`, which a query cannot say."""
    options = [_named(option, document) for option in schema.get("anyOf", [schema])]
    given = [option for option in options if option.get("type") != "null"]
    return {"anyOf": given, "default": schema.get("default")}


def _named(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def _answers(operation: dict[str, Any]) -> str:
    return ", ".join(sorted(set(operation["responses"]) - ANYWHERE))


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).replace("|", "\\|")
