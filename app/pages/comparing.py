"""Experiments beside each other: curves, what differs, and whether one is better."""

import json
from typing import Annotated, Any

from fastapi import Query, Request

from app.api.analyses.comparisons import compare_experiments
from app.api.experiments import records
from app.api.experiments.schemas import ExperimentRecord
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheSettings, TheStanding
from app.errors import InvalidRequest
from app.pages.chart_state import TheChart
from app.pages.rendering import page, pages
from app.pages.words import MISSING
from app.services.experiments.visibility import visible_whole
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec

router = pages()

MOST = 12


@router.get("/compare")
def show_comparison(
    request: Request,
    session: Reading,
    settings: TheSettings,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    e: Annotated[str, Query(description="Experiments, separated by commas", max_length=500)] = "",
    _chart: TheChart = None,
) -> Any:
    """Curves of up to twelve, each against the first, and the fields in which they differ."""
    ids = list(dict.fromkeys(one.strip() for one in e.split(",") if one.strip()))
    if not 1 <= len(ids) <= MOST:
        raise InvalidRequest(f"{len(ids)} experiments are named, and 1 to {MOST} are compared")
    found = [
        records.experiment_record(visible_whole(session, caller, one, standing), local_workers)
        for one in ids
    ]
    answers = [
        compare_experiments(session, settings, caller, f"{ids[0]},{other}") for other in ids[1:]
    ]
    return page(
        request,
        "compare.html",
        sides=[(one, _title(one)) for one in found],
        answers=answers,
        ids=",".join(ids),
        differing=_differing(found),
    )


def _title(record: ExperimentRecord) -> str:
    return record.name or describe(read_spec(record.spec).network)


def _differing(found: list[ExperimentRecord]) -> list[tuple[str, list[str]]]:
    """The fields of the effective specs that are not the same in all, and what each has there."""
    flat = [_flat(one.spec) for one in found]
    paths = dict.fromkeys(path for one in flat for path in one)
    rows = [(path, [one.get(path, MISSING) for one in flat]) for path in paths]
    return [(path, values) for path, values in rows if len(set(values)) > 1]


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= _flat(inner, f"{path}.{name}" if path else name)
        return found
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return {path: MISSING if value is None else said}
