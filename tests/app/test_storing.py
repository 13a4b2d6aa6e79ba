"""Prepared while reading, stored in one short transaction: what may have changed in between, and what that transaction
costs.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.errors import Conflict, InvalidRequest, TooManyRuns
from app.main import create_app
from app.services import lifecycle
from app.services.analyses import reproduction
from app.services.datasets import datasets
from app.services.experiments import deletion, experiments, steering
from app.services.experiments.filtering import Filters
from app.services.lifecycle import verbs
from app.services.owners.keys import ANYONE
from app.services.studies import studies, study_extensions, study_steering, study_submissions
from app.services.studies.study_extensions import PreparedExtension
from app.services.studies.study_submissions import PreparedStudy
from app.services.submitting import submissions
from app.services.submitting.drafts import Stored
from app.services.submitting.submissions import Prepared
from app.settings import Settings
from app.storage.db import Database
from app.storage.files.places import file_store
from app.storage.tables import Experiment, Run, StatusChange, Study
from lab_models.specs import read_request
from lab_models.studies.request import read_study_request
from tests.app.studies import finish, grid, runs_by_cell, send
from tests.app.test_datasets_api import flowers, zipped
from tests.databases import writers_blocked

TRAIN: dict[str, Any] = {"model": {"hidden": [8]}, "epochs": 1}
STUDENT: dict[str, Any] = {"kind": "distill", "student": {"hidden": [4]}, "epochs": 1}
OF_A_SPEC: dict[str, Any] = {**STUDENT, "teacher": {"spec": TRAIN}}


def prepare(database: Database, settings: Settings, body: dict[str, Any]) -> Prepared:
    with database.reading() as session:
        return submissions.prepare(session, read_request(body), body, settings)


def store(
    database: Database, settings: Settings, prepared: Prepared, key: str | None = None
) -> Stored:
    with database.writing() as session:
        return submissions.store(session, prepared, settings, key)


def submit(database: Database, settings: Settings, body: dict[str, Any]) -> Experiment:
    return read(
        database, Experiment, store(database, settings, prepare(database, settings, body)).id
    )


def prepare_study(database: Database, settings: Settings, body: dict[str, Any]) -> PreparedStudy:
    with database.reading() as session:
        return study_submissions.prepare_study(session, read_study_request(body), body, settings)


def store_study(
    database: Database, settings: Settings, prepared: PreparedStudy, key: str | None = None
) -> Stored:
    with database.writing() as session:
        return study_submissions.store(session, prepared, settings, key)


def read(database: Database, table: Any, key: str) -> Any:
    with database.reading() as session:
        return session.get_one(table, key)


def run_of(database: Database, experiment: Experiment) -> Run:
    with database.reading() as session:
        return experiments.its_runs(session, experiment.id)[0]


def counted(database: Database) -> tuple[int, ...]:
    """How many experiments, runs and changes of status there are."""
    with database.reading() as session:
        return tuple(
            len(session.exec(select(table)).all()) for table in (Experiment, Run, StatusChange)
        )


def folders(settings: Settings) -> set[str]:
    return (
        {path.name for path in settings.runs_folder.iterdir()}
        if settings.runs_folder.exists()
        else set()
    )


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Within the block the statements that are executed, one for many rows counted once."""
    executed: list[str] = []

    def note(*arguments: Any) -> None:
        executed.append(arguments[2])

    event.listen(database.engine, "before_cursor_execute", note)
    yield executed
    event.remove(database.engine, "before_cursor_execute", note)


def wide(cells: int, **more: Any) -> dict[str, Any]:
    """A study of that many cells."""
    return {"spec": TRAIN, "vary": {"batch_size": list(range(16, 16 + cells))}, "seeds": 1, **more}


@pytest.mark.parametrize(
    ("path", "body"), [("/experiments", TRAIN), ("/experiments", OF_A_SPEC), ("/studies", grid())]
)
def test_a_dry_run_is_answered_while_somebody_else_writes(
    api: TestClient, settings: Settings, path: str, body: dict[str, Any]
) -> None:
    with writers_blocked(settings):
        answer = api.post(f"{path}?dry_run=true", json=body)
    assert (answer.status_code, answer.json()["valid"]) == (200, True)


