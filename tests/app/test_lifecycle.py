"""The life of a run: no sequence of verbs, crashes and lost or doubled messages reaches an illegal state, loses a run,
or undoes an end unasked.
"""

import multiprocessing
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlmodel import Session, col, select

from app.errors import HasDependents, InvalidRequest, NotFinished
from app.services import lifecycle
from app.services.experiments import deletion, experiments, progress, tasks
from app.services.experiments.situations import run_reason
from app.services.experiments.wholes import whole
from app.services.lifecycle import Begun, EpochDone, Intent, Lease, LeaseLost, Progressed
from app.services.lifecycle.reports import Halved, Report
from app.services.upkeep.reconcile import LeaseWatch, take_back
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.states import LEGAL_MOVES, RETRYABLE, RunStatus, StatusReason, experiment_status
from app.storage.tables import (
    LOCAL,
    Attempt,
    Checkpoint,
    Experiment,
    Metric,
    Run,
    StatusChange,
    utc_now,
)
from lab_models.training.protocol import (
    Completed,
    EpochCompleted,
    Progress,
    SavedArtifact,
    SavedCheckpoint,
    Started,
)
from tests.app.rows import create
from tests.databases import renew_database

EPOCHS = 4
MAX_CRASHES = 3
TTL = 10.0
SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": EPOCHS}


def submit(session: Session, seeds: int = 1, priority: int = 0, owner: str = LOCAL) -> list[str]:
    body = {**SPEC, "seeds": seeds, "priority": priority}
    experiment = create(session, body, owner)
    return [run.id for run in experiments.its_runs(session, experiment.id)]


def epoch_event(epoch: int, attempt: int) -> EpochCompleted:
    checkpoint = SavedCheckpoint(
        path=f"attempt-{attempt}/checkpoint-{epoch}.pt",
        sha256="0" * 64,
        size_bytes=1,
        epoch=epoch,
        step=0,
    )
    metrics = {
        "train": {"loss": 1.0 / epoch, "accuracy": 0.5},
        "val": {"loss": 1.0 / epoch, "accuracy": 0.5},
    }
    return EpochCompleted(
        epoch=epoch,
        metrics=metrics,
        best_epoch=epoch,
        best_val={"loss": 1.0},
        stop_reason=None,
        checkpoint=checkpoint,
    )


def completed_event(attempt: int) -> Completed:
    artifact = SavedArtifact(
        name="weights.safetensors",
        media_type="application/octet-stream",
        path=f"attempt-{attempt}/w",
        sha256="0" * 64,
        size_bytes=1,
    )
    return Completed(
        stop_reason="all_epochs",
        best_epoch=EPOCHS,
        best_val={"loss": 0.1},
        test={"loss": 0.1, "accuracy": 0.9},
        artifacts=(artifact,),
    )


def run_of(session: Session, run_id: str) -> Run:
    session.expire_all()
    return session.get_one(Run, run_id)


