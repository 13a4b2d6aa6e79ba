"""What one owner may have: runs that wait, runs at a time, hours a week, disk; and what they have of it."""

import threading
from datetime import UTC, date, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.errors import TooManyRuns
from app.roles import Role
from app.services import lifecycle, quotas
from app.services.experiments import experiments
from app.services.lifecycle.queueing import in_order
from app.services.owners import granting, keys, limits
from app.services.quotas import HOUR, QuotaKind
from app.services.upkeep import telemetry
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Attempt, Owner, Run, TrainingDay, utc_now
from tests.app.people import caller
from tests.app.rows import create
from tests.app.test_api import require_problem
from tests.app.test_datasets_api import flowers, zipped
from training_lab.commands.output import show
from training_lab.commands.owners import owner_table

SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}


def give(database: Database, owner: str, **limits: float | None) -> None:
    with database.writing() as session:
        if session.get(Owner, owner) is None:
            session.add(Owner(name=owner))
            session.flush()
        granting.grant(session, owner, {QuotaKind(kind): most for kind, most in limits.items()})


def claim(database: Database, **options: int) -> lifecycle.Lease | None:
    with database.writing() as session:
        return lifecycle.claim(session, "w", **options)


def owners_claimed(database: Database, **options: int) -> list[str]:
    found = []
    while (lease := claim(database, **options)) is not None:
        with database.reading() as session:
            found.append(session.get_one(Run, lease.run_id).owner)
    return found


def train_for(database: Database, lease: lifecycle.Lease, hours: float, size: int = 0) -> None:
    """As if the attempt had begun so long ago; the run succeeds with files of so many bytes."""
    with database.writing() as session:
        session.execute(
            update(Attempt)
            .where(col(Attempt.run_id) == lease.run_id)
            .values(started_at=utc_now() - timedelta(hours=hours))
        )
        lifecycle.succeed(session, lease, best={}, test={}, artifact_bytes=size)


def test_a_quota_of_runs_at_a_time_is_the_owners_then_the_roles_then_the_settings(
    database: Database,
) -> None:
    with database.writing() as session:
        for owner in ("anna", "ben", "carl"):
            keys.create_key(session, owner, Role.SUBMIT if owner == "ben" else Role.ADMIN)
            create(session, {**SPEC, "seeds": 4}, owner)
        granting.grant_role(session, Role.SUBMIT, {QuotaKind.RUNNING: 2})
    give(database, "anna", running=1)
    assert sorted(owners_claimed(database, max_running_per_owner=3)) == [
        "anna",
        *["ben"] * 2,
        *["carl"] * 3,
    ]
    give(database, "anna", running=0)
    assert owners_claimed(database, max_running_per_owner=3) == ["anna"] * 3, "0 is no bound"


def test_the_mightiest_key_that_is_left_says_which_roles_quotas_hold(database: Database) -> None:
    with database.writing() as session:
        first, _ = keys.create_key(session, "anna", Role.ADMIN)
        second, _ = keys.create_key(session, "anna", Role.READ)
        keys.create_key(session, "anna", Role.SUBMIT)
        roles = [session.get_one(Owner, "anna").role]
        for key in (first, second):
            keys.revoke_key(session, key.id)
            roles.append(session.get_one(Owner, "anna").role)
        keys.revoke_keys_of(session, "anna")
        roles.append(session.get_one(Owner, "anna").role)
    assert roles == [Role.ADMIN, *[Role.SUBMIT] * 3], "the last one's stays when none is left"


def test_who_has_trained_as_long_as_they_may_waits_and_is_told_until_when(
    api: TestClient, database: Database
) -> None:
    anna = caller(api, database, "anna")
    ben = caller(api, database, "ben")
    give(database, "anna", hours=2 * HOUR)
    first = anna.post("/experiments", json=SPEC).json()
    lease = claim(database)
    assert lease is not None
    train_for(database, lease, hours=2.5)
    waiting = anna.post("/experiments", json={**SPEC, "epochs": 5}).json()
    assert anna.get(f"/experiments/{first['id']}").json()["status"] == "succeeded"
    assert waiting["status"] == "queued"
    assert waiting["status_reason"] == "waiting_for_hours"
    free = utc_now().astimezone(UTC).date() + timedelta(days=7)
    assert waiting["status_message"] == (
        f"Queued: anna has trained 2.5 of 2 hours in 7 days, so it starts on {free} at the earliest, unless an admin"
        " allows more: `lab keys quota anna --hours …`."
    )
    assert waiting["queue"] == {"position": None, "ahead": 0, "starts_at": None}
    other = ben.post("/experiments", json=SPEC).json()
    assert other["queue"]["position"] == 1, "nobody stands behind runs that do not start"
    assert [row["experiment_id"] for row in ben.get("/queue").json()["data"]] == [other["id"]]
    with database.reading() as session:
        assert lifecycle.queued_runs(session) == 1, "what no worker may take is not in the queue"
    assert owners_claimed(database) == ["ben"]
    with database.reading() as session:
        assert telemetry.oldest_wait_seconds(session) == 0
    give(database, "anna", hours=3 * HOUR)
    assert owners_claimed(database) == ["anna"]


