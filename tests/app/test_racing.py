"""Many connections at once, from several processes: each run is executed once, one key makes one experiment, nothing
that is asked for is lost.
"""

import itertools
import multiprocessing
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import pytest
from sqlalchemy import text, update
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.errors import IdempotencyConflict
from app.services import lifecycle
from app.services.experiments import experiments
from app.services.lifecycle import Lease
from app.services.lifecycle.moves import tell_dependents
from app.services.submitting.idempotency import earlier, request_hash
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Attempt, Experiment, Run, StatusChange, Study
from tests.app.rows import create
from tests.databases import ON_POSTGRESQL

# a server of many, and a file whose writers take turns
PROCESSES, THREADS, RUNS = (4, 4, 500) if ON_POSTGRESQL else (4, 2, 100)
PRIORITIES = (0, 2, -1, 1, 0)
SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 1}
SCORES = {"best": {"epoch": 1, "val": {"loss": 0.5}}, "test": {"loss": 0.5, "accuracy": 0.9}}


@dataclass(frozen=True)
class Claimed:
    run_id: str
    fence: int
    priority: int


def submit(database: Database, runs: int, priority: int = 0) -> list[str]:
    with database.writing() as session:
        experiment = create(session, {**SPEC, "seeds": runs, "priority": priority})
        return [run.id for run in experiments.its_runs(session, experiment.id)]


def claim_one(database: Database, worker: str = "w") -> Lease:
    with database.writing() as session:
        lease = lifecycle.claim(session, worker)
    assert lease is not None
    return lease


def _work(home: str, name: str, barrier) -> list[Claimed]:
    """What a worker does, without training: claim and succeed until nothing is left."""
    database = Database(
        Settings(home=Path(home), _env_file=None).effective_database_url, busy_seconds=60
    )
    done = []
    barrier.wait()
    while True:
        with database.writing() as session:
            lease = lifecycle.claim(session, name)
            priority = (
                None
                if lease is None
                else session.exec(select(Run.priority).where(col(Run.id) == lease.run_id)).one()
            )
        if lease is None:
            break
        done.append(Claimed(lease.run_id, lease.fence, priority))
        with database.writing() as session:
            lifecycle.succeed(session, lease, **SCORES)
    database.close()
    return done


def _race(home: str, number: int, barrier, results) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for racer in [
            pool.submit(_work, home, f"w{number}.{thread}", barrier) for thread in range(THREADS)
        ]:
            results.put(racer.result())


@pytest.mark.costly
def test_workers_that_race_execute_each_run_once_and_the_urgent_first(
    settings: Settings, database: Database
) -> None:
    submitted = {
        run_id
        for priority in PRIORITIES
        for run_id in submit(database, RUNS // len(PRIORITIES), priority)
    }
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES * THREADS), context.Queue()
    racers = [
        context.Process(target=_race, args=(str(settings.home), number, barrier, results))
        for number in range(PROCESSES)
    ]
    for racer in racers:
        racer.start()
    claims = [results.get(timeout=110) for _ in range(PROCESSES * THREADS)]
    for racer in racers:
        racer.join()
    everything = list(itertools.chain.from_iterable(claims))
    assert len(everything) == len(submitted) == RUNS
    assert {claim.run_id for claim in everything} == submitted
    assert {claim.fence for claim in everything} == {1}
    for mine in claims:
        priorities = [claim.priority for claim in mine]
        assert priorities == sorted(priorities, reverse=True), (
            "whoever claims a run leaves none that is more urgent"
        )
    with database.reading() as session:
        assert set(session.exec(select(Run.status)).all()) == {RunStatus.SUCCEEDED}
        assert len(session.exec(select(Attempt)).all()) == RUNS
        assert Counter(change.to_status for change in session.exec(select(StatusChange))) == {
            "queued": RUNS,
            "running": RUNS,
            "succeeded": RUNS,
        }


def test_an_owner_never_has_more_runs_under_way_than_allowed_however_many_claim_at_once(
    database: Database,
) -> None:
    submit(database, 12)
    barrier = threading.Barrier(8)

    def claim(_: int) -> Lease | None:
        barrier.wait()
        with database.writing() as session:
            return lifecycle.claim(session, "w", max_running_per_owner=3)

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(claim, range(8)) if lease is not None]
    assert len(leases) == len({lease.run_id for lease in leases}) == 3


@pytest.mark.parametrize("kind", ["experiments", "studies"])
def test_requests_with_one_key_at_once_make_one_and_all_get_it(
    api: TestClient, database: Database, kind: str
) -> None:
    body = (
        {"epochs": 1}
        if kind == "experiments"
        else {"spec": {"epochs": 1}, "vary": {"model.depth": [1, 2]}}
    )
    barrier = threading.Barrier(6)

    def send(_: int) -> tuple[int, str]:
        barrier.wait()
        answer = api.post(f"/{kind}", json=body, headers={"Idempotency-Key": "the same"})
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert Counter(status for status, _ in answers) == {201: 1, 200: 5}
    assert len({made for _, made in answers}) == 1
    with database.reading() as session:
        assert len(session.exec(select(Experiment)).all()) == (1 if kind == "experiments" else 2)


