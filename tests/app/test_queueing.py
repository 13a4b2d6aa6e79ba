"""Who comes next: priority, then owners in turn, then age; and the queue as people see it."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.experiments import standing, waiting
from app.services.experiments.wholes import whole
from app.services.lifecycle import workers
from app.services.lifecycle.queueing import in_order
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Owner, Run, Worker, utc_now
from tests.app.rows import create
from tests.databases import renew_database

SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}


def submit(session: Session, owner: str, seeds: int = 1, priority: int = 0) -> list[str]:
    experiment = create(session, {**SPEC, "seeds": seeds, "priority": priority}, owner)
    return list(
        session.exec(
            select(Run.id)
            .where(col(Run.experiment_id) == experiment.id)
            .order_by(col(Run.position))
        )
    )


def claim_all(database: Database, **options: int) -> list[str]:
    """Every run in the order of claims; each claim in a transaction of its own, none finishing before the next."""
    claimed = []
    while True:
        with database.writing() as session:
            lease = lifecycle.claim(session, "w", **options)
        if lease is None:
            return claimed
        claimed.append(lease.run_id)


def claim_and_finish_all(database: Database) -> list[str]:
    """One worker: each run ends before the next is claimed."""
    claimed = []
    while True:
        with database.writing() as session:
            lease = lifecycle.claim(session, "w")
            if lease is None:
                return claimed
            lifecycle.fail(
                session,
                lease,
                {"code": "diverged", "message": "", "hint": "", "traceback_tail": ""},
            )
        claimed.append(lease.run_id)


def owners_of(database: Database, runs: list[str]) -> list[str]:
    with database.reading() as session:
        return [session.get_one(Run, run).owner for run in runs]


def test_owners_take_turns_on_one_worker_however_much_the_first_has_queued(
    database: Database,
) -> None:
    with database.writing() as session:
        submit(session, "ada", seeds=5)
        submit(session, "bob", seeds=2)
    assert owners_of(database, claim_and_finish_all(database)) == [
        "ada",
        "bob",
        "ada",
        "bob",
        "ada",
        "ada",
        "ada",
    ]


def test_whoever_has_fewer_runs_under_way_is_next(database: Database) -> None:
    with database.writing() as session:
        submit(session, "ada", seeds=3)
        first, second = (lifecycle.claim(session, "w") for _ in range(2))
        assert first is not None
        assert second is not None
        submit(session, "bob", seeds=3)
    assert owners_of(database, claim_all(database)) == ["bob", "bob", "ada", "bob"]


def test_priority_goes_before_fairness(database: Database) -> None:
    with database.writing() as session:
        submit(session, "ada", seeds=2, priority=1)
        submit(session, "bob", seeds=2)
    assert owners_of(database, claim_and_finish_all(database)) == ["ada", "ada", "bob", "bob"]


def test_a_limit_of_running_runs_per_owner_leaves_the_rest_queued(database: Database) -> None:
    with database.writing() as session:
        submit(session, "ada", seeds=4)
        submit(session, "bob", seeds=1)
    assert owners_of(database, claim_all(database, max_running_per_owner=2)) == [
        "ada",
        "bob",
        "ada",
    ]
    with database.reading() as session:
        assert lifecycle.queued_runs(session) == 2


def test_a_new_owner_joins_the_line_once(database: Database) -> None:
    for _ in range(2):
        with database.writing() as session:
            submit(session, "ada")
    with database.reading() as session:
        assert sorted(owner.name for owner in session.exec(select(Owner))) == ["ada", "local"]


SUBMISSIONS = st.lists(
    st.tuples(st.sampled_from(["ada", "bob", "cy"]), st.integers(1, 3), st.integers(-1, 1)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(before=SUBMISSIONS, claims=st.integers(0, 4), after=SUBMISSIONS)
def test_the_order_that_people_see_is_the_order_of_the_claims(
    before: list, claims: int, after: list
) -> None:
    with TemporaryDirectory() as folder:
        renew_database()
        database = open_database(Settings(home=Path(folder), _env_file=None))
        with database.writing() as session:
            for owner, seeds, priority in before:
                submit(session, owner, seeds, priority)
            for _ in range(claims):
                lifecycle.claim(session, "w")
            for owner, seeds, priority in after:
                submit(session, owner, seeds, priority)
        with database.reading() as session:
            foretold = [run.run_id for run in in_order(session)]
            places = waiting.queue(session)
            firsts = {place.experiment_id: place.position for place in reversed(places)}
            counted = {
                experiment_id: waiting.place_of(session, experiment_id) for experiment_id in firsts
            }
        assert [place.position for place in places] == list(range(1, len(foretold) + 1))
        assert {name: place and place.position for name, place in counted.items()} == firsts, (
            "counted as it is listed"
        )
        assert claim_all(database) == foretold
        database.close()


def is_any_to_take(database: Database, most_per_owner: int = 0) -> bool:
    with database.reading() as session:
        return lifecycle.is_any_to_take(session, most_per_owner, {"cpu"})


def test_a_worker_until_empty_stays_for_what_it_may_take_and_for_what_its_own_machine_trains(
    database: Database,
) -> None:
    assert not is_any_to_take(database)
    with database.writing() as session:
        submit(session, "ada", seeds=2)
        workers.register(session, worker("ours", "here", pid=7))
        workers.register(session, worker("theirs", "there", pid=7))
    assert is_any_to_take(database)
    with database.writing() as session:
        theirs = lifecycle.claim(session, "theirs")
    assert is_any_to_take(database)
    assert not is_any_to_take(database, most_per_owner=1), "whose owner has enough under way"
    with database.reading() as session:
        assert not workers.are_training(session, "here", [7])
    with database.writing() as session:
        ours = lifecycle.claim(session, "ours")
    assert not is_any_to_take(database)
    with database.reading() as session:
        assert workers.are_training(session, "here", [5, 7])
        assert not workers.are_training(session, "here", [])
    assert theirs is not None
    assert ours is not None
    with database.writing() as session:
        lifecycle.release(session, ours, StatusReason.WORKER_SHUTDOWN)
    assert is_any_to_take(database), "what was given back may be taken again"


def test_what_waits_for_a_teacher_that_another_machine_trains_keeps_no_worker(
    database: Database,
) -> None:
    with database.writing() as session:
        create(session, {"kind": "distill", "teacher": {"spec": SPEC}, "epochs": 2})
        workers.register(session, worker("ours", "here", pid=7))
        assert lifecycle.claim(session, "theirs") is not None
    assert not is_any_to_take(database)


def worker(name: str, host: str, pid: int) -> Worker:
    now = utc_now()
    return Worker(id=name, host=host, pid=pid, device="cpu", threads=1, started_at=now, seen_at=now)


def test_starts_are_estimated_from_what_runs_took_lately(database: Database) -> None:
    with database.writing() as session:
        for owner in ("ada", "bob"):
            submit(session, owner, seeds=2)
        session.add(
            Worker(
                id="w",
                host="h",
                pid=1,
                device="cpu",
                threads=1,
                started_at=utc_now(),
                seen_at=utc_now(),
            )
        )
    with database.reading() as session:
        assert {place.starts_at for place in waiting.queue(session)} == {None}, (
            "nothing is known before a run has ended"
        )
    with database.writing() as session:
        lease = lifecycle.claim(session, "w")
        assert lease is not None
        lifecycle.succeed(session, lease, best={}, test={"accuracy": 0.9})
    with database.reading() as session:
        starts = [place.starts_at for place in waiting.queue(session)]
        took = session.get_one(Run, lease.run_id)
    assert all(start is not None for start in starts)
    assert took.finished_at is not None
    assert took.started_at is not None
    each = (took.finished_at - took.started_at).total_seconds()
    gaps = [
        (later - earlier).total_seconds()
        for earlier, later in pairwise(starts)
        if earlier and later
    ]
    assert gaps == pytest.approx([each, each], abs=1e-3)


def test_all_who_poll_share_a_look_at_the_queue_and_what_came_since_is_found(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look_now = standing.standing

    def counted(session: Session, *speeds: Any) -> standing.Standing:
        nonlocal looks
        looks += 1
        return look_now(session, *speeds)

    for module in (standing, waiting):
        monkeypatch.setattr(module, "standing", counted)
    latest = standing.LatestStanding(seconds=60.0)

    def places(ids: list[str]) -> list[int | None]:
        with database.reading() as session:
            return [
                place and place.position
                for place in (waiting.place_of(session, one, latest) for one in ids)
            ]

    with database.writing() as session:
        early = [create(session, SPEC, owner).id for owner in ("ada", "bob", "cy")]
    assert places(early * 3) == [1, 2, 3] * 3
    assert looks == 1
    with database.writing() as session:
        late = create(session, SPEC, "dan").id
    assert places([late]) == [4], "whose run is not in what was seen looks again"
    assert looks == 2
    with database.writing() as session:
        lifecycle.claim(session, "w")
    assert places(early) == [None, 2, 3], "as it was a moment ago"
    with database.reading() as session:
        whole(session, late, look=counted)
    assert looks == 3, "a record looks once, for its reason and its place"
    soon = standing.LatestStanding(seconds=0.0)
    with database.reading() as session:
        assert [
            place and place.position
            for place in (waiting.place_of(session, one, soon) for one in early)
        ] == [None, 1, 2]


def test_the_queue_over_http(api: TestClient) -> None:
    first = api.post("/experiments", json={**SPEC, "seeds": 2}).json()
    urgent = api.post("/experiments", json={**SPEC, "priority": 5}).json()
    page = api.get("/queue").json()
    assert page["num_waiting"] == 3
    assert [
        (row["position"], row["experiment_id"], row["seed"], row["priority"], row["owner"])
        for row in page["data"]
    ] == [
        (1, urgent["id"], 0, 5, "local"),
        (2, first["id"], 0, 0, "local"),
        (3, first["id"], 1, 0, "local"),
    ]
    assert api.get(f"/experiments/{first['id']}").json()["queue"] == {
        "position": 2,
        "ahead": 1,
        "starts_at": None,
    }
    assert api.get("/queue?limit=1").json()["data"] == page["data"][:1]


def test_a_paused_run_is_not_in_the_queue(api: TestClient, database: Database) -> None:
    experiment = api.post("/experiments", json=SPEC).json()
    api.post(f"/experiments/{experiment['id']}/pause")
    assert api.get("/queue").json()["num_waiting"] == 0
    with database.writing() as session:
        assert lifecycle.claim(session, "w") is None
        assert session.exec(select(Run.status)).one() == RunStatus.PAUSED
