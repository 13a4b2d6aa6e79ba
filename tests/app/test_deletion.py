"""Delete: rows and files go together, never one that something depends on."""

import logging
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.errors import HasDependents, NotFinished, NotFound
from app.services import lifecycle
from app.services.experiments import deletion, experiments, progress
from app.services.lifecycle import LeaseLost
from app.settings import Settings
from app.storage.db import Database
from app.storage.files.folder import Folder
from app.storage.tables import Experiment, Metric, metadata
from lab_models.specs import CONTROLS, ROLES
from lab_models.specs.request import REQUESTS
from tests.app.rows import create
from tests.app.test_retry import STUDENT, TRAIN, begin, fail, finish_epoch, record, submit, succeed

TRANSFER = {"kind": "transfer", "dataset": "digits", "strategy": "linear_probe", "epochs": 1}


def delete(api: TestClient, experiment: Any) -> None:
    answer = api.delete(f"/experiments/{experiment['id']}")
    assert (answer.status_code, answer.content) == (204, b""), answer.text


def refused(api: TestClient, experiment: Any) -> tuple[str, str]:
    """Code and detail of a deletion that is 409 and has changed nothing."""
    before = record(api, experiment)
    answer = api.delete(f"/experiments/{experiment['id']}")
    assert answer.status_code == 409, answer.text
    assert record(api, experiment) == before
    return answer.json()["code"], answer.json()["detail"]


STAYS = {"owner", "training_day", "change_counter", "tombstone", "webhook_sender"}


def rows(database: Database) -> dict[str, int]:
    """How many rows each table has, those that are empty left out, and what stays of owners: their
    names, and how long they have trained.
    """
    with database.reading() as session:
        counts = {
            name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata().tables.items()
        }
    return {name: count for name, count in counts.items() if count and name not in STAYS}


def write_files(settings: Settings, run_id: str) -> Path:
    folder = settings.runs_folder / run_id
    (folder / "attempt-1").mkdir(parents=True)
    (folder / "attempt-1" / "weights.safetensors").write_bytes(b"weights")
    return folder


