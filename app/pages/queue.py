"""Who is next, and who works."""

from typing import Any

from fastapi import Request

from app.api.http.deps import Reading, TheCaller
from app.api.operations.operations import list_workers
from app.api.operations.waiting import read_queue
from app.pages.rendering import page, pages

router = pages()

SHOWN = 200


@router.get("/queue")
def show_queue(request: Request, session: Reading, caller: TheCaller) -> Any:
    """The queue in the order in which workers will take it, and the workers online."""
    return page(
        request,
        "queue.html",
        queue=read_queue(session, caller, SHOWN),
        workers=list_workers(session, caller).data,
    )
