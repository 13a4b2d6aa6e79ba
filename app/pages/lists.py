"""The list of experiments."""

from typing import Annotated, Any

from fastapi import Query, Request

from app.api.experiments.lists import ListQuery, page_of
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheStanding
from app.pages.rendering import page, pages
from app.storage.states import RunStatus

router = pages()


@router.get("/experiments")
def show_experiments(
    request: Request,
    session: Reading,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    query: Annotated[ListQuery, Query()],
) -> Any:
    """Experiments, filtered and sorted as `GET /experiments` does it."""
    found = page_of(session, caller, standing, local_workers, query)
    return page(request, "experiments.html", found=found, filters=query, statuses=list(RunStatus))
