"""What a row of a list says: the record's own words and numbers, by as few statements for many rows as for one."""

from datetime import datetime
from typing import Any

from starlette.testclient import TestClient

from app.roles import Role
from app.services import lifecycle
from app.services.experiments import progress
from app.services.experiments.metrics import record_epoch
from app.services.experiments.standing import LatestStanding
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run
from lab_models.training.protocol import Progress
from tests.app.people import caller
from tests.app.studies import fail_next, finish_all
from tests.app.test_reads import statements

BODY = {"dataset": "digits", "model": {"hidden": [16, 8]}, "epochs": 4}
SAME = (
    "status",
    "status_reason",
    "status_message",
    "progress",
    "started_at",
    "finished_at",
    "owner",
    "labels",
    "name",
    "study_id",
    "fingerprint",
    "created_at",
)


def post(api: TestClient, **more: Any) -> str:
    answer = api.post("/experiments", json={**BODY, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def expect_rows_as_records(api: TestClient) -> dict[str, dict[str, Any]]:
    """Compares all, and returns the rows by id."""
    rows = {row["id"]: row for row in api.get("/experiments").json()["data"]}
    for one, row in rows.items():
        record = api.get(f"/experiments/{one}").json()
        assert {name: row[name] for name in SAME} == {name: record[name] for name in SAME}
        for shown, sheet in (("test", "test"), ("best_val", "val")):
            for name, mean in row[shown].items():
                summary = record["results"][sheet][name]
                assert mean == {part: summary[part] for part in ("mean", "ci95", "n")}
        assert set(row["test"]) == set(record["results"].get("test", {})) & {"accuracy"}
        assert row["seeds"]["done"] == sum(run["status"] == "succeeded" for run in record["runs"])
        assert row["seeds"]["all"] == len(record["runs"])
        assert row["parameters"] == record["estimate"]["parameters"]
        ends = [part["estimated_finish_at"] for part in (row, record)]
        assert (ends[0] is None) == (ends[1] is None)
        if ends[0] is not None:
            early, late = map(datetime.fromisoformat, ends)
            assert abs((late - early).total_seconds()) < 60
    return rows


def test_a_row_has_the_words_and_numbers_of_its_record(
    api: TestClient, database: Database, settings: Settings
) -> None:
    done = post(api, seeds=3, name="three seeds", labels={"week": "3"})
    finish_all(database, settings, {0: 0.9, 1: 0.92, 2: 0.91})
    post(api, seeds=2, epochs=5)
    fail_next(database)
    post(api, epochs=6, priority=3)
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker")
        assert lease is not None
        run = session.get_one(Run, lease.run_id)
        steps, training = run.num_steps, run.experiment_id
        progress.record_progress(session, lease, Progress(epoch=2, step=3, num_steps=steps))
        record_epoch(session, lease.run_id, 1, {"train": {"seconds": 2.0}})
    taught = {"kind": "distill", "teacher": {"spec": {**BODY, "epochs": 7}}, "dataset": "digits"}
    student = api.post("/experiments", json={**taught, "epochs": 2, "seeds": 2}).json()["id"]
    paused = post(api, epochs=8)
    api.post(f"/experiments/{paused}/pause")
    ada = caller(api, database, "ada")
    post(ada, epochs=9)
    post(ada, epochs=10, seeds=2)
    rows = expect_rows_as_records(ada)
    assert {row["status_reason"] for row in rows.values()} == {"no_worker_online"}
    rows = expect_rows_as_records(caller(api, database, "root", Role.ADMIN))
    assert rows[done]["test"]["accuracy"]["mean"] == 0.91
    assert rows[done]["test"]["accuracy"]["ci95"] is not None
    assert (rows[done]["dataset"], rows[done]["network"]) == ("digits", "mlp 16-8")
    assert rows[training]["estimated_finish_at"] is not None
    assert rows[student]["status_reason"] == "waiting_for_teacher"


def test_a_page_of_many_is_read_by_as_few_statements_as_one_of_few(
    api: TestClient, database: Database
) -> None:
    def executed() -> int:
        state: Any = api.app.state  # type: ignore[attr-defined]
        state.standing = LatestStanding(3600)
        api.get("/experiments")  # what is known of fingerprints and of the queue is known
        asked = statements(state.database)
        assert api.get("/experiments").status_code == 200
        return len([one for one in asked if "FROM api_key" not in one])

    def train_one() -> None:
        with database.writing() as session:
            lifecycle.claim(session, "worker")

    for _ in range(2):
        post(api)
    train_one()
    few = executed()
    for _ in range(8):
        post(api, seeds=2)
    train_one()
    assert executed() == few
