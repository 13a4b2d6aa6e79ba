"""What can be asked of an experiment that is there: pause, resume, other labels or priority; and to cancel many at
once.
"""

from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, Field

from app.api.experiments import records, schemas
from app.api.experiments.filters import FilterQuery
from app.api.http import passes
from app.api.http.bodies import read_body
from app.api.http.deps import (
    Body,
    ExperimentToChange,
    TheAfterwards,
    TheCaller,
    TheDoorbell,
    TheLocalWorkers,
    TheSettings,
    Writing,
)
from app.api.schemas import Answer
from app.errors import InvalidRequest
from app.services.experiments import steering
from app.services.experiments.wholes import whole
from app.services.owners import limits
from lab_models.common.naming import Name
from lab_models.common.validation import FieldError, validate
from lab_models.specs import Frozen
from lab_models.specs.request import DeviceKind, Label, LabelKey

router = passes.router(prefix="/experiments", tags=["experiments"])


LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100
MOST_NOTES_BYTES = 20_000


def _not_too_long(notes: str) -> str:
    size = len(notes.encode())
    if size > MOST_NOTES_BYTES:
        raise ValueError(f"has {size:,} bytes, and notes may have {MOST_NOTES_BYTES:,}")
    return notes


class Changes(Frozen):
    """What can still be changed. What is left out stays as it is."""

    name: Name | None = None
    """What people call it; null takes the name away."""
    labels: Annotated[dict[LabelKey, Label | None], Field(max_length=50)] = {}
    """Labels to add or to replace; null removes one."""
    notes: Annotated[str, AfterValidator(_not_too_long)] | None = None
    """What people write about it, in Markdown, at most 20 kB; null takes it away."""
    archived: bool = False
    """Whether lists leave it out unless they are asked for it; it stays as it is otherwise."""
    priority: int = Field(default=0, ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)
    """Of the runs that wait: the highest comes first."""
    device: DeviceKind = "auto"
    """Where what has not ended is trained: `cpu`, `cuda`, `any`, or `auto`, where others of its seeds were."""


class CancelQuery(FilterQuery):
    """Which experiments are cancelled."""

    dry_run: bool = False
    """Change nothing, and name what would be cancelled."""


class CancelledAnswer(Answer):
    """What a cancel of many has changed, or would have."""

    num_cancelled: int
    """How many experiments had something left to cancel."""
    data: list[str]
    """Their ids, the newest first."""


@router.post("/cancel")
def cancel_experiments(
    session: Writing, caller: TheCaller, query: Annotated[CancelQuery, Query()]
) -> CancelledAnswer:
    """Cancel everything unfinished of all experiments that the filters let through. At least one filter is needed."""
    if not query.model_fields_set - {"dry_run", "archived"}:
        raise InvalidRequest(
            "name at least one filter; `status=queued` cancels all that waits",
            [FieldError("", "no filter is given")],
        )
    changed = steering.cancel_all(
        session, query.filters(caller), caller.owner, dry_run=query.dry_run
    )
    return CancelledAnswer(num_cancelled=len(changed), data=changed)


@router.patch("/{experiment_id}")
def change_experiment(
    session: Writing,
    body: Body,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
) -> schemas.ExperimentRecord:
    """Change name, labels or notes, archive it or bring it back, or change the priority of the runs that wait or the
    device of those that have not ended, and of what they wait for; 409 for what does not concern any. What runs goes on
    where it is.
    """
    _, changes = read_body(body, lambda document: validate(Changes, document), settings)
    steering.edit(
        session, experiment, {name: getattr(changes, name) for name in changes.model_fields_set}
    )
    # of the labels as they are now together
    limits.refuse_wishes(
        caller, experiment.labels if changes.labels else {}, changes.priority, settings
    )
    return records.experiment_record(whole(session, experiment.id), local_workers)


@router.post("/{experiment_id}/pause")
def pause_experiment(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    local_workers: TheLocalWorkers,
) -> schemas.ExperimentRecord:
    """Pause every unfinished run: queued ones at once, running ones as soon as they have saved themselves, after five
    seconds at most.
    """
    steering.pause(session, experiment, caller.owner)
    return records.experiment_record(whole(session, experiment.id), local_workers)


@router.post("/{experiment_id}/resume")
def resume_experiment(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
) -> schemas.ExperimentRecord:
    """Queue every paused run again; it goes on from where it was, with the same numbers as if it had never paused."""
    afterwards.soon(doorbell.ring, steering.resume(session, experiment, caller.owner))
    return records.experiment_record(whole(session, experiment.id), local_workers)
