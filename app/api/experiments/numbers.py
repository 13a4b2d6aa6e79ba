"""Numbers of every epoch over HTTP, of an experiment and of one run."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from sqlmodel import Session

from app.api.experiments.number_schemas import (
    MetricColumnsAnswer,
    MetricsAnswer,
    MetricSpreadAnswer,
)
from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment, TheRun
from app.api.http.streams import in_pieces
from app.errors import InvalidRequest
from app.services.experiments import experiments
from app.services.experiments.exports import NumbersWanted, csv_pieces, json_pieces
from app.services.experiments.number_columns import column_pieces, parquet_pieces, spread_pieces
from lab_models.common.validation import FieldError

router = passes.router(tags=["experiments"])

JSON = "application/json"
CSV = "text/csv; charset=utf-8"
PARQUET = "application/vnd.apache.parquet"
MOST_NAMES = 100

Form = Literal["json", "csv", "columns", "parquet"]
FormQuery = Annotated[
    Form,
    Query(
        alias="format",
        description="`json` by epoch, `columns` as arrays over epochs, `csv` and `parquet` a row per run and epoch",
    ),
]
After = Annotated[int, Query(ge=0, le=100_000, description="Only later epochs; 0: all of them")]
Names = Annotated[
    str | None,
    Query(max_length=1000, description="Only these numbers, such as `loss,accuracy`; null: all"),
]
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {}, PARQUET: {}}},
    406: {"description": "Parquet, where the API has no pyarrow"},
}


@router.get(
    "/experiments/{experiment_id}/metrics",
    response_model=MetricsAnswer | MetricColumnsAnswer | MetricSpreadAnswer,
    responses=RESPONSES,
)
def read_experiment_metrics(
    request: Request,
    session: Reading,
    experiment: TheExperiment,
    form: FormQuery = "json",
    after: After = 0,
    names: Names = None,
    aggregate: Annotated[
        Literal["seeds"] | None,
        Query(description="`seeds`: mean, spread and 95 % interval over the runs in each epoch"),
    ] = None,
) -> Any:
    """Every number of every epoch of every run, or what they are over the seeds."""
    runs = experiments.seeds_of(session, experiment.id)
    wanted = wanted_of(after, names)
    if aggregate is None:
        return _answer(request, session, experiment.id, runs, form, wanted)
    pieces = spread_pieces(session, experiment.id, runs, wanted, form)
    return in_pieces(request, session, pieces, *_media(form, f"{experiment.id}-over-seeds"))


@router.get(
    "/runs/{run_id}/metrics",
    response_model=MetricsAnswer | MetricColumnsAnswer,
    responses=RESPONSES,
    tags=["runs"],
)
def read_run_metrics(
    request: Request,
    session: Reading,
    run: TheRun,
    form: FormQuery = "json",
    after: After = 0,
    names: Names = None,
) -> Any:
    """Every number of every epoch of one run."""
    wanted = wanted_of(after, names)
    return _answer(request, session, run.experiment_id, [(run.id, run.seed)], form, wanted)


def _answer(
    request: Request,
    session: Session,
    experiment_id: str,
    runs: Sequence[tuple[str, int]],
    form: Form,
    wanted: NumbersWanted,
) -> Response:
    """The numbers of some runs (id, seed) of one experiment."""
    match form:
        case "json":
            pieces = json_pieces(session, experiment_id, runs, wanted)
        case "columns":
            pieces = column_pieces(session, experiment_id, runs, wanted)
        case "csv":
            pieces = csv_pieces(session, runs, wanted)
        case "parquet":
            pieces = parquet_pieces(session, runs, wanted)
    return in_pieces(request, session, pieces, *_media(form, f"{experiment_id}-metrics"))


def _media(form: Form, name: str) -> tuple[str, dict[str, str] | None]:
    """The media type, and for files what they are called."""
    if form in ("json", "columns"):
        return JSON, None
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return (CSV if form == "csv" else PARQUET), headers


def wanted_of(after: int, names: str | None) -> NumbersWanted:
    """What a query asks for; raises InvalidRequest for too many names, and for what is none."""
    found = () if names is None else tuple(dict.fromkeys(names.split(",")))
    if len(found) > MOST_NAMES or not all(name and "\0" not in name for name in found):
        message = f"names are 1 to {MOST_NAMES}, separated by commas"
        raise InvalidRequest(message, [FieldError("/names", message)])
    return NumbersWanted(after, found)
