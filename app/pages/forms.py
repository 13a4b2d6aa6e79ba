"""The fields of the form, and the request that comes of what is written in them."""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_args

from app.errors import BadBody, InvalidRequest
from app.services.experiments.origins import leaves
from lab_models.common.validation import FieldError, InvalidDocument
from lab_models.specs import ARCHITECTURES, AUGMENTATIONS, PRESETS, read_request
from lab_models.specs.presets import ARCHITECTURE_NAMES
from lab_models.specs.request import DeviceKind
from lab_models.specs.training import OptimizerSpec, ScheduleSpec
from lab_models.studies.again import read_changed


@dataclass(frozen=True)
class FormField:
    """A field of the request, by its dotted path; one with `choices` takes one of them. `empty` is what stands where
    nothing is written and the default has no value of its own.
    """

    path: str
    title: str
    choices: tuple[str, ...] = ()
    is_number: bool = False
    empty: str = ""

    @property
    def chooser(self) -> str:
        """The field by whose choice this one is there or not: the network's for `model.depth`."""
        part = self.path.partition(".")[0]
        return part if part == "model" else f"{part}.name"

    @property
    def only_with(self) -> tuple[str, ...]:
        """The choices that have this field, where some have it not; empty for what is always there."""
        part, _, name = self.path.partition(".")
        fields = _fields_by_choice().get(part, {})
        fits = tuple(choice for choice, fields in fields.items() if name in fields)
        return () if len(fits) == len(fields) or name == "name" else fits


@cache
def _fields_by_choice() -> dict[str, dict[str, frozenset[str]]]:
    """By part of the request what can be chosen there, and the fields that each choice has; a preset those of its
    architecture.
    """
    models = {
        one.model_fields["arch"].default: frozenset(one.model_fields) for one in ARCHITECTURES
    }
    models |= {name: models[preset["arch"]] for name, preset in PRESETS.items()}
    unions = {"optimizer": OptimizerSpec, "schedule": ScheduleSpec}
    return {
        "model": models,
        **{
            part: {
                one.model_fields["name"].default: frozenset(one.model_fields)
                for one in get_args(get_args(union)[0])
            }
            for part, union in unions.items()
        },
    }


def _names(union: Any) -> tuple[str, ...]:
    """What each member of a union of specs is called."""
    return tuple(one.model_fields["name"].default for one in get_args(get_args(union)[0]))


DEFAULT: Final = "default"
MORE: Final = "'More fields' "

NETWORKS: Final = (*(name for name in ARCHITECTURE_NAMES if name != "layers"), *PRESETS)
"""A list of layers is written under More fields."""

FIELDS: Final = (
    (
        "What it learns",
        (
            FormField("dataset.name", "Data set"),
            FormField(
                "dataset.train_limit", "Training images at most", is_number=True, empty="all"
            ),
            FormField("dataset.val_fraction", "Part kept for val", is_number=True),
            FormField("dataset.augmentation", "Augmentation", tuple(AUGMENTATIONS), empty="none"),
        ),
    ),
    (
        "The network",
        (
            FormField("model", "Network", NETWORKS),
            FormField("model.depth", "Depth", is_number=True, empty=DEFAULT),
            FormField("model.width", "Width", is_number=True, empty=DEFAULT),
            FormField("model.residual", "Residual", ("true", "false"), empty=DEFAULT),
        ),
    ),
    (
        "How it trains",
        (
            FormField("epochs", "Epochs", is_number=True),
            FormField("batch_size", "Batch size", is_number=True),
            FormField("optimizer.name", "Optimizer", _names(OptimizerSpec)),
            FormField("optimizer.learning_rate", "Learning rate", is_number=True),
            FormField("optimizer.weight_decay", "Weight decay", is_number=True),
            FormField("schedule.name", "Schedule", _names(ScheduleSpec)),
            FormField(
                "early_stopping.patience",
                "Stop after epochs without gain",
                is_number=True,
                empty="never",
            ),
            FormField("seeds", "Seeds, how many or which"),
        ),
    ),
    (
        "What it is called",
        (
            FormField("name", "Name"),
            FormField("labels", "Labels", empty="key:value, key:value"),
            FormField("priority", "Priority", is_number=True),
            FormField("device", "Trained on", get_args(DeviceKind)),
        ),
    ),
)
"""Groups of fields, by their headings."""

