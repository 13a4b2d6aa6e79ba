"""Experiments beside each other: curves, what differs, and whether one is better."""

import json
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Request

from app.api.analyses.comparisons import MOST_CURVES, against_the_first
from app.api.experiments import records
from app.api.experiments.schemas import ExperimentRecord
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheSettings, TheStanding
from app.errors import InvalidRequest, NotFound
from app.pages.chart_state import TheChart
from app.pages.rendering import page, pages, see_other
from app.pages.words import MISSING
from app.services.analyses.sides import Side
from app.services.experiments.origins import leaves
from app.services.experiments.visibility import visible_whole
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec
from lab_models.specs.layer_differences import layers_apart

router = pages()

MOST_TOLD: Final = 2
"""Fields by which experiments of one name are told apart."""

MOST_LENGTH: Final = 10_000
"""Of what names experiments: more of them than are compared are counted, not cut off."""


@router.get("/compare")
def show_comparison(
    request: Request,
    session: Reading,
    settings: TheSettings,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    e: Annotated[
        str, Query(description="Experiments, separated by commas", max_length=MOST_LENGTH)
    ] = "",
    pick: Annotated[
        list[str],
        Query(description="The same, one by one, as the list's form sends them", max_length=500),
    ] = [],  # noqa: B006 - nobody writes to it
    _chart: TheChart = None,
) -> Any:
    """Curves of up to twelve, each against the first, and the fields in which they differ."""
    ids = list(dict.fromkeys(one.strip() for one in [*pick, *e.split(",")] if one.strip()))
    if len(ids) > MOST_CURVES:
        raise InvalidRequest(
            f"{len(ids)} experiments are named, and at most {MOST_CURVES} are compared at once"
        )
    if pick:
        return see_other(f"/ui/compare?{urlencode({'e': ','.join(ids)}, safe=',')}")
    if not ids:
        return page(request, "uncompared.html", most=MOST_CURVES)
    wholes, gone = [], []
    for one in ids:
        try:
            wholes.append(visible_whole(session, caller, one, standing))
        except NotFound:
            gone.append(one)
    if not wholes:
        raise NotFound(f"none of {len(ids)} experiments is there: {', '.join(ids)}")
    found = [records.experiment_record(whole, local_workers) for whole in wholes]
    differing = _differing(found)
    sides = [
        Side(whole.experiment, whole.runs, title)
        for whole, title in zip(wholes, _titles(found, differing), strict=True)
    ]
    return page(
        request,
        "compare.html",
        sides=[(one, side.title) for one, side in zip(found, sides, strict=True)],
        answers=against_the_first(session, settings, sides),
        ids=",".join(record.id for record in found),
        asked=",".join(ids),
        gone=gone,
        differing=differing,
    )


def _titles(found: list[ExperimentRecord], differing: list[tuple[str, list[str]]]) -> list[str]:
    """What each is called here: by its name or network, and where others are called the same also by what it has else
    than they, or else by its id.
    """
    plain = [record.name or describe(read_spec(record.spec).network) for record in found]
    told = []
    for place, title in enumerate(plain):
        alike = [other for other, one in enumerate(plain) if one == title]
        own = [
            f"{path.rpartition('.')[2]} {values[place]}"
            for path, values in differing
            if len({values[other] for other in alike}) > 1
        ]
        told.append(", ".join([title, *(own[:MOST_TOLD] if len(alike) > 1 else [])]))
    return [
        title if told.count(title) == 1 else f"{title}, {record.id}"
        for title, record in zip(told, found, strict=True)
    ]


def _differing(found: list[ExperimentRecord]) -> list[tuple[str, list[str]]]:
    """The fields of the effective specs that are not the same in all, and what each has there."""
    specs = [dict(leaves(one.spec)) for one in found]
    paths = dict.fromkeys(path for spec in specs for path in spec)
    rows = [
        (place, [_shown(value) for value in values])
        for path in paths
        for place, values in layers_apart(path, [spec.get(path) for spec in specs])
    ]
    return [(place, values) for place, values in rows if len(set(values)) > 1]


def _shown(value: Any) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