def test_rows_and_files_go_together_and_others_stay(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first, second = submit(api, {**TRAIN, "seeds": 2}), submit(api, TRAIN)
    for experiment_leases in (2, 1):
        for _ in range(experiment_leases):
            lease = begin(database)
            finish_epoch(database, lease, 1)
            finish_epoch(database, lease, 2)
            if lease.run_id == first["runs"][1]["id"]:
                fail(database, lease)  # keeps its checkpoints, has no artifacts
            else:
                succeed(database, lease)
    folders = [write_files(settings, run["id"]) for run in [*first["runs"], *second["runs"]]]
    before = rows(database)
    assert (
        before["experiment"],
        before["run"],
        before["attempt"],
        before["checkpoint"],
        before["artifact"],
    ) == (2, 3, 3, 2, 2)
    assert [record(api, experiment)["disk_bytes"] for experiment in (first, second)] == [
        2 * 1000 + 7,
        7,
    ]
    delete(api, first)
    assert [folder.exists() for folder in folders] == [False, False, True]
    assert rows(database) == {
        "experiment": 1,
        "experiment_summary": 1,
        "run": 1,
        "attempt": 1,
        "artifact": 1,
        "metric": before["metric"] // 3,
        "status_change": 3,
    }
    with database.reading() as session:
        assert set(session.exec(select(Metric.run_id))) == {second["runs"][0]["id"]}
    assert api.delete(f"/experiments/{first['id']}").status_code == 404
    assert api.get(f"/runs/{first['runs'][0]['id']}").status_code == 404
    delete(api, second)
    assert rows(database) == {}
    assert list(settings.runs_folder.iterdir()) == []


def test_what_is_not_finished_is_cancelled_first(api: TestClient, database: Database) -> None:
    experiment = submit(api, {**TRAIN, "seeds": 2})
    sentence = (
        f"experiment {experiment['id']} has runs that are not finished; cancel it first, or wait"
    )
    assert refused(api, experiment) == ("not_finished", sentence)
    lease = begin(database)
    assert refused(api, experiment) == ("not_finished", sentence)
    api.post(f"/experiments/{experiment['id']}/cancel")
    assert refused(api, experiment) == ("not_finished", sentence), (
        "the worker has not confirmed it yet"
    )
    with database.writing() as session:
        lifecycle.confirm_cancel(session, lease)
    delete(api, experiment)


def test_a_teacher_stays_as_long_as_a_student_does(api: TestClient, database: Database) -> None:
    student = submit(api, {**STUDENT, "teacher": {"spec": TRAIN}, "seeds": 2})
    other = submit(api, {**STUDENT, "teacher": student["related"]["teacher_run"]})
    teacher = {"id": student["related"]["teacher_experiment"]}
    succeed(database, begin(database))
    for experiment in (student, other):
        api.post(f"/experiments/{experiment['id']}/cancel")
    named = ", ".join(sorted([student["id"], other["id"]]))
    assert refused(api, teacher) == (
        "has_dependents",
        f"experiment {named} builds on a run that would be deleted; delete that first",
    )
    delete(api, student)
    assert other["id"] in refused(api, teacher)[1]
    delete(api, other)
    delete(api, teacher)
    assert rows(database) == {}


@pytest.mark.parametrize(
    ("body", "control"),
    [
        ({**STUDENT, "teacher": {"spec": TRAIN}, "baseline": True}, "baseline"),
        ({**TRANSFER, "source": {"spec": TRAIN}, "from_scratch": True}, "from_scratch"),
    ],
)
def test_a_control_stays_as_long_as_what_is_compared_with_it(
    api: TestClient, database: Database, body: Any, control: str
) -> None:
    experiment = submit(api, body)
    beside = [
        {"id": experiment["related"][name]}
        for name in (f"{ROLES[body['kind']]}_experiment", control)
    ]
    for one in (*beside, experiment):
        api.post(f"/experiments/{one['id']}/cancel")
    assert refused(api, beside[1]) == (
        "has_dependents",
        f"experiment {experiment['id']} is compared with what would be deleted; delete that first",
    )
    delete(api, experiment)
    assert rows(database)["experiment"] == 2, "what was made beside it is not deleted with it"
    for one in beside:
        delete(api, one)


def test_every_control_there_can_be_is_known() -> None:
    assert set(CONTROLS) == {REQUESTS[kind].control for kind in ROLES} - {None}


def test_a_cell_of_a_study_is_deleted_with_its_study_alone(database: Database) -> None:
    experiment = Experiment(study_id="stu_1")
    with database.writing() as session, pytest.raises(HasDependents, match="cell of study stu_1"):
        deletion.delete(session, experiment)


def cancelled_distillation(session: Session) -> list[Experiment]:
    """Student, teacher and baseline, all cancelled."""
    student = create(session, {**STUDENT, "teacher": {"spec": TRAIN}, "baseline": True})
    together = [
        student,
        *(
            experiments.get(session, student.related[name])
            for name in ("teacher_experiment", "baseline")
        ),
    ]
    for experiment in reversed(together):
        for run in experiments.its_runs(session, experiment.id):
            lifecycle.cancel(session, [run.id])
    session.expire_all()
    return together


def test_what_depends_on_each_other_is_deleted_together_or_not_at_all(database: Database) -> None:
    with database.writing() as session:
        student, teacher, baseline = together = cancelled_distillation(session)
        assert deletion.refusals(session, together) == []
        assert deletion.refusals(session, [teacher, baseline]) == [
            f"experiment {student.id} builds on a run that would be deleted; delete that first",
            f"experiment {student.id} is compared with what would be deleted; delete that first",
        ]
        with pytest.raises(HasDependents):
            deletion.delete_together(session, [teacher, baseline])
        unfinished = create(session, TRAIN)
        with pytest.raises(NotFinished, match=unfinished.id):
            deletion.delete_together(session, [*together, unfinished])
    assert rows(database)["experiment"] == 4
    with database.writing() as session:
        assert len(deletion.delete_together(session, together)) == 3
        assert deletion.delete_together(session, []) == []
    assert rows(database) == {
        "experiment": 1,
        "experiment_summary": 1,
        "run": 1,
        "status_change": 1,
    }


def test_a_second_deletion_finds_nothing(database: Database) -> None:
    with database.writing() as session:
        student, *_ = cancelled_distillation(session)
        deletion.delete(session, student)
        with pytest.raises(NotFound, match="has just been deleted"):
            deletion.delete(session, student)


def test_many_dependents_are_named_by_their_first() -> None:
    assert deletion._listed(list("abc")) == "experiment a, b, c"
    assert deletion._listed(list("abcdefg")) == "experiment a, b, c, d, e and 2 more"


def test_a_zombie_of_a_deleted_run_is_refused_and_writes_no_row(
    api: TestClient, database: Database, settings: Settings
) -> None:
    experiment = submit(api, TRAIN)
    zombie = begin(database)
    api.post(f"/experiments/{experiment['id']}/cancel")
    with database.writing() as session:
        run = experiments.get_run(session, zombie.run_id)
        assert lifecycle.reap(session, run.id, run.fence, run.heartbeat, 3) == "cancelled"
    delete(api, experiment)
    with pytest.raises(LeaseLost):
        finish_epoch(database, zombie, 1)
    with pytest.raises(LeaseLost):
        fail(database, zombie)
    with pytest.raises(LeaseLost), database.writing() as session:
        lifecycle.crashed(session, zombie, "signal 9", 3)
    with database.writing() as session:
        progress.record_first_step(session, zombie)
        assert lifecycle.reap(session, zombie.run_id, zombie.fence, 1, 3) is None
        assert not lifecycle.retry(session, [zombie.run_id])
    assert rows(database) == {}


def test_folders_that_are_not_there_or_cannot_go_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere, runs = tmp_path / "elsewhere", tmp_path / "runs"
    (elsewhere / "kept").mkdir(parents=True)
    (runs / "run_plain" / "attempt-1").mkdir(parents=True)
    (runs / "run_link").symlink_to(elsewhere)
    with caplog.at_level(logging.WARNING, logger="lab.files"):
        deletion.remove_files(Folder(tmp_path), ["run_none", "run_link", "run_plain"])
    assert (elsewhere / "kept").exists(), "a link is not followed"
    assert not (runs / "run_plain").exists()
    assert [logged.args[0].name for logged in caplog.records] == ["run_link"]


def test_a_deletion_that_is_rolled_back_removes_no_file(
    api: TestClient, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = submit(api, TRAIN)
    api.post(f"/experiments/{experiment['id']}/cancel")
    folder = write_files(settings, experiment["runs"][0]["id"])

    def no_commit(_session: Session) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", no_commit)
        assert api.delete(f"/experiments/{experiment['id']}").status_code == 500
    assert folder.exists()
    assert record(api, experiment)["status"] == "cancelled"
    with database.reading() as session:
        assert session.exec(
            select(Experiment.id).where(col(Experiment.id) == experiment["id"])
        ).one()
