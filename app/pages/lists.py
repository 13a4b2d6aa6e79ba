"""The list of experiments."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Query, Request

from app.api.experiments.filters import FilterQuery
from app.api.experiments.lists import ListQuery, count_experiments, page_of
from app.api.http.deps import (
    Reading,
    TheCaller,
    TheLocalWorkers,
    TheRecentLosses,
    TheStanding,
)
from app.pages.rendering import page, pages
from app.pages.sparklines import sparkline
from app.pages.walls import WallQuery, wall_of
from app.storage.states import RunStatus
from app.storage.tables import utc_now

router = pages()

MOST_SAID: Final = 40
"""Characters of a filter's value."""

MORE_AT_ONCE: Final = 50
"""Rows that `More` brings, where nobody has asked for fewer."""


ORDERS: Final = {
    "-created_at": "newest first",
    "created_at": "oldest first",
    "-test.accuracy": "best on test",
    "-val.accuracy": "best on val",
    "val.loss": "lowest val loss",
    "-finished_at": "last finished",
    "-duration": "longest",
}
"""What people sort by; the API has more."""

OWN_CONTROLS: Final = ("q", "dataset", "status")
"""Filters that the page has a field or chips for; each of the others is a chip that takes it away."""


class ListPageQuery(ListQuery, WallQuery):
    """Which experiments, and whether for a wall."""


@router.get("/experiments")
def show_experiments(
    request: Request,
    session: Reading,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    losses: TheRecentLosses,
    query: Annotated[ListPageQuery, Query()],
) -> Any:
    """Experiments, filtered and sorted as `GET /experiments` does it."""
    found = page_of(session, caller, standing, local_workers, query)
    drawn = losses.of(session, [row.id for row in found.data])
    # who watches asks again and again for the rows, and counting all takes longer than these
    counts = (
        None
        if request.headers.get("hx-request")
        else count_experiments(session, caller, query.model_copy(update={"status": []}))
    )
    said = query.model_dump(exclude_unset=True, mode="json")
    filters = {name: value for name, value in said.items() if name in FilterQuery.model_fields}
    kept = {name: value for name, value in said.items() if name in filters or name == "sort"}
    limit = {"limit": min(query.limit, MORE_AT_ONCE)} if "limit" in said else {}
    is_newest_first = query.sort == "-created_at" and query.cursor is None
    return page(
        request,
        "experiments.html",
        found=found,
        asked=query,
        kept={name: value for name, value in kept.items() if name != "status"},
        more=kept | limit | {"cursor": found.next_cursor},
        of_api={name: value for name, value in said.items() if name in ListQuery.model_fields},
        counts=counts,
        statuses=list(RunStatus),
        orders={query.sort: f"by {query.sort}"} | ORDERS,
        narrowed=list(_narrowed(filters, kept)),
        is_narrowed=bool(filters),
        sparklines={one: sparkline(loss) for one, loss in drawn.items()},
        # what is made from now on is new
        filters=filters,
        is_newest_first=is_newest_first,
        since=_after(found.data[0].created_at if is_newest_first and found.data else utc_now()),
        wall=wall_of(request, session, caller, standing, local_workers, query),
    )


def _narrowed(
    filters: dict[str, Any], kept: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Of each filter that has no control of its own its name, its value, and what is left without it."""
    for name, value in filters.items():
        if name in OWN_CONTROLS:
            continue
        for one in value if isinstance(value, list) else [value]:
            left = [other for other in value if other != one] if isinstance(value, list) else []
            without = {**kept, name: left} if left else _but(kept, name)
            said = "" if (name, one) == ("archived", "true") else str(one)[:MOST_SAID]
            yield name.replace("_", " "), said, without


def _but(kept: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in kept.items() if other != name}


def _after(moment: datetime) -> str:
    return f"{moment + timedelta(microseconds=1):%Y-%m-%dT%H:%M:%S.%fZ}"
