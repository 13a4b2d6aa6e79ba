"""The list of experiments."""

from typing import Annotated, Any

from fastapi import Query, Request

from app.api.experiments.filters import FilterQuery
from app.api.experiments.lists import ListQuery, count_experiments, page_of
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
    said = query.model_dump(exclude_unset=True)
    # who watches asks again and again for the rows, and counting all takes longer than these
    counts = (
        None
        if request.headers.get("hx-request")
        else count_experiments(session, caller, query.model_copy(update={"status": []}))
    )
    kept = {name: value for name, value in said.items() if name not in ("cursor", "status")}
    return page(
        request,
        "experiments.html",
        found=found,
        asked=query,
        kept=kept,
        counts=counts,
        statuses=list(RunStatus),
        is_narrowed=bool(said.keys() & FilterQuery.model_fields.keys()),
    )