class Lives(RuleBasedStateMachine):
    """Several workers over one real SQLite file and a clock that only the test moves."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.open()

    def open(self) -> None:
        self.folder = TemporaryDirectory()
        renew_database()
        self.database = open_database(Settings(home=Path(self.folder.name), _env_file=None))
        self.now = 0.0
        self.watch = LeaseWatch(TTL, clock=lambda: self.now)
        self.runs: list[str] = []
        self.teachers: list[str] = []
        self.terminal: dict[str, str] = {}
        self.fences: Counter[str] = Counter()

    @initialize()
    def begin_with_a_failed_and_a_cancelled_run(self) -> None:
        """So that retry and delete have something to do from the first step on."""
        self.submit(seeds=2, priority=0)
        self.fail(self.claim("a"))
        with self.database.writing() as session:
            lifecycle.cancel(session, [self.runs[1]])

    def teardown(self) -> None:
        self.drain()
        self.database.close()
        self.folder.cleanup()

    @rule(
        seeds=st.integers(1, 3), priority=st.integers(-1, 1), owner=st.sampled_from([LOCAL, "ada"])
    )
    def submit(self, seeds: int, priority: int, owner: str = LOCAL) -> None:
        if len(self.runs) < 8:
            with self.database.writing() as session:
                new = submit(session, seeds, priority, owner)
            self.runs += new
            self.teachers += new

    @rule(data=st.data(), seeds=st.integers(1, 2))
    def submit_students(self, data: st.DataObject, seeds: int) -> None:
        """Students of any run that there is: of a finished one, of one under way, or refused."""
        if not self.teachers or len(self.runs) >= 8:
            return
        teacher = data.draw(st.sampled_from(self.teachers))
        body = {
            "kind": "distill",
            "dataset": "digits",
            "student": {"hidden": [8]},
            "epochs": EPOCHS,
            "teacher": teacher,
            "seeds": seeds,
        }
        with self.database.reading() as session:
            hopeless = session.get_one(Run, teacher).status in (
                RunStatus.FAILED,
                RunStatus.CANCELLED,
            )
        try:
            with self.database.writing() as session:
                experiment = create(session, body)
                self.runs += [run.id for run in experiments.its_runs(session, experiment.id)]
        except InvalidRequest:
            assert hopeless
        else:
            assert not hopeless

    @rule(target=leases, worker=st.sampled_from(["a", "b", "c"]))
    def claim(self, worker: str) -> Lease | None:
        """Also what a doubled or late doorbell does."""
        with self.database.writing() as session:
            best = session.exec(select(Run).where(lifecycle.claimable())).all()
            lease = lifecycle.claim(session, worker)
        assert (lease is None) == (not best)
        if lease is not None:
            assert lease.fence == self.fences[lease.run_id] + 1, (
                "the fence grows by one with every claim"
            )
            self.fences[lease.run_id] = lease.fence
            with self.database.writing() as session:
                resume = tasks.load_task(session, lease, Path(self.folder.name)).resume
                epoch = resume[0].epoch if resume else 0
                progress.record_started(
                    session,
                    lease,
                    Started(environment={}, resumed_from=(epoch, 0) if resume else None),
                )
        return lease

    def holds(self, lease: Lease | None) -> bool:
        return (
            lease is not None
            and self.fences[lease.run_id] == lease.fence
            and self.is_running(lease)
        )

    def is_running(self, lease: Lease) -> bool:
        with self.database.reading() as session:
            run = session.get(Run, lease.run_id)
            return run is not None and run.status == RunStatus.RUNNING

    def epochs_done(self, lease: Lease) -> int:
        """Of the lease's run; 0 if that is deleted."""
        with self.database.reading() as session:
            run = session.get(Run, lease.run_id)
            return 0 if run is None else run.epochs_done

    def under(self, lease: Lease | None, work) -> None:
        """Do what a holder does; a stale one must be refused and must change nothing."""
        if lease is None:
            return
        entitled = self.holds(lease)
        try:
            with self.database.writing() as session:
                work(session)
        except LeaseLost:
            assert not entitled
        else:
            assert entitled

    @rule(lease=leases)
    def renew(self, lease: Lease | None) -> None:
        self.under(lease, lambda session: lifecycle.renew(session, lease))

    @rule(lease=leases)
    def finish_an_epoch(self, lease: Lease | None) -> None:
        if lease is None:
            return
        epoch = self.epochs_done(lease) + 1
        if epoch <= EPOCHS:
            self.under(
                lease,
                lambda session: progress.record_epoch(
                    session, lease, epoch_event(epoch, lease.attempt)
                ),
            )

    @rule(lease=leases)
    def complete(self, lease: Lease | None) -> None:
        if lease is None:
            return
        if self.epochs_done(lease) == EPOCHS or not self.holds(lease):
            self.under(
                lease,
                lambda session: progress.record_completed(
                    session, lease, completed_event(lease.attempt)
                ),
            )

    @rule(lease=leases)
    def stop_worker(self, lease: Lease | None) -> None:
        self.under(lease, lambda session: lifecycle.release(session, lease))

    @rule(lease=leases)
    def trainer_dies(self, lease: Lease | None) -> None:
        self.under(
            lease, lambda session: lifecycle.crashed(session, lease, "signal 9", MAX_CRASHES)
        )

    @rule(lease=leases)
    def memory_runs_out(self, lease: Lease | None) -> None:
        self.under(
            lease,
            lambda session: progress.record_out_of_memory(session, lease, "memory ran out", 2),
        )

    @rule(lease=leases)
    def fail(self, lease: Lease | None) -> None:
        self.under(lease, lambda session: lifecycle.fail(session, lease, {"code": "diverged"}))

    @rule(lease=leases)
    def supervisor_sees_what_is_asked(self, lease: Lease | None) -> None:
        if self.holds(lease):
            with self.database.writing() as session:
                match lifecycle.asked(session, lease):
                    case Intent.CANCEL:
                        lifecycle.confirm_cancel(session, lease)
                    case Intent.PAUSE:
                        lifecycle.confirm_pause(session, lease)
                    case Intent.NOTHING:
                        pass

    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        """Of any run: what is queued is paused at once, what is under way is asked to, and nothing else changes."""
        if not self.runs:
            return
        run_id = data.draw(st.sampled_from(self.runs))
        with self.database.writing() as session:
            before = session.get_one(Run, run_id).model_dump(exclude={"change"})
            accepted = bool(lifecycle.pause(session, [run_id]))
            after = run_of(session, run_id).model_dump(exclude={"change"})
        if before["status"] == RunStatus.QUEUED:
            assert accepted
            assert after == before | {
                "status": "paused",
                "status_reason": "paused_by_user",
                "pause_requested": False,
            }
        elif before["status"] == RunStatus.RUNNING and not before["cancel_requested"]:
            assert accepted
            assert after == before | {"pause_requested": True}
        else:
            assert not accepted
            assert after == before

    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Of any run: what is paused waits again, a pause that is not confirmed is taken back, and nothing else
        changes.
        """
        if not self.runs:
            return
        run_id = data.draw(st.sampled_from(self.runs))
        with self.database.writing() as session:
            before = session.get_one(Run, run_id).model_dump(exclude={"change"})
            accepted = bool(lifecycle.resume(session, [run_id]))
            after = run_of(session, run_id).model_dump(exclude={"change"})
        assert accepted == (
            before["status"] == RunStatus.PAUSED
            or (before["status"] == RunStatus.RUNNING and before["pause_requested"])
        )
        if before["status"] == RunStatus.PAUSED:
            assert (after["status"], after["pause_requested"]) == ("queued", False)
        else:
            assert after == before | ({"pause_requested": False} if accepted else {})

    @rule(data=st.data(), priority=st.integers(-2, 2))
    def prioritize(self, data: st.DataObject, priority: int) -> None:
        if self.runs:
            run_id = data.draw(st.sampled_from(self.runs))
            with self.database.writing() as session:
                waits = session.get_one(Run, run_id).status in (RunStatus.QUEUED, RunStatus.PAUSED)
                assert lifecycle.prioritize(session, [run_id], priority) == (
                    [run_id] if waits else []
                )

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.runs:
            return
        run_id = data.draw(st.sampled_from(self.runs))
        with self.database.writing() as session:
            before = session.get_one(Run, run_id).status
            accepted = bool(lifecycle.cancel(session, [run_id]))
        assert accepted == (not RunStatus(before).is_terminal)
        if before == RunStatus.QUEUED:
            with self.database.reading() as session:
                assert session.get_one(Run, run_id).status == RunStatus.CANCELLED

    def rather_ended_runs(self) -> st.SearchStrategy[str]:
        """Any run, but mostly one that has ended, if there is one."""
        return st.sampled_from(
            [*self.runs, *(2 * [run_id for run_id in self.runs if run_id in self.terminal])]
        )

    @precondition(lambda self: self.terminal)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """Of any run; only what has failed or was cancelled, and does not build on such a run, is queued again."""
        run_id = data.draw(self.rather_ended_runs())
        with self.database.writing() as session:
            before = session.get_one(Run, run_id).model_dump(exclude={"change"})
            teacher = (
                None if before["needs"] is None else session.get_one(Run, before["needs"]).status
            )
            accepted = bool(lifecycle.retry(session, [run_id]))
            after = run_of(session, run_id).model_dump(exclude={"change"})
        assert accepted == (before["status"] in RETRYABLE and teacher not in RETRYABLE)
        if not accepted:
            assert after == before
            return
        del self.terminal[run_id]
        reason = (
            "waiting_for_worker"
            if teacher in (None, RunStatus.SUCCEEDED)
            else "waiting_for_teacher"
        )
        assert after == before | {
            "status": "queued", "status_reason": reason, "error": None, "error_code": None,
            "stop_reason": None,
            "finished_at": None, "worker_id": None,
            "cancel_requested": False, "pause_requested": False, "crashes": 0, "micro_batches": 1,
        }  # fmt: skip

    @precondition(lambda self: self.terminal)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Any experiment; only what has ended and what nobody builds on goes, with everything that hangs on it."""
        run_id = data.draw(self.rather_ended_runs())
        with self.database.reading() as session:
            experiment = session.get_one(Experiment, session.get_one(Run, run_id).experiment_id)
            own = experiments.its_runs(session, experiment.id)
            ids = {run.id for run in own}
            needed = [run.id for run in session.exec(select(Run).where(col(Run.needs).in_(ids)))]
        deletable = not needed and all(run.status.is_terminal for run in own)
        try:
            with self.database.writing() as session:
                assert set(deletion.delete(session, experiment)) == ids
        except (NotFinished, HasDependents):
            assert not deletable
            return
        assert deletable
        with self.database.reading() as session:
            for table in (Attempt, Checkpoint, Metric, StatusChange):
                assert session.exec(select(table).where(col(table.run_id).in_(ids))).all() == []
        self.runs = [run_id for run_id in self.runs if run_id not in ids]
        self.teachers = [run_id for run_id in self.teachers if run_id not in ids]
        self.terminal = {
            run_id: status for run_id, status in self.terminal.items() if run_id not in ids
        }

    @rule(lease=leases)
    def give_back_what_the_database_kept_from_renewing(self, lease: Lease | None) -> None:
        """The database answers again before anybody has taken the run for lost: that is no crash."""
        crashes = self.crashes()
        self.under(
            lease,
            lambda session: lifecycle.release(session, lease, StatusReason.DATABASE_UNREACHABLE),
        )
        assert self.crashes() == crashes

    @rule(seconds=st.floats(0, 2 * TTL))
    def time_passes(self, seconds: float) -> None:
        """The reconciler looks and writes several times in half a lease: at steps of just half, rounding makes one in
        forty a gap, after which all silence is counted anew.
        """
        for step in (*[TTL / 4] * int(seconds // (TTL / 4)), seconds % (TTL / 4)):
            self.now += step
            self.reconcile()

    @rule(seconds=st.floats(0.6 * TTL, 3 * TTL), notices=st.booleans())
    def database_is_out_of_reach(self, seconds: float, notices: bool) -> None:
        """For everybody, whether the reconciler's own write fails or comes through late: nobody's silence counts, so
        nobody is lost.
        """
        self.now += seconds
        if notices:
            self.watch.failed()
        crashes, under_way = self.crashes(), self.under_way()
        self.reconcile()
        assert (self.crashes(), self.under_way()) == (crashes, under_way)

    def crashes(self) -> dict[str, int]:
        with self.database.reading() as session:
            return {run.id: run.crashes for run in session.exec(select(Run))}

    def under_way(self) -> set[str]:
        with self.database.reading() as session:
            return set(session.exec(select(Run.id).where(col(Run.status) == RunStatus.RUNNING)))

    def reconcile(self) -> None:
        self.watch.wrote()
        with self.database.reading() as session:
            expired = self.watch.silent(session)
        with self.database.writing() as session:
            take_back(session, expired, MAX_CRASHES)

    @invariant()
    def every_move_was_legal_and_no_end_is_undone(self) -> None:
        if not self.runs:
            return
        with self.database.reading() as session:
            runs = {run.id: run for run in session.exec(select(Run))}
            assert set(runs) == set(self.runs)
            history = list(session.exec(select(StatusChange).order_by(col(StatusChange.id))))
            attempts = Counter(attempt.run_id for attempt in session.exec(select(Attempt)))
            epochs = Counter(
                (metric.run_id, metric.epoch) for metric in session.exec(select(Metric))
            )
            checkpoints = Counter(row.run_id for row in session.exec(select(Checkpoint)))
        for run_id, status in self.terminal.items():
            assert runs[run_id].status == status
        last: dict[str, str | None] = {}
        for change in history:
            assert last.get(change.run_id) == change.from_status
            if change.from_status in RETRYABLE:
                assert (change.to_status, change.actor) == (
                    RunStatus.QUEUED,
                    lifecycle.USER,
                ), "only a person undoes an end"
            elif change.from_status is not None:
                assert change.to_status in LEGAL_MOVES[change.from_status]
            last[change.run_id] = change.to_status
        for run in runs.values():
            assert last[run.id] == run.status, "the history ends where the run stands"
            assert attempts[run.id] == run.attempt == run.fence
            assert run.crashes <= MAX_CRASHES
            assert (run.finished_at is not None) == run.status.is_terminal
            assert {epoch for run_id, epoch in epochs if run_id == run.id} == set(
                range(1, len([1 for r, _ in epochs if r == run.id]) + 1)
            ), "no gap"
            assert checkpoints[run.id] <= 2
            if run.needs is not None:
                teacher = runs[run.needs].status
                if run.attempt > 0:
                    assert teacher is RunStatus.SUCCEEDED, (
                        "nobody learns from a teacher that is not trained"
                    )
                if teacher.is_terminal and teacher is not RunStatus.SUCCEEDED:
                    assert run.status.is_terminal, "nobody waits for a teacher that will never be"
                if run.status == RunStatus.QUEUED and run.attempt == 0:
                    assert (run.status_reason == "waiting_for_teacher") == (
                        teacher is not RunStatus.SUCCEEDED
                    )
            if run.status.is_terminal:
                self.terminal[run.id] = run.status

    def drain(self) -> None:
        """With faults off and time advanced, every run reaches its end."""
        self.time_passes(2 * TTL)  # not TTL: a sum of floats may fall short of it
        with self.database.writing() as session:
            for run in session.exec(select(Run).where(col(Run.status) == RunStatus.PAUSED)).all():
                assert lifecycle.resume(session, [run.id])
        for _ in range(200):
            with self.database.writing() as session:
                lease = lifecycle.claim(session, "last")
                if lease is None:
                    break
                for epoch in range(session.get_one(Run, lease.run_id).epochs_done + 1, EPOCHS + 1):
                    progress.record_epoch(session, lease, epoch_event(epoch, lease.attempt))
                progress.record_completed(session, lease, completed_event(lease.attempt))
        with self.database.reading() as session:
            left = [run for run in session.exec(select(Run)) if not run.status.is_terminal]
            assert not left, [(run.status, run.status_reason, run.needs) for run in left]


Lives.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
TestLives = Lives.TestCase


def test_a_claim_takes_the_highest_priority_then_the_oldest_then_the_first_seed(
    database: Database,
) -> None:
    with database.writing() as session:
        old, old_second = submit(session, seeds=2)
        (urgent,) = submit(session, priority=5)
        (new,) = submit(session)
    claimed = []
    for _ in range(4):
        with database.writing() as session:
            lease = lifecycle.claim(session, "w")
            assert lease is not None
            claimed.append(lease.run_id)
    assert claimed == [urgent, old, old_second, new]


def claimed(database: Database) -> Lease:
    with database.writing() as session:
        submit(session)
    with database.writing() as session:
        lease = lifecycle.claim(session, "w")
    assert lease is not None
    return lease


def stale_by_release(session: Session, lease: Lease) -> None:
    lifecycle.release(session, lease)


def stale_by_retry(session: Session, lease: Lease) -> None:
    """As a zombie's run: taken back while it was frozen, cancelled, and retried."""
    run = run_of(session, lease.run_id)
    lifecycle.cancel(session, [lease.run_id])
    assert (
        lifecycle.reap(session, lease.run_id, lease.fence, run.heartbeat, MAX_CRASHES)
        == RunStatus.CANCELLED
    )
    assert lifecycle.retry(session, [lease.run_id])


STALE_WRITES = {
    "renew": lambda session, lease: lifecycle.renew(session, lease),
    "record_started": lambda session, lease: progress.record_started(
        session, lease, Started(environment={})
    ),
    "record_epoch": lambda session, lease: progress.record_epoch(
        session, lease, epoch_event(1, lease.attempt)
    ),
    "succeed": lambda session, lease: progress.record_completed(
        session, lease, completed_event(lease.attempt)
    ),
    "fail": lambda session, lease: lifecycle.fail(session, lease, {"code": "internal"}),
    "confirm_cancel": lambda session, lease: lifecycle.confirm_cancel(session, lease),
    "release": lambda session, lease: lifecycle.release(session, lease),
    "crashed": lambda session, lease: lifecycle.crashed(session, lease, "signal 9", MAX_CRASHES),
    "out_of_memory": lambda session, lease: progress.record_out_of_memory(
        session, lease, "memory ran out", 2
    ),
}


@pytest.mark.parametrize("become_stale", [stale_by_release, stale_by_retry])
@pytest.mark.parametrize("write", STALE_WRITES.values(), ids=STALE_WRITES.keys())
def test_a_stale_holder_is_refused_and_changes_nothing_while_the_run_is_queued_or_anothers(
    database: Database, write, become_stale
) -> None:
    stale = claimed(database)
    with database.writing() as session:
        become_stale(session, stale)
    assert_refused(database, stale, write)
    with database.writing() as session:
        current = lifecycle.claim(session, "other")
    assert current is not None
    assert (current.attempt, current.fence) == (2, 2)
    assert_refused(database, stale, write)
    with database.writing() as session:
        lifecycle.renew(session, current)


def assert_refused(database: Database, stale: Lease, write) -> None:
    with database.reading() as session:
        before = run_of(session, stale.run_id).model_dump(exclude={"change"})
    with pytest.raises(LeaseLost), database.writing() as session:
        write(session, stale)
    with database.reading() as session:
        assert run_of(session, stale.run_id).model_dump(exclude={"change"}) == before
        assert session.exec(select(Metric)).all() == []


REPORTS = [
    (None, set()),
    (Begun({"device": "cpu"}, 1, 2), {"status_reason", "environment", "epochs_done", "step"}),
    (Progressed(1, 2), {"epochs_done", "step"}),
    (EpochDone(1, 1, {"loss": 0.5}), {"epochs_done", "best"}),
    (EpochDone(1, 1, {"loss": 0.5}, is_last=True), {"status_reason", "epochs_done", "best"}),
    (Halved(2), {"micro_batches"}),
]


@pytest.mark.parametrize(("report", "columns"), REPORTS)
def test_a_report_of_the_holder_changes_its_own_columns_and_no_other(
    database: Database, report: Report | None, columns: set[str]
) -> None:
    lease = claimed(database)
    with database.reading() as session:
        before = run_of(session, lease.run_id).model_dump(exclude={"change"})
    with database.writing() as session:
        lifecycle.renew(session, lease, report)
    with database.reading() as session:
        after = run_of(session, lease.run_id).model_dump(exclude={"change"})
    assert {name for name in after if after[name] != before[name]} == columns | {"heartbeat"}


@pytest.mark.parametrize("report", [{"status": RunStatus.SUCCEEDED}, "succeeded", Run])
def test_nothing_else_can_be_reported(database: Database, report: Any) -> None:
    lease = claimed(database)
    with database.reading() as session:
        before = run_of(session, lease.run_id).model_dump(exclude={"change"})
    with pytest.raises(AssertionError), database.writing() as session:
        lifecycle.renew(session, lease, report)
    with pytest.raises(TypeError), database.writing() as session:
        lifecycle.renew(session, lease, status=RunStatus.SUCCEEDED)  # type: ignore[call-arg]
    with database.reading() as session:
        assert run_of(session, lease.run_id).model_dump(exclude={"change"}) == before


def test_an_end_is_estimated_from_the_first_steps_on(database: Database) -> None:
    lease = claimed(database)
    with database.reading() as session:
        run = run_of(session, lease.run_id)
        assert whole(session, run.experiment_id).estimated_finish_at is None
    with database.writing() as session:
        progress.record_progress(
            session, lease, Progress(epoch=1, step=run.num_steps // 2, num_steps=run.num_steps)
        )
    with database.reading() as session:
        estimated = whole(session, run.experiment_id).estimated_finish_at
        begun = run_of(session, lease.run_id).started_at
    assert estimated is not None
    assert begun is not None
    elapsed = (utc_now() - begun).total_seconds()
    assert 0 < (estimated - utc_now()).total_seconds() <= 9 * elapsed, (
        "an eighth of four epochs is done, so seven times as long is left"
    )


def test_an_early_stop_is_evaluated_and_then_told(database: Database) -> None:
    lease = claimed(database)
    with database.writing() as session:
        progress.record_epoch(
            session, lease, epoch_event(2, 1).model_copy(update={"stop_reason": "overfitting"})
        )
    with database.reading() as session:
        assert run_reason(run_of(session, lease.run_id)) is StatusReason.EVALUATING
    with database.writing() as session:
        progress.record_completed(
            session, lease, completed_event(1).model_copy(update={"stop_reason": "overfitting"})
        )
    with database.reading() as session:
        run = run_of(session, lease.run_id)
        assert (run.status, run.status_reason, run.stop_reason, run.epochs_done) == (
            "succeeded",
            "early_stopped",
            "overfitting",
            2,
        )


def test_a_sign_of_life_in_the_last_moment_keeps_the_run(database: Database) -> None:
    lease = claimed(database)
    with database.reading() as session:
        seen = run_of(session, lease.run_id).heartbeat
    with database.writing() as session:
        lifecycle.renew(session, lease)
    with database.writing() as session:
        assert lifecycle.reap(session, lease.run_id, lease.fence, seen, MAX_CRASHES) is None
        assert run_of(session, lease.run_id).status == RunStatus.RUNNING


@pytest.mark.parametrize(
    "leave",
    [
        lambda session, lease: lifecycle.release(session, lease),
        lambda session, lease: lifecycle.crashed(session, lease, "signal 9", MAX_CRASHES),
    ],
    ids=["release", "crashed"],
)
def test_a_run_whose_cancel_was_asked_for_never_goes_back_to_the_queue(
    database: Database, leave
) -> None:
    lease = claimed(database)
    with database.writing() as session:
        lifecycle.cancel(session, [lease.run_id])
    with database.writing() as session:
        leave(session, lease)
    with database.reading() as session:
        assert run_of(session, lease.run_id).status == RunStatus.CANCELLED


def test_the_third_crash_is_the_last_and_a_shutdown_is_none(database: Database) -> None:
    lease = claimed(database)
    statuses = []
    for leave in ("shutdown", "crash", "shutdown", "crash", "shutdown", "crash"):
        with database.writing() as session:
            if leave == "shutdown":
                lifecycle.release(session, lease)
            else:
                lifecycle.crashed(session, lease, "signal 9", MAX_CRASHES)
            statuses.append(run_of(session, lease.run_id).status)
        with database.writing() as session:
            lease = lifecycle.claim(session, "w") or lease
    assert statuses == ["queued"] * 5 + ["failed"]
    with database.reading() as session:
        run = run_of(session, lease.run_id)
    assert (run.crashes, run.error["code"], run.attempt) == (3, "crash_loop", 6)


def test_success_that_commits_first_wins_over_a_cancel(database: Database) -> None:
    with database.writing() as session:
        (run_id,) = submit(session)
        lease = lifecycle.claim(session, "w")
        assert lease is not None
    with database.writing() as session:
        assert lifecycle.cancel(session, [run_id])
    with database.writing() as session:
        progress.record_completed(session, lease, completed_event(1))
    with database.writing() as session:
        assert run_of(session, run_id).status == RunStatus.SUCCEEDED
        assert not lifecycle.cancel(session, [run_id])


def test_a_cancelled_run_whose_worker_is_lost_is_cancelled_and_not_queued(
    database: Database,
) -> None:
    with database.writing() as session:
        (run_id,) = submit(session)
        lifecycle.claim(session, "w")
    with database.writing() as session:
        lifecycle.cancel(session, [run_id])
        run = run_of(session, run_id)
        assert (
            lifecycle.reap(session, run_id, run.fence, run.heartbeat, MAX_CRASHES)
            == RunStatus.CANCELLED
        )


def test_a_lease_expires_by_an_unchanged_heartbeat_and_not_by_a_jumping_clock(
    database: Database,
) -> None:
    now = 0.0
    watch = LeaseWatch(TTL, clock=lambda: now)
    with database.writing() as session:
        submit(session)
        lease = lifecycle.claim(session, "w")
        assert lease is not None
    assert silent(database, watch) == []
    now = 3600.0  # this process slept or its clock jumped, but it has not yet seen the heartbeat stand still
    with database.writing() as session:
        lifecycle.renew(session, lease)
    assert silent(database, watch) == []
    now += TTL / 2
    assert silent(database, watch) == []
    now += TTL / 2
    assert silent(database, watch) == [lease.run_id]


def silent(database: Database, watch: LeaseWatch) -> list[str]:
    """What a reconciler that has just written finds."""
    watch.wrote()
    with database.reading() as session:
        return [run_id for run_id, _, _ in watch.silent(session)]


@pytest.mark.parametrize(
    "notices", [True, False], ids=["its write fails", "its write comes through late"]
)
def test_silence_while_nobody_could_write_is_no_sign_of_death_and_silence_afterwards_is(
    database: Database, notices: bool
) -> None:
    now = 0.0
    watch = LeaseWatch(TTL, clock=lambda: now)
    lease = claimed(database)
    assert silent(database, watch) == []
    now = 3 * TTL
    with database.reading() as session:
        assert watch.silent(session) == [], "it has not written for so long itself"
    if notices:
        watch.failed()
    assert silent(database, watch) == [], "its holder may be about to give it back"
    for _ in range(2):
        now += TTL / 2
        found = silent(database, watch)
    assert found == [lease.run_id], "its holder has died meanwhile"
    with database.writing() as session:
        take_back(
            session,
            [(lease.run_id, lease.fence, run_of(session, lease.run_id).heartbeat)],
            MAX_CRASHES,
        )
        run = run_of(session, lease.run_id)
    assert (run.status, run.status_reason, run.crashes) == ("queued", "worker_lost", 1)


def _claim_all(home: str, barrier, results) -> None:
    database = Database(Settings(home=Path(home), _env_file=None).effective_database_url)
    barrier.wait()
    claimed = []
    while True:
        with database.writing() as session:
            lease = lifecycle.claim(session, "racer")
        if lease is None:
            break
        claimed.append((lease.run_id, lease.fence))
    results.put(claimed)
    database.close()


@pytest.mark.costly
def test_processes_that_race_for_runs_claim_each_exactly_once(
    settings: Settings, database: Database
) -> None:
    with database.writing() as session:
        runs = submit(session, seeds=60)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    racers = [
        context.Process(target=_claim_all, args=(str(settings.home), barrier, results))
        for _ in range(4)
    ]
    for racer in racers:
        racer.start()
    claims = [claim for _ in racers for claim in results.get(timeout=60)]
    for racer in racers:
        racer.join()
    assert sorted(run_id for run_id, _ in claims) == sorted(runs)
    assert {fence for _, fence in claims} == {1}


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["queued"], "queued"),
        (["queued", "running"], "running"),
        (["succeeded", "queued"], "running"),
        (["failed", "queued"], "running"),
        (["failed", "succeeded"], "failed"),
        (["cancelled", "succeeded"], "cancelled"),
        (["cancelled", "failed"], "failed"),
        (["succeeded", "succeeded"], "succeeded"),
        (["paused", "succeeded"], "paused"),
        (["paused", "queued"], "queued"),
    ],
)
def test_an_experiments_status_is_that_of_its_runs(statuses: list[str], expected: str) -> None:
    assert experiment_status(map(RunStatus, statuses)) == expected