def test_a_bad_study_is_refused_while_somebody_else_writes(
    api: TestClient, settings: Settings
) -> None:
    with writers_blocked(settings):
        assert api.post("/studies", json=grid(spec={"epochs": 0})).status_code == 422


def test_a_repeated_key_is_answered_while_somebody_else_writes_and_without_anything_being_prepared(
    api: TestClient, settings: Settings
) -> None:
    assert api.put("/datasets/flowers", content=zipped(flowers())).status_code == 201
    headers = {"Idempotency-Key": "k"}
    bodies = {
        "/experiments": {**TRAIN, "dataset": "flowers"},
        "/studies": {**wide(2), "spec": {**TRAIN, "dataset": "flowers"}},
    }
    made = {
        path: api.post(path, json=body, headers=headers).json()["id"]
        for path, body in bodies.items()
    }
    for path, found in made.items():
        api.post(f"{path}/{found}/cancel")
    assert api.delete("/datasets/flowers").status_code == 200
    with writers_blocked(settings):
        for path, body in bodies.items():
            again = api.post(path, json=body, headers=headers)
            assert (again.status_code, again.json()["id"]) == (200, made[path])


def test_a_study_of_many_cells_takes_as_few_statements_as_one_of_few(
    database: Database, settings: Settings
) -> None:
    taken = []
    for cells in (2, 40):
        prepared = prepare_study(database, settings, wide(cells, reuse=False)).with_files(
            file_store(settings)
        )
        with statements(database) as executed:
            store_study(database, settings, prepared)
        taken.append(len(executed))
    assert taken[0] == taken[1] < 14


def of_the_study(
    verb: Callable[[Session, Study], object],
) -> Callable[[Session, Study, Settings], object]:
    return lambda session, study, _: verb(session, study)


VERBS: dict[str, Callable[[Session, Study, Settings], object]] = {
    "pause": of_the_study(study_steering.pause),
    "resume": of_the_study(study_steering.resume),
    "cancel": of_the_study(study_steering.cancel),
    "retry": of_the_study(study_steering.retry),
    "extend": lambda session, study, settings: study_extensions.extend(
        session, study, PreparedExtension(study.id, 1, {}), settings
    ),
}


def test_a_verb_takes_as_few_statements_for_many_runs_as_for_few(
    database: Database, settings: Settings
) -> None:
    taken: dict[str, list[int]] = {verb: [] for verb in VERBS}
    for cells in (2, 40):
        made = store_study(
            database, settings, prepare_study(database, settings, wide(cells, reuse=False))
        )
        for verb, change in VERBS.items():
            with statements(database) as executed, database.writing() as session:
                change(session, studies.get(session, made.id), settings)
            taken[verb].append(len(executed))
    assert all(few == many < 18 for few, many in taken.values()), taken


def test_what_an_equal_study_takes_over_takes_as_few_statements_for_many_runs_as_for_few(
    database: Database, settings: Settings
) -> None:
    taken = []
    for cells in (2, 12):
        first = store_study(database, settings, prepare_study(database, settings, wide(cells)))
        finish(database, settings, first.id, {})
        prepared = prepare_study(database, settings, wide(cells)).with_files(file_store(settings))
        with statements(database) as executed:
            assert store_study(database, settings, prepared).num_queued == 0
        taken.append(len(executed))
    assert taken[0] == taken[1] < 24


def test_verbs_leave_the_same_history_as_if_each_run_had_been_named_alone(
    database: Database, settings: Settings
) -> None:
    made = store_study(database, settings, prepare_study(database, settings, wide(3)))
    for verb in ("pause", "resume", "cancel", "retry"):
        with database.writing() as session:
            VERBS[verb](session, studies.get(session, made.id), settings)
    with database.reading() as session:
        for run in session.exec(select(Run)):
            changes = session.exec(
                select(StatusChange)
                .where(col(StatusChange.run_id) == run.id)
                .order_by(col(StatusChange.id))
            ).all()
            assert [(change.from_status, change.to_status) for change in changes] == [
                (None, "queued"), ("queued", "paused"), ("paused", "queued"), ("queued", "cancelled"),
                ("cancelled", "queued"),
            ]  # fmt: skip


