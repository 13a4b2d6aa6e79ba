"""Which runs are equal, so that one can stand in for another: taken over, or built on."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.likeness import WHOLE_BATCHES, Likeness, Platform, Record
from app.services.lifecycle.moves import WAITING
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run


@dataclass(frozen=True)
class EqualRun:
    """A run that equals what was asked for, or still can; `platform` is None before it has begun."""

    id: str
    status: RunStatus
    was_taken_over: bool
    created_at: datetime
    platform: Platform | None = None


def equal_runs(
    session: Session,
    wanted: Collection[Likeness],
    owner: str,
    statuses: Sequence[RunStatus] = (RunStatus.SUCCEEDED,),
) -> dict[Likeness, list[EqualRun]]:
    """The owner's runs that equal each of those wanted and have one of the statuses, the best first; nothing for what
    has none.

    Equal is what meets the likeness; see `likeness`. What is not finished counts as far as it can still become equal.
    The best have the first of the statuses, were trained themselves rather than taken over, and are the oldest.
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
        col(Run.needs),
        col(Run.micro_batches),
        col(Experiment.spec)["on_out_of_memory"].as_string().label("on_out_of_memory"),
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
                EqualRun(
                    row.id,
                    row.status,
                    row.reused_from is not None,
                    row.created_at,
                    None if row.environment is None else Platform.in_which(row.environment),
                )
                for row in there.get((likeness.fingerprint, likeness.seed), ())
                if _is_equal(row, likeness)
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


def platforms_of(session: Session, experiment_ids: Collection[str]) -> dict[str, Platform]:
    """By experiment the platform on which most of its succeeded runs were trained; nothing where none has succeeded."""
    columns = col(Run.experiment_id), col(Run.environment)
    asked = select_columns(*columns).where(
        col(Run.experiment_id).in_(experiment_ids),
        col(Run.status) == RunStatus.SUCCEEDED,
    )
    counts: dict[str, Counter[Platform]] = defaultdict(Counter)
    for row in session.execute(asked.order_by(col(Run.position))):
        if row.environment is not None:
            counts[row.experiment_id][Platform.in_which(row.environment)] += 1
    return {experiment_id: count.most_common(1)[0][0] for experiment_id, count in counts.items()}


def _record_of(row: Any) -> Record:
    """A run that has an environment, by what decides its result."""
    could_halve = row.on_out_of_memory == "halve_batch"
    was_taken_over = row.reused_from is not None
    return Record.whole(
        row.fingerprint,
        row.seed,
        row.environment,
        needs=row.needs,
        # what an older version took over does not say in how many parts that was trained
        micro_batches=(None if was_taken_over else row.micro_batches)
        if could_halve
        else WHOLE_BATCHES,
    )


def _is_equal(row: Any, wanted: Likeness) -> bool:
    """Whether its result is, or can become, the one that is wanted.

    A run of which nothing is trained yet begins with the version and the images that are here when it is claimed. One
    that goes on keeps what it has, and its environment says from which version and images that is.
    """
    status = row.status
    if row.cancel_requested and status is not RunStatus.SUCCEEDED:
        return False
    # memory ran out, and its batches are parted from then on
    if row.micro_batches != WHOLE_BATCHES:
        return False
    if status in WAITING and not row.epochs_done and not row.step:
        return True
    if row.environment is None:  # just claimed, nothing in place yet
        return status is RunStatus.RUNNING
    return wanted.is_met_by(_record_of(row))
