"""A JSON Schema in the words of the tables: which values a field takes, and its default."""

import json
from typing import Any


def kind(field: dict[str, Any]) -> str:
    """What may stand in a field or a parameter: `number ≥ 0, ≤ 60`."""
    options = field.get("anyOf") or [field]
    return " or ".join(dict.fromkeys(map(_kind_of_one, options)))


def shown_default(value: object) -> str:
    """A default, as a table shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`" if value != "" else "empty"


def _kind_of_one(option: dict[str, Any]) -> str:
    if "$ref" in option or "discriminator" in option or "oneOf" in option:
        return "object"
    if "const" in option:
        return f'`"{option["const"]}"`'
    if "enum" in option:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in option["enum"])
    kind = {"string": "name", "boolean": "true, false", "array": "list"}.get(
        option["type"], str(option["type"])
    )
    return kind + _bounds(option)


def _bounds(option: dict[str, Any]) -> str:
    low = (
        f"≥ {option['minimum']:.12g}"
        if "minimum" in option
        else f"> {option['exclusiveMinimum']:.12g}"
        if "exclusiveMinimum" in option
        else ""
    )
    high = (
        f"≤ {option['maximum']:.12g}"
        if "maximum" in option
        else f"< {option['exclusiveMaximum']:.12g}"
        if "exclusiveMaximum" in option
        else ""
    )
    listed = ", ".join(part for part in (low, high) if part)
    return f" {listed}" if listed else ""
