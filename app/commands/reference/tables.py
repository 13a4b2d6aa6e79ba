"""The tables of the documents, generated from the code: `make docs` writes them, a test holds them."""

import json
import re
from pathlib import Path
from typing import Any, get_args

from app.commands.reference.routes import errors_reference, routes_reference
from app.commands.reference.schema_words import kind, shown_default
from app.settings import Settings
from app.storage.states import REASON_MEANINGS
from lab_models.architectures.sizes import model_size
from lab_models.recipes.catalog import RECIPES
from lab_models.specs import (
    ARCHITECTURES,
    PRESETS,
    AttentionSpec,
    AugmentationSpec,
    ContinueRequest,
    DatasetSpec,
    DistillRequest,
    EarlyStoppingSpec,
    ExperimentRequest,
    Frozen,
    HintSpec,
    LayerGradientsSpec,
    OptimizerSpec,
    OriginReference,
    Reference,
    ScheduleSpec,
    TrainSpec,
    TransferRequest,
)
from lab_models.studies.again import Again, GoOn


def members(union: Any) -> tuple[type[Frozen], ...]:
    """The specs that a discriminated union can be: one that is added to it is in the tables at once."""
    found: tuple[type[Frozen], ...] = get_args(get_args(union)[0])
    return found


MODELS: tuple[tuple[str, type[Frozen]], ...] = (
    ("The body", ExperimentRequest),
    ('The body, `"kind": "distill"`, without `model` and with', DistillRequest),
    ('The body, `"kind": "transfer"`, without `model` and with', TransferRequest),
    ('The body, `"kind": "continue"`, without `model` and with', ContinueRequest),
    ("The body with `like` or `set`", Again),
    ("`go_on`", GoOn),
    ("`teacher` and `source`", Reference),
    ("`origin`", OriginReference),
    ('`features`, `"name": "attention"`', AttentionSpec),
    ('`features`, `"name": "hint"`', HintSpec),
    ("`dataset`", DatasetSpec),
    ("`dataset.augmentation`", AugmentationSpec),
    *(
        (f'`model`, `"arch": "{spec.model_fields["arch"].default}"`', spec)
        for spec in ARCHITECTURES
    ),
    *(
        (f'`optimizer`, `"name": "{spec.model_fields["name"].default}"`', spec)
        for spec in members(OptimizerSpec)
    ),
    *(
        (f'`schedule`, `"name": "{spec.model_fields["name"].default}"`', spec)
        for spec in members(ScheduleSpec)
    ),
    ("`early_stopping`", EarlyStoppingSpec),
    ("`layer_gradients`", LayerGradientsSpec),
)
MAKEFILE = Path(__file__).parents[3] / "Makefile"
SHAPE_OF_PRESETS = {"MNIST": (1, 28, 28), "CIFAR-10": (3, 32, 32)}


def spec_reference() -> str:
    """One table per part of the request."""
    return "\n\n".join(
        f"**{title}**: {_first_sentence(model)}\n\n{_model_table(model)}" for title, model in MODELS
    )


def presets_reference() -> str:
    """One row per preset."""
    rows = []
    for name, document in PRESETS.items():
        spec = TrainSpec.model_validate({"model": document})
        on = "MNIST" if name.startswith("mlp") else "CIFAR-10"
        size = model_size(spec.model, SHAPE_OF_PRESETS[on], 10)
        said = json.dumps({key: value for key, value in document.items() if key != "arch"})
        rows.append(
            f"| `{name}` | `{spec.model.arch}` | `{said}` | {on} | {size.parameters:,} |"
            f" {size.macs_per_sample / 1e6:,.1f} M |"
        )
    return "\n".join(
        [
            "| preset | `arch` | with | on | parameters | multiply-accumulates |",
            "|---|---|---|---|---:|---:|",
            *rows,
        ]
    )


def settings_reference() -> str:
    """One row per setting."""
    rows = [
        f"| `LAB_{name.upper()}` | {shown_default(field.default)} | {_in_one_line(field.description)} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def reasons_reference() -> str:
    """One row per `status_reason`."""
    return "\n".join(
        [
            "| `status_reason` | meaning |",
            "|---|---|",
            *(f"| `{reason}` | {meaning} |" for reason, meaning in REASON_MEANINGS.items()),
        ]
    )


def recipes_reference() -> str:
    """One row per recipe."""
    rows = []
    for recipe in RECIPES.values():
        smoke, full = recipe.scales["smoke"], recipe.scales["full"]
        rows.append(
            f"| `{recipe.name}` | {recipe.question} | {len(recipe.cells)} | {smoke.cost_cpu} | {full.seeds} |"
            f" {full.cost_cpu} | {full.cost_gpu} |"
        )
    head = (
        "| recipe | question | cells | smoke, two cores | seeds | full, two cores | full, one GPU |"
    )
    return "\n".join([head, "|---|---|---:|---|---:|---|---|", *rows])


def targets_reference() -> str:
    """One row per target of the Makefile that says what it does."""
    found = re.findall(r"^([a-z-]+):.*?## (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    rows = [f"| `make {target}` | {does} |" for target, does in found]
    return "\n".join(["| target | does |", "|---|---|", *rows])


SECTIONS = {
    "spec": spec_reference,
    "presets": presets_reference,
    "settings": settings_reference,
    "routes": routes_reference,
    "errors": errors_reference,
    "targets": targets_reference,
    "reasons": reasons_reference,
    "recipes": recipes_reference,
}


def updated(text: str) -> str:
    """The text with every generated section as it should be now."""
    for name, section in SECTIONS.items():
        head, begin, rest = text.partition(f"<!-- {name}: generated -->\n")
        if begin:
            _, end, tail = rest.partition("<!-- end -->")
            text = f"{head}{begin}{section()}\n{end}{tail}"
    return text


def _in_one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _first_sentence(model: type[Frozen]) -> str:
    text = _in_one_line((model.__doc__ or "").split("\n\n")[0])
    return text.rstrip(".") + "."


def _model_table(model: type[Frozen]) -> str:
    schema = model.model_json_schema()
    said_above = (
        set(ExperimentRequest.model_fields) - {"kind"}
        if model in (DistillRequest, TransferRequest, ContinueRequest)
        else set()
    )
    rows = [
        f"| `{name}` | {kind(field)} | {_default(model, name)} | {_in_one_line(field['description'])} |"
        for name, field in schema["properties"].items()
        if name not in said_above
    ]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])


def _default(model: type[Frozen], name: str) -> str:
    if model.model_fields[name].is_required():
        return "required"
    default = model.model_fields[name].default
    if isinstance(default, Frozen):
        named = [
            getattr(default, key) for key in ("name", "arch") if key in type(default).model_fields
        ]
        return f"`{named[0]}`" if named else "`none`"
    return shown_default(list(default) if isinstance(default, tuple) else default)