def test_a_dependent_outside_of_what_is_cancelled_fails_by_name_and_one_within_is_cancelled(
    database: Database, settings: Settings
) -> None:
    teacher = submit(database, settings, TRAIN)
    inside, outside = (
        submit(database, settings, {**STUDENT, "teacher": teacher.id, "epochs": epochs})
        for epochs in (1, 2)
    )
    runs = {
        name: run_of(database, one).id
        for name, one in (("teacher", teacher), ("inside", inside), ("outside", outside))
    }
    with database.writing() as session:
        assert set(lifecycle.cancel(session, [runs["teacher"], runs["inside"]])) == {
            runs["teacher"],
            runs["inside"],
        }
    ended = {name: read(database, Run, run_id) for name, run_id in runs.items()}
    assert {name: run.status_reason for name, run in ended.items()} == {
        "teacher": "cancelled_by_user",
        "inside": "cancelled_by_user",
        "outside": "teacher_failed",
    }
    assert runs["teacher"] in ended["outside"].error["message"]


def test_a_cancel_of_more_than_one_statement_takes_cancels_students_with_their_teacher(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "MOST_AT_ONCE", 2)
    students = [submit(database, settings, {**OF_A_SPEC, "seeds": 2}) for _ in range(2)]
    teacher = students[0].related["teacher_experiment"]
    with database.writing() as session:
        assert steering.cancel_all(session, Filters()) == [
            students[1].id,
            students[0].id,
            teacher,
        ]
    with database.reading() as session:
        assert set(session.exec(select(Run.status_reason))) == {"cancelled_by_user"}


@pytest.mark.parametrize("fate", ["cancelled", "deleted"])
def test_a_teacher_that_was_named_and_has_just_ended_is_refused_and_nothing_is_stored(
    database: Database, settings: Settings, fate: str
) -> None:
    teacher = submit(database, settings, TRAIN)
    run = run_of(database, teacher)
    prepared = prepare(database, settings, {**STUDENT, "teacher": run.id})
    with database.writing() as session:
        lifecycle.cancel(session, [run.id])
        if fate == "deleted":
            deletion.delete(session, session.get_one(Experiment, teacher.id))
    before = counted(database)
    with pytest.raises(InvalidRequest, match=f"has just (been )?{fate}"):
        store(database, settings, prepared)
    assert counted(database) == before


def test_an_origin_that_has_just_ended_is_refused_and_nothing_is_stored(
    database: Database, settings: Settings
) -> None:
    origin = submit(database, settings, TRAIN | {"seeds": [4, 7]})
    further = {"kind": "continue", "origin": origin.id, "seeds": [7, 4], "epochs": 2}
    prepared = prepare(database, settings, further)
    with database.writing() as session:
        lifecycle.cancel(session, [experiments.its_runs(session, origin.id)[1].id])
    before = counted(database)
    with pytest.raises(InvalidRequest, match="has just cancelled"):
        store(database, settings, prepared)
    assert counted(database) == before


def test_an_equal_teacher_that_has_appeared_meanwhile_is_built_on(
    database: Database, settings: Settings
) -> None:
    prepared = prepare(database, settings, OF_A_SPEC)
    teacher = submit(database, settings, TRAIN)
    student = read(database, Experiment, store(database, settings, prepared).id)
    assert student.related["teacher_experiment"] == teacher.id
    assert run_of(database, student).needs == run_of(database, teacher).id
    assert counted(database)[0] == 2


def test_an_equal_teacher_that_was_cancelled_meanwhile_is_trained_anew(
    database: Database, settings: Settings
) -> None:
    teacher = submit(database, settings, TRAIN)
    prepared = prepare(database, settings, OF_A_SPEC)
    with database.writing() as session:
        lifecycle.cancel(session, [run_of(database, teacher).id])
    student = read(database, Experiment, store(database, settings, prepared).id)
    made = read(database, Experiment, student.related["teacher_experiment"])
    assert (made.id != teacher.id, made.fingerprint, made.name) == (
        True,
        teacher.fingerprint,
        "teacher of a student",
    )
    assert (run_of(database, made).status, run_of(database, student).status_reason) == (
        "queued",
        "waiting_for_teacher",
    )


def test_cells_that_want_an_equal_teacher_share_the_one_that_is_made(
    database: Database, settings: Settings
) -> None:
    body = {"spec": OF_A_SPEC, "vary": {"alpha": [0.1, 0.5, 0.9]}, "seeds": 1}
    made = store_study(database, settings, prepare_study(database, settings, body))
    runs = runs_by_cell(database, made.id)
    assert len(runs) == 3
    assert len({run.needs for run in runs.values()}) == 1
    assert counted(database)[0] == 4