LIST: Final = re.compile(r"\s*[0-9]+(\s*,\s*[0-9]+)+\s*")
"""Seeds as people list them."""

ABOUT_THE_RUNS: Final = ("name", "labels", "priority", "device", "seeds")
"""What does not change what is trained: it stands beside `like`, not under `set`."""


def titles() -> dict[str, str]:
    """What people call each field."""
    return {"more": "More fields"} | {
        field.path: field.title for _, group in FIELDS for field in group
    }


def request_of(form: dict[str, str]) -> dict[str, Any]:
    """The body of POST /experiments that the form means: what is empty is left out. Raises BadBody, and
    InvalidRequest for a label without its key, with whatever else is wrong.
    """
    labels = [one.strip() for one in form.get("labels", "").split(",") if one.strip()]
    alone = [one for one in labels if ":" not in one]
    if alone:
        wrong = f"a label is written key:value, and {alone[0]!r} has no colon"
        others = _faults(request_of({**form, "labels": ""}))
        errors = [FieldError("/labels", wrong), *others]
        raise InvalidRequest("; ".join(one.message for one in errors), errors)
    said: dict[str, Any] = {
        field.path: _value(field, form[field.path].strip())
        for _, group in FIELDS
        for field in group
        if form.get(field.path, "").strip()
    }
    more = _more(form.get("more", ""))
    like = form.get("like", "").strip()
    if like:
        own: dict[str, Any] = {name: said.pop(name) for name in ABOUT_THE_RUNS if name in said}
        return {"like": like, **own, **({"set": said} if said else {}), **more}
    return _merged(_nested(said), more)


def usual() -> dict[str, Any]:
    """The request that an empty form is."""
    return read_request({}).model_dump(mode="json")


def written(document: dict[str, Any]) -> dict[str, str]:
    """What a spec or request has, by dotted path, as one would write it into the form; a network's `arch` is what the
    form calls its model.
    """
    found = {
        path: value if isinstance(value, str) else json.dumps(value)
        for path, value in leaves(document)
        if value not in (None, {})
    }
    return found | ({"model": found["model.arch"]} if "model.arch" in found else {})


def _value(field: FormField, text: str) -> Any:
    if field.path == "labels":
        pairs = (one.partition(":") for one in text.split(",") if one.strip())
        return {key.strip(): value.strip() for key, _, value in pairs}
    if field.path == "name":
        return text
    if field.path == "seeds" and LIST.fullmatch(text):
        text = f"[{text}]"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _faults(request: dict[str, Any]) -> list[FieldError]:
    try:
        read_changed(request)
    except InvalidDocument as error:
        return error.errors
    return []


def _nested(written: dict[str, Any]) -> dict[str, Any]:
    """Dotted paths as a document; a network's name with fields beside it is its `arch`, or its `preset`."""
    document: dict[str, Any] = {}
    for path, value in written.items():
        *above, last = path.split(".")
        inner = document
        for name in above:
            there = inner.get(name, {})
            inner[name] = there if isinstance(there, dict) else _network(there)
            inner = inner[name]
        inner[last] = value
    return document


def _network(name: str) -> dict[str, Any]:
    return {"arch" if name in ARCHITECTURE_NAMES else "preset": name}


def _more(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBody(f"{MORE}is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadBody(f'{MORE}is a JSON object, such as {{"label_smoothing": 0.1}}')
    return document


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both together; where both have something, `above` counts."""
    merged = dict(below)
    for name, value in above.items():
        there = merged.get(name)
        merged[name] = (
            _merged(there, value) if isinstance(there, dict) and isinstance(value, dict) else value
        )
    return merged
