"""What a browser finds where nobody has named a page."""

from typing import Any, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from app.api.experiments.lists import ListQuery, page_of
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheStanding
from app.errors import NotFound
from app.pages.rendering import pages, see_other

router = APIRouter(include_in_schema=False)
under_ui = pages()


WAYS: Final = {
    "pages": "/ui/experiments",
    "routes": "/docs",
    "experiments": "/experiments",
    "studies": "/studies",
    "datasets": "/datasets",
}


@router.get("/")
async def show_door() -> Any:
    """The way to the list, and in words to the rest: curl follows no redirect, and prints what comes with it."""
    return JSONResponse(WAYS, 303, headers={"location": WAYS["pages"]})


@under_ui.get("")
def show_front() -> Any:
    """The same from `/ui`, which is what is typed from memory. Without it `/ui/`, whose slash is taken away, would be
    sent to itself for ever.
    """
    return see_other("/ui/experiments")


@under_ui.get("/latest")
def show_latest(
    session: Reading, caller: TheCaller, standing: TheStanding, local_workers: TheLocalWorkers
) -> Any:
    """The way to the newest experiment."""
    newest = page_of(session, caller, standing, local_workers, ListQuery(limit=1)).data
    return see_other(f"/ui/experiments/{newest[0].id}" if newest else "/ui/new")


router.include_router(under_ui)

elsewhere = pages()


@elsewhere.get("/{rest:path}")
def show_nothing(rest: str) -> Any:
    """What nobody has made a page of; asked after all others."""
    raise NotFound(f"there is no page /ui/{rest[:100]}")
