"""The README's tables, generated from the code: `make docs` writes them, a test holds them."""

import sys
from pathlib import Path
from typing import Any

from app.settings import Settings
from app.states import REASON_MEANINGS
from lab_models.specs import AdamSpec, ConstantSchedule, DatasetSpec, ExperimentRequest, Frozen, MLPSpec, SGDSpec

MODELS: tuple[tuple[str, type[Frozen]], ...] = (
    ("The body", ExperimentRequest),
    ("`dataset`", DatasetSpec),
    ('`model`, `"arch": "mlp"`', MLPSpec),
    ('`optimizer`, `"name": "adam"`', AdamSpec),
    ('`optimizer`, `"name": "sgd"`', SGDSpec),
    ("`schedule`", ConstantSchedule),
)


def spec_reference() -> str:
    """One table per part of the request."""
    return "\n\n".join(f"**{title}**\n\n{_model_table(model)}" for title, model in MODELS)


def settings_reference() -> str:
    """One row per setting."""
    rows = [f"| `LAB_{name.upper()}` | {_shown_default(field.default)} | {field.description} |" for name, field in Settings.model_fields.items()]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def reasons_reference() -> str:
    """One row per `status_reason`."""
    return "\n".join(["| `status_reason` | meaning |", "|---|---|", *(f"| `{reason}` | {meaning} |" for reason, meaning in REASON_MEANINGS.items())])


SECTIONS = {"spec": spec_reference, "settings": settings_reference, "reasons": reasons_reference}


def updated(text: str) -> str:
    """The text with every generated section as it should be now."""
    for name, section in SECTIONS.items():
        head, begin, rest = text.partition(f"<!-- {name}: generated -->\n")
        if begin:
            _, end, tail = rest.partition("<!-- end -->")
            text = f"{head}{begin}{section()}\n{end}{tail}"
    return text


def _model_table(model: type[Frozen]) -> str:
    schema = model.model_json_schema()
    rows = [f"| `{name}` | {_kind(field)} | {_default(model, name)} | {field['description']} |" for name, field in schema["properties"].items()]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])


def _kind(field: dict[str, Any]) -> str:
    options = field.get("anyOf") or [field]
    return " or ".join(dict.fromkeys(map(_kind_of_one, options)))


def _kind_of_one(option: dict[str, Any]) -> str:
    if "$ref" in option or "discriminator" in option or "oneOf" in option:
        return "object"
    if "const" in option:
        return f'`"{option["const"]}"`'
    if "enum" in option:
        return ", ".join(f'`"{choice}"`' for choice in option["enum"])
    kind = {"string": "name", "boolean": "true, false", "array": "list"}.get(option["type"], str(option["type"]))
    return kind + _bounds(option)


def _bounds(option: dict[str, Any]) -> str:
    low = f"≥ {option['minimum']:.12g}" if "minimum" in option else f"> {option['exclusiveMinimum']:.12g}" if "exclusiveMinimum" in option else ""
    high = f"≤ {option['maximum']:.12g}" if "maximum" in option else f"< {option['exclusiveMaximum']:.12g}" if "exclusiveMaximum" in option else ""
    listed = ", ".join(part for part in (low, high) if part)
    return f" {listed}" if listed else ""


def _default(model: type[Frozen], name: str) -> str:
    default = model.model_fields[name].default
    if isinstance(default, Frozen):
        key = next(iter(type(default).model_fields))
        return f"`{getattr(default, key)}`"
    return _shown_default(list(default) if isinstance(default, tuple) else default)


def _shown_default(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{value}`" if value != "" else "empty"


if __name__ == "__main__":
    for readme in map(Path, sys.argv[1:]):
        readme.write_text(updated(readme.read_text()))