@pytest.mark.parametrize("again", [False, True], ids=["removed", "replaced"])
def test_a_data_set_that_goes_between_preparing_and_storing_leaves_nothing_stored(
    api: TestClient, database: Database, settings: Settings, again: bool
) -> None:
    api.put("/datasets/flowers", content=zipped(flowers()))
    body = {**TRAIN, "dataset": "flowers"}
    prepared, study = (
        prepare(database, settings, body),
        prepare_study(database, settings, {**wide(2), "spec": body}),
    )
    api.delete("/datasets/flowers")
    if again:
        api.put("/datasets/flowers", content=zipped(flowers()), params={"size": 8})
    with pytest.raises(Conflict, match=r"'flowers' has just been re(moved|placed by another)"):
        store(database, settings, prepared)
    with pytest.raises(Conflict, match="nothing was stored"):
        store_study(database, settings, study)
    assert counted(database) == (0, 0, 0)


def test_a_data_set_is_not_removed_while_what_needs_it_is_being_written(
    api: TestClient, database: Database, settings: Settings
) -> None:
    api.put("/datasets/flowers", content=zipped(flowers()))
    prepared = prepare(database, settings, {**TRAIN, "dataset": "flowers"})
    refused: list[str] = []

    def remove() -> None:
        try:
            with database.writing() as session:
                datasets.take_away(session, settings, ANYONE, "flowers")
        except Conflict as error:
            refused.append(str(error))

    other = threading.Thread(target=remove)
    with database.writing() as session:
        stored = submissions.store(session, prepared, settings)
        other.start()
        other.join(0.3)
        assert other.is_alive(), "it waits for this transaction"
    other.join(20)
    assert stored.id in refused[0]


def finished(database: Database, settings: Settings, cells: int = 2) -> Stored:
    made = store_study(database, settings, prepare_study(database, settings, wide(cells)))
    finish(database, settings, made.id, {})
    return made


class Interrupted(Exception):
    pass


def test_files_that_were_taken_go_when_the_transaction_fails(
    database: Database, settings: Settings
) -> None:
    finished(database, settings)
    before, rows = folders(settings), counted(database)
    prepared = prepare_study(database, settings, wide(2)).with_files(file_store(settings))
    assert len(folders(settings)) == 4

    def fail_after_all() -> None:
        with database.writing() as session:
            study_submissions.store(session, prepared, settings)
            raise Interrupted

    with pytest.raises(Interrupted):
        fail_after_all()
    assert (folders(settings), counted(database)) == (before, rows)


def test_files_that_were_taken_go_when_the_study_is_refused_or_was_made_already(
    database: Database, settings: Settings
) -> None:
    finished(database, settings)
    body = wide(3)
    made = store_study(
        database,
        settings,
        prepare_study(database, settings, body).with_files(file_store(settings)),
        "key",
    )
    before = folders(settings)
    again = prepare_study(database, settings, body).with_files(file_store(settings))
    assert len(folders(settings)) > len(before)
    assert store_study(database, settings, again, "key") == Stored(made.id, 0, is_new=False)
    assert folders(settings) == before
    full = prepare_study(database, settings, wide(5)).with_files(file_store(settings))
    with pytest.raises(TooManyRuns):
        store_study(database, settings.model_copy(update={"max_queued_per_owner": 1}), full)
    assert folders(settings) == before


def test_a_run_whose_source_is_deleted_meanwhile_is_queued_without_files(
    database: Database, settings: Settings
) -> None:
    first = finished(database, settings)
    prepared = prepare_study(database, settings, wide(2)).with_files(file_store(settings))
    with database.writing() as session:
        removed = studies.delete(session, studies.get(session, first.id))
    deletion.remove_files(file_store(settings), removed)
    made = store_study(database, settings, prepared)
    assert {run.status for run in runs_by_cell(database, made.id).values()} == {"queued"}
    assert (made.num_queued, folders(settings)) == (2, set())
    assert finish(database, settings, made.id, {}) == 2


