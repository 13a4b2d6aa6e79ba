"""Who is next, and who works; and to say who is more or less urgent."""

from typing import Any, Final

from fastapi import Request

from app.api.experiments.steering import HIGHEST_PRIORITY, LOWEST_PRIORITY
from app.api.http.deps import (
    Body,
    ExperimentToChange,
    Reading,
    TheCaller,
    TheLocalWorkers,
    TheSettings,
    Writing,
)
from app.api.operations.operations import list_workers
from app.api.operations.waiting import read_queue
from app.errors import InvalidRequest
from app.pages.rendering import form_of, page, pages, see_other
from app.pages.verbs import patched

router = pages()

SHOWN: Final = 200


@router.get("/queue")
def show_queue(request: Request, session: Reading, caller: TheCaller) -> Any:
    """The queue in the order in which workers will take it, and the workers online."""
    queue = read_queue(session, caller, SHOWN)
    first_of = {row.experiment_id: row.run_id for row in reversed(queue.data) if row.run_id}
    return page(
        request,
        "queue.html",
        queue=queue,
        steered=set(first_of.values()),  # an experiment's runs have one priority
        lowest=LOWEST_PRIORITY,
        highest=HIGHEST_PRIORITY,
        workers=list_workers(session, caller).data,
    )


@router.post("/queue/{experiment_id}")
def prioritize(
    session: Writing,
    body: Body,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
) -> Any:
    """Give an experiment's waiting runs the priority that is written, or one higher or lower than they have."""
    form = form_of(body)
    step = form.get("step")
    wanted = _number(step if step is not None else form.get("priority", ""))
    priority = wanted if step is None else experiment.priority + wanted
    patched({"priority": priority}, session, caller, experiment, settings, local_workers)
    return see_other("/ui/queue")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidRequest(f"a priority is a whole number, and {text[:40]!r} is none") from None
