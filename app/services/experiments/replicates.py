"""Further seeds of experiments, built on what the others are built on."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import Conflict
from app.services import lifecycle
from app.services.experiments.experiments import runs_of
from app.services.lifecycle import NewRun
from app.storage.states import RETRYABLE, RunStatus
from app.storage.tables import Experiment, Run, new_id, utc_now


def add_seeds(
    session: Session, seeds: Mapping[str, Sequence[int]], run_ids: Mapping[tuple[str, int], str]
) -> list[str]:
    """Queue further replicates of experiments, `seeds` by their ids, built on what the others are built on; seeds that
    they have are passed over.

    `run_ids` are those that the new runs get, by experiment and seed; one that has none gets another. Returns the ids
    of all that were queued.
    """
    there = runs_of(session, list(seeds))
    firsts = {experiment_id: runs[0] for experiment_id, runs in there.items()}
    needed = _needed(session, firsts.values())
    new: list[NewRun] = []
    now = utc_now()
    rows = session.execute(
        select_columns(col(Experiment.id), col(Experiment.priority)).where(
            col(Experiment.id).in_(seeds)
        )
    )
    priorities = {row.id: row.priority for row in rows}
    for number, (experiment_id, first) in enumerate(firsts.items()):
        created_at = now + timedelta(microseconds=number)  # as by `drafts.create`
        missing = [
            seed
            for seed in seeds[experiment_id]
            if seed not in {run.seed for run in there[experiment_id]}
        ]
        for position, seed in enumerate(missing, start=len(there[experiment_id])):
            new.append(
                _replicate(
                    first,
                    run_ids.get((experiment_id, seed)) or new_id("run"),
                    seed,
                    position,
                    priorities[experiment_id],
                    created_at,
                    needed,
                )
            )
    lifecycle.enqueue(session, new)
    return [run.id for run in new]


def _replicate(
    first: Run,
    run_id: str,
    seed: int,
    position: int,
    priority: int,
    created_at: datetime,
    needed: Mapping[str, str],
) -> NewRun:
    return NewRun(
        id=run_id,
        experiment_id=first.experiment_id,
        seed=seed,
        position=position,
        owner=first.owner,
        priority=priority,
        created_at=created_at,
        epochs=first.epochs,
        num_steps=first.num_steps,
        needs=first.needs,
        is_ready=first.needs is None or needed[first.needs] == RunStatus.SUCCEEDED,
    )


def _needed(session: Session, runs: Iterable[Run]) -> dict[str, str]:
    """The statuses of what the runs build on, which stay until the transaction ends; raises Conflict where one will
    never have weights.
    """
    needing = {run.needs: run.experiment_id for run in runs if run.needs is not None}
    held = (
        select_columns(col(Run.id), col(Run.status))
        .where(col(Run.id).in_(needing))
        .order_by(col(Run.id))
        .with_for_update()
    )
    found = {row.id: row.status for row in session.execute(held)} if needing else {}
    for run_id, status in found.items():
        if status in RETRYABLE:
            raise Conflict(
                f"run {run_id}, which experiment {needing[run_id]} builds on, has {status}: retry it first"
            )
    return found
