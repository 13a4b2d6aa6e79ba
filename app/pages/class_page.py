"""Everybody's work on one page, for whoever runs the service."""

from typing import Any

from fastapi import Request

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
from app.pages.walls import TheWall, wall_of

router = pages()


@router.get("/class")
def show_class(
    request: Request,
    session: Reading,
    caller: TheCaller,
    settings: TheSettings,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    wall: TheWall,
) -> Any:
    """One row per owner: what runs, waits and is done, hours, disk, and when they last sent something."""
    require_admin(caller, "the work of all")
    return page(
        request,
        "class.html",
        owners=list_owners(session, caller, settings).data,
        wall=wall_of(request, session, caller, standing, local_workers, wall),
    )
