"""Which experiments a list shows, asked of the database."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, or_
from sqlalchemy import select as select_columns
from sqlmodel import col

from app.services.experiments.estimates import LAYERS_WITHOUT_CONVS
from app.services.experiments.status_filters import has_status
from app.storage.dialects import folded, pairs_of
from app.storage.states import RunStatus
from app.storage.tables import Experiment, ExperimentSummary
from lab_models.specs import ARCHITECTURES, TrainSpec, read_spec
from lab_models.specs.presets import ARCHITECTURE_NAMES, PRESETS

NETWORKS = (*ARCHITECTURE_NAMES, *PRESETS)
"""What `Filters.network` may name."""

_UNLIKE_IN_JSON: Final = re.compile(r"[^ !#-9;-\[\]-~]+")
"""What a label's letters may stand otherwise as in JSON, and what is between key and value."""

PLACES = (
    ("model",),
    ("student",),
    ("source", "spec", "model"),
    ("origin", "spec", "model"),
    ("origin", "spec", "student"),
)
"""Where a spec has its network, by kind."""


@dataclass(frozen=True)
class Filters:
    """Which experiments a list shows; what is left as it is lets any through. `labels` holds (key, value) pairs that
    must all match.

    `owner` is whose are asked for, `seen_by` who sees only their own: both must hold. `text` is part of a name, an id
    or a label `key:value`, in either case of A to Z. `network` is one of `NETWORKS`: an architecture, or exactly what a
    preset names. From `created_after` on, before `created_before`.
    """

    statuses: tuple[RunStatus, ...] = ()
    kind: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    study_id: str | None = None
    owner: str | None = None
    seen_by: str | None = None
    text: str | None = None
    dataset: str | None = None
    network: str | None = None
    fingerprint: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    ids: tuple[str, ...] | None = None
    archived: bool | None = None


def conditions(filters: Filters) -> list[ColumnElement[bool]]:
    """What holds of the experiments that the filters let through."""
    named = (
        (Experiment.kind, filters.kind),
        (Experiment.study_id, filters.study_id),
        (Experiment.owner, filters.owner),
        (Experiment.owner, filters.seen_by),
        (Experiment.fingerprint, filters.fingerprint),
        (Experiment.dataset, filters.dataset),
    )
    return [
        *(col(column) == value for column, value in named if value is not None),
        *(col(Experiment.labels)[key].as_string() == value for key, value in filters.labels),
        *_others(filters),
    ]


def summarized(filters: Filters) -> list[ColumnElement[bool]]:
    """What holds of the summaries of the experiments that the filters let through, as far as summaries say it."""
    summary = ExperimentSummary
    named = (
        (summary.owner, filters.owner),
        (summary.owner, filters.seen_by),
        (summary.dataset, filters.dataset),
    )
    found = [col(column) == value for column, value in named if value is not None]
    if filters.statuses:
        found.append(col(summary.status).in_(dict.fromkeys(filters.statuses)))
    if filters.archived is not None:
        found.append(col(summary.archived).is_(filters.archived))
    return found


def beyond_summaries(filters: Filters) -> list[ColumnElement[bool]]:
    """What holds of the experiments themselves beside that."""
    return conditions(
        replace(filters, owner=None, seen_by=None, dataset=None, archived=None, statuses=())
    )


def _others(filters: Filters) -> Iterator[ColumnElement[bool]]:
    if filters.statuses:
        yield has_status(tuple(dict.fromkeys(filters.statuses)))
    if filters.network is not None:
        yield _has_network(filters.network)
    if filters.created_after is not None:
        yield col(Experiment.created_at) >= filters.created_after
    if filters.created_before is not None:
        yield col(Experiment.created_at) < filters.created_before
    if filters.ids is not None:
        yield col(Experiment.id).in_(filters.ids)
    if filters.archived is not None:
        yield col(Experiment.archived).is_(filters.archived)
    if filters.text is not None:
        yield _says(filters.text)


def _says(text: str) -> ColumnElement[bool]:
    text = _fold(text)
    pair = pairs_of(Experiment.labels)
    label = select_columns(pair.c.key).where(_contains(pair.c.key + ":" + pair.c.value, text))
    # to take labels apart costs ten times as much as to see that their JSON has no such letters
    in_labels = (
        _contains(cast(Experiment.labels, Text), part)
        for part in _UNLIKE_IN_JSON.split(text)
        if part
    )
    return or_(
        _contains(func.coalesce(col(Experiment.name), ""), text),
        _contains(col(Experiment.id), text),
        and_(*in_labels, exists(label)),
    )


def _contains(within: Any, text: str) -> ColumnElement[bool]:
    return folded(within).contains(text, autoescape=True)


def _fold(text: str) -> str:
    return text.encode().lower().decode()


def _has_network(name: str) -> ColumnElement[bool]:
    if name in ARCHITECTURE_NAMES:
        also = [LAYERS_WITHOUT_CONVS] if name == "layers" else []
        return col(Experiment.arch).in_([name, *also])
    fields, defaults = _preset(name)
    # a field that came later is not in older specs, whose networks have its default
    return and_(
        col(Experiment.arch) == fields["arch"],
        or_(*(and_(*_equals(place, fields, defaults)) for place in PLACES)),
    )


@cache
def _preset(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A preset's fields, and what its architecture has without them."""
    spec = read_spec(TrainSpec.model_validate({"model": name}).model_dump(mode="json"))
    found = spec.network.model_dump(mode="json")
    (form,) = (one for one in ARCHITECTURES if one.model_fields["arch"].default == found["arch"])
    return found, {key: field.default for key, field in form.model_fields.items()}


def _equals(
    place: tuple[str, ...], fields: dict[str, Any], defaults: dict[str, Any]
) -> Iterator[ColumnElement[bool]]:
    for key, value in fields.items():
        same = _is((*place, key), value)
        absent = col(Experiment.spec)[(*place, key)].as_string().is_(None)
        yield or_(same, absent) if key != "arch" and defaults.get(key) == value else same


def _is(path: tuple[str | int, ...], value: Any) -> ColumnElement[bool]:
    element: Any = col(Experiment.spec)[path]
    same: ColumnElement[bool]
    match value:
        case None:
            same = element.as_string().is_(None)
        case bool():
            same = element.as_boolean() == value
        case int():
            same = element.as_integer() == value
        case float():
            same = element.as_float() == value
        case str():
            same = element.as_string() == value
        case _:
            ends: Any = col(Experiment.spec)[(*path, len(value))]
            items = (_is((*path, place), item) for place, item in enumerate(value))
            same = and_(*items, ends.as_string().is_(None))
    return same
