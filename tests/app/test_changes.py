"""Changes are numbered in the order in which they become visible, whatever statement made them."""

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import text, update
from sqlmodel import Session, col, select

from app.services import lifecycle
from app.services.experiments import changes, deletion, experiments, steering, tombstones
from app.services.experiments.changes import Scope
from app.services.lifecycle import workers
from app.storage.changes import NUMBERED, UNNUMBERED
from app.storage.db import Database
from app.storage.tables import Experiment, Run, Tombstone, utc_now
from tests.app.rows import create
from tests.databases import ON_POSTGRESQL

SMALL = {"dataset": "digits", "epochs": 3}
WRITERS, WRITES = 4, 250 if ON_POSTGRESQL else 25


def latest(database: Database) -> int:
    with database.reading() as session:
        return changes.latest(session)


def found(database: Database, after: int, scope: Scope | None = None) -> list[tuple[str, str]]:
    with database.reading() as session:
        return [(one.kind, one.id) for one in changes.since(session, scope or Scope(), after)]


def submit(database: Database, owner: str = "local", seeds: int = 1) -> tuple[str, list[str]]:
    with database.writing() as session:
        experiment = create(session, {**SMALL, "seeds": seeds}, owner)
        return experiment.id, [run.id for run in experiments.its_runs(session, experiment.id)]


def test_every_change_of_a_run_has_the_next_number_and_a_sign_of_life_is_none(
    database: Database,
) -> None:
    experiment_id, _ = submit(database, seeds=2)
    with database.writing() as session:
        lease = lifecycle.claim(session, "w")
    assert lease is not None

    def edit(session: Session) -> None:
        steering.edit(session, session.get_one(Experiment, experiment_id), {"name": "new"})

    steps: list[tuple[Callable[[Session], object], set[tuple[str, str]]]] = [
        (lambda s: lifecycle.renew(s, lease), set()),
        (lambda s: lifecycle.try_to_write(s), set()),
        (lambda s: workers.show(s, "w"), set()),
        (lambda s: lifecycle.renew(s, lease, lifecycle.Progressed(1)), {("run", lease.run_id)}),
        (lambda s: lifecycle.renew(s, lease, lifecycle.Measured()), {("run", lease.run_id)}),
        (edit, set()),
        (lambda s: lifecycle.cancel(s, [lease.run_id]), {("run", lease.run_id)}),
        (lambda s: lifecycle.confirm_cancel(s, lease), {("run", lease.run_id)}),
        (lambda s: lifecycle.retry(s, [lease.run_id]), {("run", lease.run_id)}),
    ]
    for step, runs in steps:
        before = latest(database)
        with database.writing() as session:
            step(session)
        is_change = bool(runs) or step is edit
        assert latest(database) == before + is_change
        expected = runs | ({("experiment", experiment_id)} if is_change else set())
        assert set(found(database, before)) == expected
    assert found(database, latest(database)) == []


def test_what_is_rolled_back_has_no_number_and_leaves_nothing_to_the_next(
    database: Database,
) -> None:
    experiment_id, (run_id,) = submit(database)
    before = latest(database)
    with suppress(RuntimeError), database.writing() as session:
        session.execute(update(Run).values(priority=3))
        raise RuntimeError
    with database.writing() as session:
        workers.show(session, "w")
    assert latest(database) == before
    with database.writing() as session:  # a bulk statement that knows nothing of numbers
        session.connection().execute(update(Run.__table__).values(priority=3))  # type: ignore[attr-defined]
    assert found(database, before) == [("run", run_id), ("experiment", experiment_id)]
    with database.reading() as session:
        for table in NUMBERED:
            count = f"SELECT count(*) FROM {table} WHERE change = {UNNUMBERED}"
            assert session.execute(text(count)).scalar_one() == 0


def test_a_scope_holds_what_is_its_own_and_a_deletion_is_told_for_a_day(database: Database) -> None:
    ours, runs = submit(database, "ada", seeds=2)
    theirs, _ = submit(database, "bob")
    assert found(database, 0, Scope(owner="ada")) == [
        *(("run", run) for run in sorted(runs)),
        ("experiment", ours),
    ]
    assert found(database, 0, Scope(owner="ada", seen_by="bob")) == []
    assert found(database, 0, Scope(experiments=frozenset({theirs})))[-1] == ("experiment", theirs)
    before = latest(database)
    with database.writing() as session:
        lifecycle.cancel(session, runs)
    with database.writing() as session:
        deletion.delete(session, session.get_one(Experiment, ours))
    for scope in (Scope(), Scope(owner="ada"), Scope(experiments=frozenset({ours}))):
        assert found(database, before, scope) == [("deleted", ours)]
        with database.reading() as session:
            assert changes.is_over(session, scope) == (scope != Scope())
    assert found(database, before, Scope(seen_by="bob")) == []
    with database.writing() as session:
        session.execute(update(Tombstone).values(at=utc_now() - timedelta(days=2)))
    gone = latest(database)
    for name in ("exp_1", "exp_2"):
        with database.writing() as session:
            tombstones.leave(session, [Tombstone(id=name, kind="experiment")])
    with database.reading() as session:  # the newest old one says since when all are known
        assert tombstones.horizon(session) == gone
        assert len(session.exec(select(Tombstone)).all()) == 3


