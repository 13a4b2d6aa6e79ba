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
    of_any = FilterQuery(**{name: said[name] for name in FilterQuery.model_fields if name in said})
    counts = count_experiments(session, caller, of_any.model_copy(update={"status": []}))
    kept = {name: value for name, value in said.items() if name not in ("cursor", "status")}
    return page(
        request,
        "experiments.html",
        found=found,
        asked=query,
        kept=kept,
        counts=counts,
        statuses=[one for one in RunStatus if counts.by_status.get(one.value)],
        is_narrowed=bool(said.keys() & FilterQuery.model_fields.keys()),
    )
