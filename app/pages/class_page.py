"""Everybody's work on one page, for whoever runs the service."""

from typing import Any

from fastapi import Request

from app.api.http.deps import Reading, TheCaller, TheSettings, require_admin
from app.api.operations.owners import list_owners
from app.pages.rendering import page, pages

router = pages()


@router.get("/class")
def show_class(request: Request, session: Reading, caller: TheCaller, settings: TheSettings) -> Any:
    """One row per owner: what runs, waits and is done, hours, disk, and when they last sent something."""
    require_admin(caller, "the work of all")
    return page(request, "class.html", owners=list_owners(session, caller, settings).data)