def test_a_reader_skips_no_change_however_many_write(database: Database) -> None:
    """Each writer counts its own row up. A reader that follows the numbers sees every row's last state, none of a
    number that it has passed, and at the end as many changes as there were.
    """
    runs = submit(database, seeds=WRITERS)[1]
    begun = at = latest(database)
    failed: list[Exception] = []

    def write(run_id: str) -> None:
        try:
            for count in range(1, WRITES + 1):
                with database.writing() as session:
                    session.execute(
                        update(Run).where(col(Run.id) == run_id).values(epochs_done=count)
                    )
        except Exception as error:  # noqa: BLE001 - what a thread raises is nobody's
            failed.append(error)

    threads = [threading.Thread(target=write, args=(run_id,)) for run_id in runs]
    for thread in threads:
        thread.start()
    seen: dict[str, int] = {}
    while True:
        is_last = not any(thread.is_alive() for thread in threads)
        with database.reading() as session:
            number = changes.latest(session)
            for run_id, change, count in session.execute(
                select(Run.id, Run.change, Run.epochs_done).where(col(Run.change) > at)
            ):
                assert at < (change or 0) <= number
                seen[run_id] = count
            counted = dict(session.execute(select(Run.id, Run.epochs_done)).all())
        assert counted == {run_id: seen.get(run_id, 0) for run_id in runs}, (
            "what was not read again has not changed"
        )
        at = number
        if is_last:
            break
    assert failed == []
    assert at == begun + WRITERS * WRITES


WEEK_3 = Scope(labels=(("week", "3"),))


def edit(database: Database, experiment_id: str, **changes: object) -> None:
    with database.writing() as session:
        steering.edit(session, session.get_one(Experiment, experiment_id), changes)


def labeled(database: Database, seeds: int = 1, **labels: str) -> tuple[str, list[str]]:
    with database.writing() as session:
        made = create(session, {**SMALL, "seeds": seeds, "labels": labels})
        return made.id, sorted(run.id for run in experiments.its_runs(session, made.id))


def test_who_watches_a_label_is_told_what_has_it_what_gets_it_and_what_has_it_no_more(
    database: Database,
) -> None:
    mine, my_runs = labeled(database, seeds=2, week="3", by="ada")
    other, (its_run,) = labeled(database, week="4")
    assert found(database, 0, WEEK_3) == [*(("run", one) for one in my_runs), ("experiment", mine)]
    start = latest(database)
    edit(database, other, labels={"week": "3"})
    gets_it = [("run", its_run), ("experiment", other)]
    assert found(database, start, WEEK_3) == gets_it
    assert found(database, start) == gets_it[1:]  # to all others its runs are as they were
    assert found(database, start, Scope(labels=(("week", "4"),))) == [("left", other)]
    middle = latest(database)
    edit(database, mine, labels={"week": None})
    assert found(database, middle, WEEK_3) == [("left", mine)]
    assert found(database, start, WEEK_3) == [*gets_it, ("left", mine)]
    assert found(database, middle, Scope(labels=WEEK_3.labels, seen_by="bob")) == []
    assert found(database, 0, Scope(labels=(*WEEK_3.labels, ("by", "ada")))) == []
    last = latest(database)
    with database.writing() as session:
        lifecycle.cancel(session, [*my_runs, its_run])
    assert found(database, last, WEEK_3) == gets_it
    with database.writing() as session:
        deletion.delete(session, session.get_one(Experiment, other))
    assert found(database, last, WEEK_3) == [("deleted", other)]


def test_whoever_comes_again_at_any_time_knows_what_has_the_label_now(database: Database) -> None:
    """Labels come and go, and who is told only what changed since they last looked has what is there."""
    chance = random.Random(3)
    there: dict[str, bool] = {}
    followers: list[tuple[list[int], dict[str, set[str]]]] = [([0], {}) for _ in range(3)]

    def look(number: list[int], known: dict[str, set[str]]) -> None:
        with database.reading() as session:
            for one in changes.since(session, WEEK_3, number[0]):
                if one.kind == "run":
                    known.setdefault(one.experiment_id or "", set()).add(one.id)
                elif one.kind == "experiment":
                    known.setdefault(one.id, set())
                else:
                    known.pop(one.id, None)
            number[0] = changes.latest(session)
            for run in session.exec(select(Run)):
                assert (run.id in known.get(run.experiment_id, ())) == there[run.experiment_id]
        assert set(known) == {one for one, has_it in there.items() if has_it}

    for _ in range(40):
        if len(there) < 4 or chance.random() < 0.1:
            has_it = chance.random() < 0.5
            there[labeled(database, seeds=2, week="3" if has_it else "4")[0]] = has_it
        one = chance.choice(sorted(there))
        match chance.randrange(4):
            case 0 | 1:
                there[one] = not there[one]
                edit(database, one, labels={"week": "3" if there[one] else None})
            case 2:
                edit(database, one, name=f"called {chance.random()}")
            case _:
                with database.writing() as session:
                    lifecycle.cancel(
                        session, [run.id for run in experiments.its_runs(session, one)]
                    )
                    if chance.random() < 0.5:
                        deletion.delete(session, session.get_one(Experiment, one))
                        del there[one]
        for number, known in followers:
            if chance.random() < 0.3:
                look(number, known)
    for number, known in followers:
        look(number, known)
