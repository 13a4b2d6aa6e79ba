"""What the list's filters let through as files for other programs: a row an experiment, or a row a number."""

from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import Field

from app.api.experiments.filters import FilterQuery
from app.api.experiments.numbers import CSV, PARQUET, wanted_of
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller
from app.api.http.streams import in_pieces
from app.services.experiments.flat_rows import flat_csv_pieces
from app.services.experiments.tidy_numbers import tidy_csv_pieces, tidy_parquet_pieces

router = passes.router(tags=["experiments"])


class NumbersQuery(FilterQuery):
    """Which experiments, and which of their numbers."""

    names: str | None = Field(default=None, max_length=1000)
    """Only these numbers, such as `loss,accuracy`; null: all."""


@router.get("/experiments.csv", response_model=None, responses={200: {"content": {"text/csv": {}}}})
def read_experiments_table(
    request: Request,
    session: Reading,
    caller: TheCaller,
    query: Annotated[FilterQuery, Query()],
) -> Any:
    """What the filters of the list let through, a row an experiment, the newest first: labels, spec by dotted paths,
    and over the succeeded runs mean, standard deviation, number and 95 % interval of every score.
    """
    pieces = flat_csv_pieces(query.filters(caller))
    return in_pieces(request, session, pieces, CSV, _attached("experiments.csv"))


@router.get(
    "/experiments/metrics.csv", response_model=None, responses={200: {"content": {"text/csv": {}}}}
)
def read_metrics_csv(
    request: Request,
    session: Reading,
    caller: TheCaller,
    query: Annotated[NumbersQuery, Query()],
) -> Any:
    """Every number of every epoch of all that the filters of the list let through, a row each, the newest experiment
    first; made while it is sent.
    """
    pieces = tidy_csv_pieces(query.filters(caller), wanted_of(0, query.names))
    return in_pieces(request, session, pieces, CSV, _attached("metrics.csv"))


@router.get(
    "/experiments/metrics.parquet",
    response_model=None,
    responses={
        200: {"content": {PARQUET: {}}},
        406: {"description": "The API has no pyarrow"},
    },
)
def read_metrics_parquet(
    request: Request,
    session: Reading,
    caller: TheCaller,
    query: Annotated[NumbersQuery, Query()],
) -> Any:
    """The same rows as Parquet."""
    pieces = tidy_parquet_pieces(query.filters(caller), wanted_of(0, query.names))
    return in_pieces(request, session, pieces, PARQUET, _attached("metrics.parquet"))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