@pytest.mark.parametrize("table", [Experiment, Study])
def test_the_second_of_two_requests_with_one_key_waits_until_the_first_has_ended(
    database: Database, table: type[Experiment] | type[Study]
) -> None:
    said: Queue[str] = Queue()

    def second() -> None:
        with database.writing() as session:
            found = earlier(session, table, "key", {"epochs": 2})
            said.put("nothing" if found is None else found.id)

    with database.writing() as session:
        assert earlier(session, table, "key", {}) is None
        other = threading.Thread(target=second)
        other.start()
        other.join(0.5)
        assert other.is_alive(), "it waits for this transaction"
    other.join(20)
    assert said.get(timeout=1) == "nothing"


def test_a_key_that_another_has_just_used_for_another_body_is_refused(database: Database) -> None:
    with database.writing() as session:
        assert earlier(session, Experiment, "key", {"epochs": 1}) is None
        create_with_key(session, {"epochs": 1}, "key")
    with pytest.raises(IdempotencyConflict), database.writing() as session:
        earlier(session, Experiment, "key", {"epochs": 2})


def create_with_key(session: Session, body: dict[str, object], key: str) -> None:
    experiment = create(session, body)
    experiment.idempotency_key = key
    experiment.request_hash = request_hash(body)


RETURNS = {
    "release": lambda session, lease, run: lifecycle.release(session, lease),
    "crashed": lambda session, lease, run: lifecycle.crashed(session, lease, "signal 9", 3),
    "reap": lambda session, lease, run: lifecycle.reap(
        session, run.id, run.fence, run.heartbeat, 3
    ),
}


@pytest.mark.parametrize("verb", RETURNS)
def test_a_cancel_that_comes_while_the_run_goes_back_to_the_queue_is_not_lost(
    database: Database, verb: str
) -> None:
    """Both look first and write then; whoever comes second must see what the first has written."""
    for _ in range(10):
        submit(database, 1)
        lease = claim_one(database)
        with database.reading() as session:
            run = session.get_one(Run, lease.run_id)
        barrier = threading.Barrier(2)

        def cancel(barrier: threading.Barrier = barrier, run_id: str = run.id) -> bool:
            barrier.wait()
            with database.writing() as session:
                return bool(lifecycle.cancel(session, [run_id]))

        def go_back(
            barrier: threading.Barrier = barrier, lease: Lease = lease, run: Run = run
        ) -> None:
            barrier.wait()
            with database.writing() as session:
                RETURNS[verb](session, lease, run)

        with ThreadPoolExecutor(2) as pool:
            cancelled, returned = pool.submit(cancel), pool.submit(go_back)
            returned.result()
            assert cancelled.result(), "a run that is queued or running can be cancelled"
        with database.reading() as session:
            assert session.get_one(Run, run.id).status == RunStatus.CANCELLED


@pytest.mark.postgresql
@pytest.mark.parametrize("verb", ["cancel", "retry", "resume"])
def test_an_end_and_a_verb_lock_teacher_and_students_in_one_order(
    database: Database, verb: str
) -> None:
    """The end of a teacher has its row and then wants its students'; the verb wants them all, the students by ids that
    come before the teacher's.
    """
    teacher, students = _teacher_and_students(database)
    began, blocked = threading.Event(), threading.Event()

    def ask() -> None:
        began.wait()
        with database.writing() as session:
            blocked.set()
            getattr(lifecycle, verb)(session, [*students, teacher])

    with ThreadPoolExecutor() as pool:
        asking = pool.submit(ask)
        with database.writing() as session:
            session.exec(select(Run).where(col(Run.id) == teacher).with_for_update()).one()
            began.set()
            blocked.wait()
            _wait_for_a_lock(database)
            tell_dependents(session, [teacher], RunStatus.FAILED)
        asking.result(timeout=30)


def _teacher_and_students(database: Database) -> tuple[str, list[str]]:
    """A teacher whose id is the last of all, and two that wait for it."""
    *students, teacher = sorted(submit(database, 3))
    columns = {"needs": teacher, "status_reason": StatusReason.WAITING_FOR_TEACHER}
    with database.writing() as session:
        session.execute(update(Run).where(col(Run.id).in_(students)).values(**columns))
    return teacher, students


def _wait_for_a_lock(database: Database) -> None:
    """Until another connection waits for a row."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(200):
        with database.engine.connect() as connection:
            if connection.execute(waiting).scalar_one():
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits")
