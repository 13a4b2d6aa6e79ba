"""Further seeds of experiments, built on what the others are built on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import Conflict
from app.services import lifecycle
from app.services.experiments.experiments import runs_of
from app.services.lifecycle import NewRun
from app.storage.states import RETRYABLE, RunStatus
from app.storage.tables import Experiment, Run, new_id, utc_now


@dataclass(frozen=True)
class Below:
    """What further seeds are built on where each has a foundation of its own: by experiment the one that trains those,
    or by experiment and seed a run.
    """

    experiments: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[tuple[str, int], str] = field(default_factory=dict)


def add_seeds(
    session: Session,
    seeds: Mapping[str, Sequence[int]],
    run_ids: Mapping[tuple[str, int], str],
    below: Below = Below(),
) -> list[str]:
    """Queue further replicates of experiments, `seeds` by their ids in the order in which they were made, built on what
    the others are built on, or on what `below` says; seeds that they have are passed over.

    `run_ids` are those that the new runs get, by experiment and seed; one that has none gets another. Returns the ids
    of all that were queued.
    """
    there = runs_of(session, list(seeds))
    every = {(run.experiment_id, run.seed): run.id for runs in there.values() for run in runs}
    missing = {
        experiment_id: [seed for seed in wanted if (experiment_id, seed) not in every]
        for experiment_id, wanted in seeds.items()
    }
    every |= {
        (experiment_id, seed): run_ids.get((experiment_id, seed)) or new_id("run")
        for experiment_id, wanted in missing.items()
        for seed in wanted
    }
    needs: dict[tuple[str, int], str | None] = {}
    for experiment_id, wanted in missing.items():
        for seed in wanted:
            one = experiment_id, seed
            if experiment_id in below.experiments:
                needs[one] = every[below.experiments[experiment_id], seed]
            else:
                needs[one] = below.runs.get(one) or there[experiment_id][0].needs
    statuses = _needed(session, {one: needed for one, needed in needs.items() if needed})
    now = utc_now()
    rows = session.execute(
        select_columns(
            col(Experiment.id),
            col(Experiment.priority),
            col(Experiment.device),
            col(Experiment.nominal_seconds),
        ).where(col(Experiment.id).in_(seeds))
    ).all()
    priorities = {row.id: row.priority for row in rows}
    devices = {
        row.id: lifecycle.trains_on_too(
            row.device, row.nominal_seconds, [run.trains_on for run in there[row.id]]
        )
        for row in rows
    }
    new = [
        NewRun(
            id=every[experiment_id, seed],
            experiment_id=experiment_id,
            seed=seed,
            position=position,
            owner=there[experiment_id][0].owner,
            priority=priorities[experiment_id],
            created_at=now + timedelta(microseconds=number),  # as by `drafts.create`
            epochs=there[experiment_id][0].epochs,
            num_steps=there[experiment_id][0].num_steps,
            trains_on=devices[experiment_id],
            needs=needs[experiment_id, seed],
            is_ready=_is_ready(needs[experiment_id, seed], statuses),
        )
        for number, (experiment_id, wanted) in enumerate(missing.items())
        for position, seed in enumerate(wanted, start=len(there[experiment_id]))
    ]
    lifecycle.enqueue(session, new)
    return [run.id for run in new]


def _is_ready(needed: str | None, statuses: Mapping[str, str]) -> bool:
    """Whether nothing is waited for; what is added together with the run is not trained yet."""
    return needed is None or statuses.get(needed) == RunStatus.SUCCEEDED


def _needed(session: Session, needs: Mapping[tuple[str, int], str]) -> dict[str, str]:
    """The statuses of what the runs build on, as far as it is there, which stay until the transaction ends; raises
    Conflict where one will never have weights.
    """
    needing = {needed: experiment_id for (experiment_id, _), needed in needs.items()}
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
