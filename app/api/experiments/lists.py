"""Experiments listed: filtered, sorted, page by page."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import Field
from sqlmodel import Session

from app.api.experiments import list_schemas, records
from app.api.experiments.filters import FilterQuery
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheStanding
from app.services.experiments import counting, ranking
from app.services.experiments.experiments import Listed
from app.services.experiments.outlines import outlines
from app.services.experiments.standing import LatestStanding
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners.keys import Caller

router = passes.router(prefix="/experiments", tags=["experiments"])

Sort = Literal[
    "created_at",
    "-created_at",
    "finished_at",
    "-finished_at",
    "duration",
    "-duration",
    "test.accuracy",
    "-test.accuracy",
    "test.loss",
    "-test.loss",
    "val.accuracy",
    "-val.accuracy",
    "val.loss",
    "-val.loss",
]
"""Every `ranking.SortKey`, both ways."""


class ListQuery(FilterQuery):
    """Which experiments, page by page."""

    limit: int = Field(default=50, ge=1, le=500)
    """Most rows of one page."""
    cursor: str | None = Field(default=None, max_length=500)
    """`next_cursor` of the page before, with the same `sort`."""
    sort: Sort = "-created_at"
    """By what, with `-` the highest or latest first: mean score over the succeeded runs (`val.…` at the best epoch), or
    time, `finished_at` when the last run ended, `duration` from when the first began until then. What has no such value
    yet comes last.
    """


def rows_of(
    session: Session,
    listed: Sequence[Listed],
    standing: LatestStanding,
    local_workers: LocalWorkers,
) -> list[list_schemas.ExperimentRow]:
    """Experiments as a list has them, in their order."""
    return [
        records.experiment_row(outline, local_workers)
        for outline in outlines(session, listed, standing)
    ]


def page_of(
    session: Session,
    caller: Caller,
    standing: LatestStanding,
    local_workers: LocalWorkers,
    query: ListQuery,
) -> list_schemas.ExperimentPage:
    """The page that is asked for."""
    order = ranking.read_order(query.sort)
    rows, cursor = ranking.page(session, query.filters(caller), order, query.limit, query.cursor)
    return list_schemas.ExperimentPage(
        data=rows_of(session, rows, standing, local_workers),
        has_more=cursor is not None,
        next_cursor=cursor,
    )


@router.get("", response_model=list_schemas.ExperimentPage)
def list_experiments(
    request: Request,
    session: Reading,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    query: Annotated[ListQuery, Query()],
) -> Any:
    """Experiments, the newest first, or by what they have reached."""
    page = page_of(session, caller, standing, local_workers, query)
    next_ = None if page.next_cursor is None else _next_page(request, page.next_cursor)
    return passes.answer(page, headers=next_)


@router.get("/counts")
def count_experiments(
    session: Reading, caller: TheCaller, query: Annotated[FilterQuery, Query()]
) -> list_schemas.CountsAnswer:
    """How many experiments the filters let through: by status, data set and owner."""
    found = counting.counts(session, query.filters(caller))
    return list_schemas.CountsAnswer(
        total=found.total,
        by_status=found.by_status,
        by_dataset=found.by_dataset,
        by_owner=found.by_owner,
    )


def _next_page(request: Request, cursor: str) -> dict[str, str]:
    asked = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    return {"Link": f'<{request.url.path}?{urlencode([*asked, ("cursor", cursor)])}>; rel="next"'}
