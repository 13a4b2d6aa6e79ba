"""Experiments beside each other: curves, what differs, and whether one is better."""

import json
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Query, Request

from app.api.analyses.comparisons import MOST_CURVES, against_the_first
from app.api.experiments import records
from app.api.experiments.schemas import ExperimentRecord
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheSettings, TheStanding
from app.errors import InvalidRequest
from app.pages.chart_state import TheChart
from app.pages.rendering import page, pages, see_other
from app.pages.words import MISSING
from app.services.analyses.sides import Side
from app.services.experiments.origins import leaves
from app.services.experiments.visibility import visible_whole
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec

router = pages()

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
    wholes = [visible_whole(session, caller, one, standing) for one in ids]
    found = [records.experiment_record(whole, local_workers) for whole in wholes]
    sides = [
        Side(whole.experiment, whole.runs, _title(record))
        for whole, record in zip(wholes, found, strict=True)
    ]
    return page(
        request,
        "compare.html",
        sides=[(one, side.title) for one, side in zip(found, sides, strict=True)],
        answers=against_the_first(session, settings, sides),
        ids=",".join(ids),
        differing=_differing(found),
    )


def _title(record: ExperimentRecord) -> str:
    return record.name or describe(read_spec(record.spec).network)


def _differing(found: list[ExperimentRecord]) -> list[tuple[str, list[str]]]:
    """The fields of the effective specs that are not the same in all, and what each has there."""
    specs = [dict(leaves(one.spec)) for one in found]
    paths = dict.fromkeys(path for spec in specs for path in spec)
    rows = [(path, [_shown(spec.get(path)) for spec in specs]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def _shown(value: Any) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
