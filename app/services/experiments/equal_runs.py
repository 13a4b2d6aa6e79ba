"""Which runs are equal, so that one can stand in for another: taken over, or built on."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.lifecycle.moves import WAITING
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.common.revision import RESULTS_VERSION


@dataclass(frozen=True)
class Likeness:
    """What equal runs of one owner have in common: the spec, by its fingerprint, the seed, and the SHA-256 of the data
    set here; None where that is not prepared and any images will do.
    """

    fingerprint: str
    seed: int
    images: str | None


@dataclass(frozen=True)
class EqualRun:
    """A run that equals what was asked for, or still can."""

    id: str
    status: RunStatus
    was_taken_over: bool
    created_at: datetime


def equal_runs(
    session: Session,
    wanted: Collection[Likeness],
    owner: str,
    statuses: Sequence[RunStatus] = (RunStatus.SUCCEEDED,),
) -> dict[Likeness, list[EqualRun]]:
    """The owner's runs that equal each of those wanted and have one of the statuses, the best first; nothing for what
    has none.

    Equal is what has the likeness and was trained by a version that gives the same numbers. What is not finished counts
    as far as it can still become equal. The best have the first of the statuses, were trained themselves rather than
    taken over, and are the oldest.
    """
    if not wanted:
        return {}
    columns = (
        col(Experiment.fingerprint),
        col(Run.id),
        col(Run.seed),
        col(Run.status),
        col(Run.cancel_requested),
        col(Run.epochs_done),
        col(Run.step),
        col(Run.environment),
        col(Run.reused_from),
        col(Run.created_at),
    )
    alike = (
        col(Experiment.fingerprint).in_({likeness.fingerprint for likeness in wanted}),
        col(Run.seed).in_({likeness.seed for likeness in wanted}),
        col(Run.status).in_(statuses),
        col(Run.owner) == owner,
    )
    joined = select_columns(*columns).join(Run, col(Experiment.id) == col(Run.experiment_id))
    there: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in session.execute(joined.where(*alike)):
        there[row.fingerprint, row.seed].append(row)
    found = {
        likeness: sorted(
            (
                EqualRun(row.id, row.status, row.reused_from is not None, row.created_at)
                for row in there.get((likeness.fingerprint, likeness.seed), ())
                if _is_equal(row, likeness.images)
            ),
            key=lambda run: (
                statuses.index(run.status),
                run.was_taken_over,
                run.created_at,
                run.id,
            ),
        )
        for likeness in wanted
    }
    return {likeness: runs for likeness, runs in found.items() if runs}


def _is_equal(row: Any, images: str | None) -> bool:
    """Whether its numbers are, or can become, those of this version on these images.

    A run of which nothing is trained yet begins with the version and the images that are here when it is claimed. One
    that goes on keeps what it has, and its environment says from which version and images that is.
    """
    status = row.status
    if row.cancel_requested and status is not RunStatus.SUCCEEDED:
        return False
    if status in WAITING and not row.epochs_done and not row.step:
        return True
    if row.environment is None:  # just claimed, nothing in place yet
        return status is RunStatus.RUNNING
    made_by, learned = (row.environment.get(name) for name in ("results_version", "dataset_sha256"))
    return made_by == RESULTS_VERSION and images in (None, learned)
