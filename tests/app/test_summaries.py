"""What is kept of an experiment is what its runs come to, whatever was written and however many wrote at once."""

import random
import threading
from typing import Any

import pytest
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services import lifecycle
from app.services.experiments import deletion, experiments, steering
from app.services.lifecycle import Begun, EpochDone, Lease
from app.storage.db import Database
from app.storage.states import RunStatus, experiment_status
from app.storage.summaries import computed
from app.storage.tables import Experiment, ExperimentSummary, Run
from tests.app.rows import create
from tests.databases import ON_POSTGRESQL

SMALL = {"dataset": "digits", "epochs": 3}


def expect_all_kept(database: Database) -> None:
    """Every experiment has a summary, and it is what its runs say."""
    columns = [column.name for column in ExperimentSummary.__table__.columns]  # type: ignore[attr-defined]
    with database.reading() as session:
        kept = {
            row.experiment_id: row._asdict()
            for row in session.execute(
                select_columns(*(col(getattr(ExperimentSummary, one)) for one in columns))
            )
        }
        again = {row.experiment_id: row._asdict() for row in session.execute(computed())}
        assert kept == again
        statuses: dict[str, list[RunStatus]] = {}
        for experiment_id, status in session.execute(
            select_columns(col(Run.experiment_id), col(Run.status))
        ):
            statuses.setdefault(experiment_id, []).append(status)
    assert {one: row["status"] for one, row in kept.items()} == {
        one: experiment_status(found) for one, found in statuses.items()
    }


def _claim(session: Session, leases: list[Lease]) -> None:
    lease = lifecycle.claim(session, "w")
    if lease is not None:
        leases.append(lease)
        lifecycle.renew(session, lease, Begun({"device": "cpu"}))
        lifecycle.renew(session, lease, EpochDone(1, 1, {"loss": 0.5, "accuracy": 0.75}))


def _end(session: Session, leases: list[Lease], draw: random.Random) -> None:
    if not leases:
        return
    lease = leases.pop(draw.randrange(len(leases)))
    how = draw.randrange(4)
    if how == 0:
        lifecycle.fail(session, lease, {"code": "diverged", "message": "no number"})
    elif how == 1:
        lifecycle.release(session, lease)
    else:
        best = {"epoch": 1, "val": {"loss": 0.5, "accuracy": 0.75}}
        test = {"loss": 0.25, "accuracy": draw.choice([0.5, 0.625, 1.0])}
        lifecycle.succeed(session, lease, best=best, test=test)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_written_it_is_what_the_runs_come_to(database: Database, seed: int) -> None:
    draw = random.Random(seed)
    leases: list[Lease] = []
    for _ in range(40):
        with database.writing() as session:
            rows = list(session.scalars(select_columns(Experiment)))
            one = draw.choice(rows) if rows else None
            runs = [] if one is None else [run.id for run in experiments.its_runs(session, one.id)]
            some = [run_id for run_id in runs if draw.random() < 0.6]
            step = draw.randrange(10)
            if one is None or step == 0:
                create(session, {**SMALL, "seeds": draw.randint(1, 3)}, draw.choice("ab"))
            elif step <= 2:
                _claim(session, leases)
            elif step <= 4:
                _end(session, leases, draw)
            elif step == 5:
                lifecycle.cancel(session, some)
            elif step == 6:
                lifecycle.pause(session, some)
            elif step == 7:
                lifecycle.resume(session, some)
            elif step == 8:
                lifecycle.retry(session, some)
            else:
                steering.edit(session, one, {"archived": draw.random() < 0.5})
        leases = [lease for lease in leases if _is_held(database, lease)]
        expect_all_kept(database)
    with database.writing() as session:
        lifecycle.cancel(session, list(session.scalars(select_columns(col(Run.id)))))
        for lease in leases:
            lifecycle.confirm_cancel(session, lease)
    with database.writing() as session:
        deletion.delete_together(session, list(session.scalars(select_columns(Experiment)))[:2])
    expect_all_kept(database)


def _is_held(database: Database, lease: Lease) -> bool:
    with database.reading() as session:
        run: Any = session.get(Run, lease.run_id)
        return bool(run.status == RunStatus.RUNNING and run.fence == lease.fence)


@pytest.mark.parametrize("_", range(3))
def test_those_that_end_at_the_same_moment_are_all_in_it(database: Database, _: int) -> None:
    leases: list[Lease] = []
    with database.writing() as session:
        create(session, {**SMALL, "seeds": 4})
    for _ in range(4):
        with database.writing() as session:
            _claim(session, leases)
    together = threading.Barrier(4)

    def end(lease: Lease) -> None:
        with database.writing() as session:
            if ON_POSTGRESQL:  # all see what was before any has ended
                session.execute(select_columns(1))
                together.wait(10)
            _succeed(session, lease)

    threads = [threading.Thread(target=end, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect_all_kept(database)


def _succeed(session: Session, lease: Lease) -> None:
    best = {"epoch": 1, "val": {"loss": 0.5, "accuracy": 0.75}}
    lifecycle.succeed(session, lease, best=best, test={"loss": 0.25, "accuracy": 0.5})
