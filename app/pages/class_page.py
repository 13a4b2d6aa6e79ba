"""Everybody's work on one page, for whoever runs the service."""

import re
from typing import Annotated, Any, Final

from fastapi import Query, Request

from app.api.experiments.by_owner import OwnersWorkAnswer, WorkQuery, list_work
from app.api.http.deps import (
    Reading,
    TheCaller,
    TheLocalWorkers,
    TheSettings,
    TheStanding,
    require_admin,
)
from app.api.operations.owners import list_owners
from app.pages.rendering import page, pages
from app.pages.walls import WallQuery, wall_of
from app.storage.states import RunStatus

router = pages()

USUAL_KEY: Final = "exercise"
MOST_COLUMNS: Final = 12
"""Values of a label beside each other; the last of them, which are the newest exercises."""


class ClassQuery(WorkQuery, WallQuery):
    """Which experiments count, and what the best are told apart by."""

    key: str | None = USUAL_KEY


@router.get("/class")
def show_class(
    request: Request,
    session: Reading,
    caller: TheCaller,
    settings: TheSettings,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    query: Annotated[ClassQuery, Query()],
) -> Any:
    """One row per owner: what runs, waits and was done today, hours, the last error, and the best of each exercise."""
    require_admin(caller, "the work of all")
    work = list_work(session, caller, query)
    done = {row.owner: row for row in work.data}
    kept = query.model_dump(
        mode="json", exclude_defaults=True, exclude={"key", *WallQuery.model_fields}
    )
    values = sorted({value for row in work.data for value in row.best}, key=_natural)
    return page(
        request,
        "class.html",
        owners=[
            (owner, done.get(owner.name))
            for owner in list_owners(session, caller, settings).data
            if owner.name in done or not kept
        ],
        asked=query,
        kept=kept,
        keys=[key for key in work.label_keys if key != query.key],
        values=values[-MOST_COLUMNS:],
        num_left_out=max(0, len(values) - MOST_COLUMNS),
        gpu=any(row.gpu_hours_week for row in work.data),
        total=_total(work.data),
        wall=wall_of(request, session, caller, standing, local_workers, query),
    )


def _total(rows: list[OwnersWorkAnswer]) -> dict[str, int]:
    """Of all owners together."""
    return {
        "running": sum(row.runs.get(RunStatus.RUNNING, 0) for row in rows),
        "done_today": sum(row.done_today for row in rows),
    }


def _natural(value: str) -> list[tuple[int, int | str]]:
    """`1.2` before `1.10`."""
    parts = re.split(r"([0-9]+)", value)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