def test_the_next_best_source_gives_its_files_where_the_first_ones_are_gone(
    database: Database, settings: Settings
) -> None:
    first = finished(database, settings, 1)
    second = store_study(
        database,
        settings,
        prepare_study(database, settings, wide(1)).with_files(file_store(settings)),
    )
    lost, left = (next(iter(runs_by_cell(database, one.id).values())) for one in (first, second))
    assert left.reused_from == lost.id
    deletion.remove_files(file_store(settings), [lost.id])
    made = store_study(
        database,
        settings,
        prepare_study(database, settings, wide(1)).with_files(file_store(settings)),
    )
    (run,) = runs_by_cell(database, made.id).values()
    assert (run.status, run.reused_from) == ("succeeded", lost.id)
    assert [path.name for path in (settings.runs_folder / run.id).rglob("*.safetensors")] == [
        "weights.safetensors"
    ]


def test_an_equal_study_trains_nothing_however_eagerly_workers_claim(
    api: TestClient, database: Database, settings: Settings
) -> None:
    finish(database, settings, send(api, **grid())["id"], {})
    claims: list[object] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.002):
            with database.writing() as session:
                claims.append(lifecycle.claim(session, "eager"))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(5):
            assert send(api, **grid())["progress"]["num_reused"] == 8
    finally:
        ended.set()
        worker.join(20)
    assert set(claims) == {None}


def test_two_extensions_that_were_prepared_at_once_add_different_seeds(
    database: Database, settings: Settings
) -> None:
    made = finished(database, settings)
    twin = store_study(
        database, settings, prepare_study(database, settings, wide(2, seeds=2, reuse=False))
    )
    finish(database, settings, twin.id, {})  # so that seed 1 of the first can be taken over
    study = read(database, Study, made.id)
    with database.reading() as session:
        prepared = [
            study_extensions.prepare_extension(session, study, 1, settings) for _ in range(2)
        ]
    for one in prepared:
        taken = one.with_files(file_store(settings))
        with database.writing() as session:
            assert (
                study_extensions.extend(session, studies.get(session, made.id), taken, settings)
                == 2
            )
    runs = runs_by_cell(database, made.id)
    assert {
        seed: {run.status_reason for (_, other), run in runs.items() if other == seed}
        for seed in range(3)
    } == {
        0: {"completed"},
        1: {"reused"},
        2: {"waiting_for_worker"},
    }
    with database.reading() as session:
        rows = set(session.exec(select(Run.id)))
    assert folders(settings) <= rows


def test_different_networks_are_bounded_by_their_layers_and_equal_ones_count_once(
    settings: Settings,
) -> None:
    deep = {"spec": {"model": {"arch": "mlp", "depth": 10, "width": 8}, "epochs": 1}, "seeds": 1}
    with TestClient(create_app(settings.model_copy(update={"max_study_layers": 30}))) as api:
        assert (
            api.post(
                "/studies?dry_run=true", json={**deep, "vary": {"batch_size": list(range(16, 56))}}
            ).status_code
            == 200
        )
        answer = api.post(
            "/studies?dry_run=true", json={**deep, "vary": {"model.depth": [10, 11, 12]}}
        )
    assert answer.status_code == 422
    assert "LAB_MAX_STUDY_LAYERS" in answer.json()["detail"]
    assert answer.json()["errors"][0]["hint"]


def test_a_verification_is_stored_only_while_its_data_set_and_its_teacher_are_there(
    api: TestClient, database: Database, settings: Settings
) -> None:
    api.put("/datasets/flowers", content=zipped(flowers()))
    made = store_study(
        database,
        settings,
        prepare_study(database, settings, {**wide(1), "spec": {**TRAIN, "dataset": "flowers"}}),
    )
    finish(database, settings, made.id, {})
    with database.reading() as session:
        original = session.exec(select(Experiment)).one()
        prepared = reproduction.prepare_verification(session, original, settings)
    assert api.delete("/datasets/flowers").status_code == 200
    with pytest.raises(Conflict, match="has just been removed"), database.writing() as session:
        reproduction.store_verification(session, prepared, settings)
    assert counted(database)[0] == 1


def test_links_are_made_before_the_lock_is_taken(database: Database, settings: Settings) -> None:
    """Whoever else writes meanwhile does not keep files from being taken."""
    finished(database, settings)
    prepared = prepare_study(database, settings, wide(2))
    with writers_blocked(settings):
        assert len(prepared.with_files(file_store(settings)).taken) == 2