def test_hours_come_free_day_by_day(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    today = utc_now().astimezone(UTC).date()
    give(database, "anna", hours=10 * HOUR)
    with database.writing() as session:
        create(session, SPEC, "anna")
        for days, hours in ((7, 50.0), (6, 1.0), (5, 4.0), (0, 6.0)):
            day = (today - timedelta(days=days)).isoformat()
            session.add(TrainingDay(owner="anna", day=day, seconds=hours * HOUR))
    with database.reading() as session:
        spent = quotas.out_of_hours(session)["anna"]
        assert (spent.seconds, spent.limit) == (11 * HOUR, 10 * HOUR), "not what is a week old"
        assert spent.until == today + timedelta(days=2), "one hour tomorrow is not enough"
        assert in_order(session) == []
    assert claim(database) is None
    later = utc_now() + timedelta(days=2)
    for module in ("app.services.quotas", "app.services.lifecycle.holding"):
        monkeypatch.setattr(f"{module}.utc_now", lambda: later)
    with database.reading() as session:
        assert quotas.out_of_hours(session) == {}
    assert claim(database) is not None


def test_every_end_of_an_attempt_counts_and_stays_when_the_run_is_deleted(
    api: TestClient, database: Database
) -> None:
    anna = caller(api, database, "anna")
    made = anna.post("/experiments", json=SPEC).json()["id"]
    for _ in range(2):
        lease = claim(database)
        assert lease is not None
        with database.writing() as session:
            session.execute(
                update(Attempt)
                .where(col(Attempt.number) == lease.attempt)
                .values(started_at=utc_now() - timedelta(hours=1))
            )
            lifecycle.release(session, lease)
    anna.post(f"/experiments/{made}/cancel")
    assert anna.delete(f"/experiments/{made}").status_code == 204
    owner = anna.get("/me").json()["owner"]
    assert owner["experiments"] == 0
    assert owner["training_hours"] == pytest.approx(2.0, abs=0.01)
    assert owner["training_hours_week"] == owner["training_hours"]


def test_more_runs_than_the_quota_are_refused_with_who_can_change_it(
    api: TestClient, database: Database
) -> None:
    anna = caller(api, database, "anna")
    give(database, "anna", queued=2)
    problem = require_problem(
        anna.post("/experiments", json={**SPEC, "seeds": 3}), 429, "too_many_runs"
    )
    assert problem["detail"] == (
        "this would make 3 waiting runs of anna, more than the 2 that anna may have; an admin changes it: `lab keys"
        " quota anna --queued …`; nothing was stored: wait until some have run, or cancel some"
    )
    assert anna.get("/experiments").json()["data"] == []
    give(database, "anna", queued=None)
    assert anna.post("/experiments", json={**SPEC, "seeds": 3}).status_code == 201


def test_two_submits_at_once_cannot_both_take_the_last_place(
    database: Database, settings: Settings
) -> None:
    with database.writing() as session:
        session.add(Owner(name="anna", max_queued=1))
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def submit(epochs: int) -> None:
        barrier.wait()
        try:
            with database.writing() as session:
                create(session, {**SPEC, "epochs": epochs}, "anna")
                limits.refuse_full_queue(session, "anna", settings)
            outcomes.append("stored")
        except TooManyRuns:
            outcomes.append("refused")

    for _ in range(5):
        outcomes.clear()
        threads = [threading.Thread(target=submit, args=(epochs,)) for epochs in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused", "stored"]
        with database.writing() as session:
            lifecycle.cancel(session, list(session.exec(select(Run.id))))


def test_files_count_for_a_quota_of_the_disk_which_refuses_submits_and_imports(
    api: TestClient, database: Database
) -> None:
    anna = caller(api, database, "anna")
    give(database, "anna", disk=20_000)
    anna.put("/datasets/mine", content=zipped(flowers())).raise_for_status()
    datasets = anna.get("/datasets/mine").json()["disk_bytes"]
    assert 0 < datasets < 20_000
    made = anna.post("/experiments", json=SPEC).json()["id"]
    lease = claim(database)
    assert lease is not None
    train_for(database, lease, hours=0, size=20_000 - datasets)
    owner = anna.get("/me").json()["owner"]
    assert (owner["dataset_bytes"], owner["artifact_bytes"]) == (datasets, 20_000 - datasets)
    problem = require_problem(
        anna.post("/experiments", json={**SPEC, "epochs": 9}), 507, "disk_quota"
    )
    assert problem["detail"].startswith(
        f"the files of anna take 20,000 bytes (data sets {datasets:,}, runs {20_000 - datasets:,}), of the 20,000 that"
        " anna may have; an admin changes it: `lab keys quota anna --disk …`."
    )
    require_problem(anna.put("/datasets/more", content=zipped(flowers())), 507, "disk_quota")
    assert anna.delete(f"/experiments/{made}").status_code == 204
    assert anna.post("/experiments", json={**SPEC, "epochs": 9}).status_code == 201


def test_a_run_that_takes_results_over_counts_their_files(database: Database) -> None:
    with database.writing() as session:
        giver = create(session, SPEC, "anna").id
    lease = claim(database)
    assert lease is not None
    train_for(database, lease, hours=0, size=4321)
    with database.writing() as session:
        taker = experiments.its_runs(session, create(session, SPEC, "ben").id)[0].id
        assert lifecycle.take_over(session, {taker: lease.run_id}) == [taker]
        session.expire_all()
        assert session.get_one(Run, taker).artifact_bytes == 4321
        assert [run.artifact_bytes for run in experiments.its_runs(session, giver)] == [4321]


def test_owners_are_shown_to_readers_and_admins_and_to_others_themselves(
    api: TestClient, database: Database
) -> None:
    anna, ben = caller(api, database, "anna"), caller(api, database, "ben")
    reader = caller(api, database, "assistant", Role.READ)
    admin = caller(api, database, "instructor", Role.ADMIN)
    anna.post("/experiments", json={**SPEC, "seeds": 2})
    for client, names in (
        (anna, ["anna"]),
        (ben, ["ben"]),
        (reader, ["anna", "assistant", "ben", "instructor", "local"]),
        (admin, ["anna", "assistant", "ben", "instructor", "local"]),
    ):
        assert [row["name"] for row in client.get("/owners").json()["data"]] == names
    row = next(row for row in reader.get("/owners").json()["data"] if row["name"] == "anna")
    assert row == anna.get("/me").json()["owner"]
    assert (row["role"], row["keys"], row["experiments"], row["runs"]) == (
        "submit",
        1,
        1,
        {"queued": 2},
    )
    assert date.fromisoformat(row["last_submitted_at"][:10]) == utc_now().astimezone(UTC).date()
    assert row["quotas"]["queued"] == {"limit": 10_000, "set_for": "all"}
    assert isinstance(row["quotas"]["queued"]["limit"], int)
    assert row["quotas"]["hours"] == {"limit": None, "set_for": "all"}


def test_who_needs_no_key_is_local_and_an_admin(api: TestClient) -> None:
    me = api.get("/me").json()
    assert (me["role"], me["key_id"], me["owner"]["name"], me["owner"]["role"]) == (
        "admin",
        None,
        "local",
        None,
    )


def test_an_admin_changes_quotas_over_http_and_nobody_else(
    api: TestClient, database: Database
) -> None:
    anna = caller(api, database, "anna")
    admin = caller(api, database, "instructor", Role.ADMIN)
    body: dict[str, Any] = {"quotas": {"running": 2, "hours": 1.5, "disk_bytes": 0}}
    changed = admin.patch("/owners/anna", json=body)
    assert changed.status_code == 200
    assert changed.json()["quotas"] == {
        "queued": {"limit": 10_000, "set_for": "all"},
        "running": {"limit": 2, "set_for": "owner"},
        "hours": {"limit": 1.5, "set_for": "owner"},
        "disk_bytes": {"limit": None, "set_for": "owner"},
    }
    back = admin.patch("/owners/anna", json={"quotas": {"hours": None}}).json()
    assert back["quotas"]["hours"] == {"limit": None, "set_for": "all"}
    assert back["quotas"]["running"]["limit"] == 2
    require_problem(anna.patch("/owners/anna", json=body), 403, "forbidden")
    require_problem(anna.patch("/owners/ben", json=body), 404, "not_found")
    problem = require_problem(admin.patch("/owners/ana", json=body), 404, "not_found")
    assert "did you mean 'anna'?" in problem["detail"]
    for bad in ({}, {"quotas": {}}, {"quotas": {"running": -1}}, {"quotas": {"runing": 1}}):
        require_problem(admin.patch("/owners/anna", json=bad), 422, "invalid_request")


def test_what_owners_have_is_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    owner = {
        "name": "anna",
        "role": "submit",
        "experiments": 1,
        "runs": {"queued": 3, "succeeded": 1200},
        "training_hours": 12.34,
        "training_hours_week": 1.26,
        "dataset_bytes": 1_000_000,
        "artifact_bytes": 400_000,
        "last_submitted_at": "2026-11-29T10:11:12Z",
        "quotas": {
            "queued": {"limit": 50},
            "running": {"limit": None},
            "hours": {"limit": 2.0},
            "disk_bytes": {"limit": 5e9},
        },
    }
    show(owner_table([owner]))
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["owner", "role"]
    for cell in ("1,200", "3 of 50", "1.3 of 2", "12.3", "1.4 MB of 5.0 GB", "2026-11-29 10:11"):
        assert cell in row
