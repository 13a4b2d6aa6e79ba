"""How far a study is and when it will be done, its cells weighed by what one of their runs costs."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session

from app.services.experiments.how_far import fraction_done
from app.services.experiments.metrics import paces
from app.services.lifecycle.workers import num_online
from app.storage.states import RunStatus
from app.storage.tables import Run, utc_now

MOST_SECONDS = 1e9
"""Thirty years: what is to end later than that has no date."""

Weighed = Sequence[tuple[float, Run]]
"""Runs, each with the nominal seconds of its cell."""


def fraction(runs: Weighed) -> float:
    """How much of the work is done, from 0 to 1."""
    total = sum(weight for weight, _ in runs)
    return sum(weight * fraction_done(run) for weight, run in runs) / total if total else 1.0


def estimated_finish(session: Session, runs: Weighed, status: RunStatus) -> datetime | None:
    """What is left at the pace so far, shared among the workers online; None before an epoch is done or with nobody to
    do it.
    """
    workers = num_online(session)
    if status is not RunStatus.RUNNING or not workers:
        return None
    trained = [(weight, run) for weight, run in runs if run.reused_from is None and run.epochs_done]
    lately = paces(session, [run.id for _, run in trained])
    seconds = {
        run.id: each * run.epochs_done
        for _, run in trained
        if (each := lately.get(run.id)) is not None
    }
    nominal = sum(
        weight * run.epochs_done / run.epochs for weight, run in trained if run.id in seconds
    )
    if nominal <= 0:
        return None
    unfinished = [(weight, run) for weight, run in runs if not run.status.is_terminal]
    left = sum(weight * (1 - fraction_done(run)) for weight, run in unfinished)
    wait = left * sum(seconds.values()) / nominal / min(workers, len(unfinished))
    return utc_now() + timedelta(seconds=wait) if wait < MOST_SECONDS else None
