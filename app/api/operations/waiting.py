"""The queue over HTTP."""

from datetime import datetime
from typing import Annotated

from fastapi import Query

from app.api.http import passes
from app.api.http.deps import Reading, TheCaller
from app.api.schemas import Answer
from app.services import lifecycle
from app.services.experiments import waiting

router = passes.router(tags=["operations"])


class WaitingRun(Answer):
    """A run that could start as soon as a worker is free. Of others' runs a student sees that they are there, not
    which.
    """

    position: int
    owner: str | None
    priority: int
    run_id: str | None
    experiment_id: str | None
    name: str | None
    seed: int | None
    queued_at: datetime
    starts_at: datetime | None
    """An estimate, from what runs took lately; null before any has ended, and with no worker online that may take it.
    """


class QueuePage(Answer):
    """Runs in the order in which workers will take them, `num_waiting` in all."""

    num_waiting: int
    data: list[WaitingRun]


@router.get("/queue")
def read_queue(
    session: Reading,
    caller: TheCaller,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most rows")] = 100,
) -> QueuePage:
    """Who is next: priority first, then owners in turn, then age. Runs that wait for a teacher come in when it has
    succeeded.
    """
    places = waiting.queue(session, limit)
    seen = [place.run_id for place in places if caller.may_see(place.owner)]
    called = waiting.names_and_seeds(session, seen)
    return QueuePage(
        num_waiting=lifecycle.queued_runs(session),
        data=[
            _row(place, caller.may_see(place.owner), *called.get(place.run_id, (None, None)))
            for place in places
        ],
    )


def _row(place: waiting.QueuePlace, shown: bool, name: str | None, seed: int | None) -> WaitingRun:
    return WaitingRun(
        position=place.position,
        owner=place.owner if shown else None,
        priority=place.priority,
        run_id=place.run_id if shown else None,
        experiment_id=place.experiment_id if shown else None,
        name=name,
        seed=seed,
        queued_at=place.queued_at,
        starts_at=place.starts_at,
    )
