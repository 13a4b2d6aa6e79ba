"""Results that are taken over are those that training would give: with whatever lies below a run, and wherever and how
it was trained.
"""

from typing import Any

import pytest
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.services.experiments import deletion
from app.services.studies import study_submissions
from app.services.studies.study_submissions import PreparedStudy
from app.settings import Settings
from app.storage.db import Database
from app.storage.files.places import file_store
from app.storage.tables import Experiment, Run, Worker, utc_now
from lab_models.common.revision import torch_version
from lab_models.common.validation import validate
from lab_models.studies.request import StudyRequest
from tests.app.studies import finish, grid, runs_by_cell, send
from tests.app.test_datasets_api import flowers, png, put, zipped

SOURCE = {"name": "source", "dataset": "flowers", "model": {"hidden": [8]}, "epochs": 1}
ON_IT: dict[str, Any] = {"kind": "transfer", "source": {"cell": "source"}, "epochs": 1}
TRANSFER: list[dict[str, Any]] = [
    SOURCE,
    {"name": "probe", **ON_IT, "dataset": "flowers", "strategy": "linear_probe"},
    {"name": "features", **ON_IT, "dataset": "flowers", "strategy": "features"},
]
PLAIN = [{"name": "net", "model": {"hidden": [8]}, "epochs": 1}]
CNN = [{"name": "net", "model": {"arch": "cnn", "width": 8}, "epochs": 1}]


def online(database: Database, *workers: dict[str, Any]) -> None:
    with database.writing() as session:
        for number, said in enumerate(workers):
            row = {
                "device": "cpu",
                "threads": 2,
                "torch": torch_version(),
                "threads_are_set": False,
            }
            session.add(
                Worker(
                    id=f"worker-{number}",
                    host="here",
                    pid=number + 1,
                    started_at=utc_now(),
                    seen_at=utc_now(),
                    **{**row, **said},
                )
            )


def change(database: Database, study: dict[str, Any], cell: str, seed: int, **facts: Any) -> None:
    """Other facts in a run's record; None takes one out."""
    with database.writing() as session:
        run = session.get_one(Run, runs_by_cell(database, study["id"])[cell, seed].id)
        made = {**(run.environment or {}), **facts}
        run.environment = {name: value for name, value in made.items() if value is not None}
        session.add(run)


def reused(study: dict[str, Any]) -> int:
    return int(study["progress"]["num_reused"])


def grey(seed: int) -> bytes:
    """Images of the shape of digits."""
    return zipped({name: png(8, seed + number) for number, name in enumerate(flowers())})


@pytest.fixture
def transferred(api: TestClient, database: Database, settings: Settings) -> dict[str, Any]:
    """A source and what is built on it, with two seeds, done."""
    assert put(api).status_code == 201
    study = send(api, specs=TRANSFER, seeds=2)
    accuracies = {("source", 0): 0.3, ("probe", 0): 0.225, ("features", 0): 0.6778}
    finish(database, settings, study["id"], accuracies)
    return study


def test_what_is_built_on_other_weights_is_trained_anew_though_its_own_spec_and_images_are_equal(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    again = send(api, specs=TRANSFER, seeds=2)
    assert (again["status"], reused(again)) == ("succeeded", 6)

    assert api.delete("/datasets/flowers").status_code == 200
    noise = {name: png(seed=number + 100) for number, name in enumerate(flowers())}
    assert put(api, zipped(noise)).status_code == 201
    other = send(api, specs=TRANSFER, seeds=2)
    assert reused(other) == 0


def test_a_probe_on_digits_follows_its_sources_images(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """The probe's own images stay; only what its source has learned is another."""
    specs = [{**one, "dataset": "flowers" if one is SOURCE else "digits"} for one in TRANSFER]
    assert put(api, grey(0), channels=1).status_code == 201
    first = send(api, specs=specs, seeds=2)
    finish(database, settings, first["id"], {("probe", 1): 0.7})
    again = send(api, specs=specs, seeds=2)
    assert reused(again) == 6
    runs = runs_by_cell(database, again["id"])
    built_on = api.get(f"/runs/{runs['probe', 1].id}").json()["built_on"]
    weights = api.get(f"/runs/{runs['source', 0].id}/artifacts").json()["data"]
    assert built_on["weights_sha256"] == weights[0]["sha256"]
    assert built_on["run"] == runs_by_cell(database, first["id"])["source", 0].id

    assert api.delete("/datasets/flowers").status_code == 200
    assert put(api, grey(100), channels=1).status_code == 201
    other = send(api, specs=specs, seeds=2)
    assert reused(other) == 0, "of the probes' own images and specs nothing has changed"
    finish(database, settings, other["id"], {("source", 0): 0.1, ("probe", 1): 0.2})
    third = send(api, specs=specs, seeds=2)
    assert reused(third) == 6
    assert runs_by_cell(database, third["id"])["probe", 1].test == {"loss": 0.5, "accuracy": 0.2}


def test_a_source_that_is_trained_anew_takes_what_was_built_on_the_old_one_along(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    change(database, transferred, "source", 0, torch="2.1.0")
    again = send(api, specs=TRANSFER, seeds=2)
    runs = runs_by_cell(database, again["id"])
    assert [place for place, run in runs.items() if run.reused_from] == [("source", 1)]
    assert runs["probe", 0].needs == runs["source", 0].id
    # the same weights once more: what was built on them is known again, should somebody ask
    finish(database, settings, again["id"], {("source", 0): 0.3})
    assert reused(send(api, specs=TRANSFER, seeds=2)) == 6


def prepared(session: Session, settings: Settings, **body: Any) -> PreparedStudy:
    return study_submissions.prepare_study(session, validate(StudyRequest, body), body, settings)


def test_a_source_that_is_gone_just_before_it_is_stored_takes_the_others_along(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    """The files are there already; the rows are looked at again."""
    with database.reading() as session:
        ready = prepared(session, settings, specs=TRANSFER, seeds=1)
    ready = ready.with_files(file_store(settings))
    assert len(ready.taken) == 3
    source = runs_by_cell(database, transferred["id"])["source", 0].id
    with database.writing() as session:
        for run in session.exec(select(Run).where(col(Run.needs) == source)):
            run.needs = None
            session.add(run)
        session.flush()
        session.delete(session.get_one(Run, source))
    with database.writing() as session:
        stored = study_submissions.store(session, ready, settings)
    runs = runs_by_cell(database, stored.id)
    assert {run.status.value for run in runs.values()} == {"queued"}
    assert stored.num_queued == 3
    assert not any((settings.runs_folder / run.id).exists() for run in runs.values())


def test_further_seeds_are_taken_over_where_they_were_built_on_the_same_source(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    small = send(api, specs=TRANSFER, seeds=1)
    assert reused(small) == 3
    extended = api.post(f"/studies/{small['id']}/extend", json={"seeds": 1}).json()
    assert reused(extended) == 6

    alone = send(api, specs=TRANSFER, seeds=1, reuse=True)
    with database.writing() as session:  # as if another source lay below
        for run in session.exec(select(Run).where(col(Run.seed) == 1, col(Run.needs).is_not(None))):
            below = {**(run.environment or {})["built_on"], "weights_sha256": "e" * 64}
            run.environment = {**(run.environment or {}), "built_on": below}
            session.add(run)
    extended = api.post(f"/studies/{alone['id']}/extend", json={"seeds": 1}).json()
    assert reused(extended) == 4, "the source alone"


@pytest.mark.parametrize(
    ("specs", "facts", "is_taken"),
    [
        (PLAIN, {"git": "other", "python": "3.99", "device": "cpu: another model"}, True),
        (PLAIN, {"device": "cuda: NVIDIA H200"}, False),
        (PLAIN, {"torch": "2.1.0"}, False),
        (PLAIN, {"torch": None}, False),
        (PLAIN, {"threads": 2}, False),
        (CNN, {"threads": 2}, True),
        (CNN, {"threads": 8}, False),
        (PLAIN, {"micro_batches": 2}, False),
        (PLAIN, {"micro_batches": None}, True),
        (PLAIN, {"built_on": None}, True),
        (PLAIN, {"dataset_sha256": None}, False),
        (PLAIN, {"before_resuming": {"torch": "2.1.0"}}, False),
    ],
)
def test_what_a_worker_online_would_train_otherwise_is_not_taken_over(
    api: TestClient,
    database: Database,
    settings: Settings,
    specs: list[dict[str, Any]],
    facts: dict[str, Any],
    is_taken: bool,
) -> None:
    online(database, {})
    first = send(api, specs=specs, seeds=1)
    finish(database, settings, first["id"], {})
    change(database, first, "net", 0, **facts)
    assert reused(send(api, specs=specs, seeds=1)) == int(is_taken)


def test_a_student_of_an_older_version_which_does_not_say_its_teacher_is_trained_anew(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    change(database, transferred, "probe", 0, built_on=None)
    again = send(api, specs=TRANSFER, seeds=1)
    runs = runs_by_cell(database, again["id"])
    assert [cell for (cell, _), run in runs.items() if run.reused_from is None] == ["probe"]


def test_halved_batches_are_another_recipe(
    api: TestClient, database: Database, settings: Settings
) -> None:
    specs = [{**PLAIN[0], "on_out_of_memory": "halve_batch"}]
    first = send(api, specs=specs, seeds=2)
    finish(database, settings, first["id"], {})
    with database.writing() as session:
        run = session.get_one(Run, runs_by_cell(database, first["id"])["net", 0].id)
        run.micro_batches = 4
        session.add(run)
    again = send(api, specs=specs, seeds=2)
    assert reused(again) == 1
    change(database, again, "net", 1, micro_batches=None)  # as an older version took it over
    change(database, first, "net", 1, torch="2.1.0")
    assert reused(send(api, specs=specs, seeds=2)) == 0, "nobody knows how it was trained"


def test_threads_that_are_set_count_for_an_mlp_too(
    api: TestClient, database: Database, settings: Settings
) -> None:
    online(database, {"threads": 4, "threads_are_set": True})
    first = send(api, specs=PLAIN, seeds=2)
    finish(database, settings, first["id"], {})
    change(database, first, "net", 1, threads=4)
    runs = runs_by_cell(database, send(api, specs=PLAIN, seeds=2)["id"])
    assert [run.reused_from is not None for run in runs.values()] == [False, True]


@pytest.mark.parametrize("workers", [(), ({}, {"device": "cuda:0"})])
def test_one_experiment_takes_over_from_one_platform_where_several_would_do(
    api: TestClient, database: Database, settings: Settings, workers: tuple[dict[str, Any], ...]
) -> None:
    online(database, *workers)
    first = send(api, specs=PLAIN, seeds=3)
    finish(database, settings, first["id"], {})
    for seed in (1, 2):
        change(database, first, "net", seed, device="cuda: NVIDIA H200", threads=16)
    again = send(api, specs=PLAIN, seeds=3)
    runs = runs_by_cell(database, again["id"])
    assert [run.reused_from is not None for run in runs.values()] == [False, True, True]
    two = send(api, specs=PLAIN, seeds=1)
    extended = api.post(f"/studies/{two['id']}/extend", json={"seeds": 2}).json()
    assert (reused(two), reused(extended)) == (1, 1), "it goes on where it has begun: on the CPU"


def test_a_foundation_is_looked_for_among_the_same_equal_runs(
    api: TestClient, database: Database, settings: Settings
) -> None:
    online(database, {})
    first = send(api, specs=PLAIN, seeds=1)
    finish(database, settings, first["id"], {})
    student = {
        "kind": "distill",
        "student": {"hidden": [4]},
        "epochs": 1,
        "teacher": {"spec": {name: said for name, said in PLAIN[0].items() if name != "name"}},
    }
    trained = runs_by_cell(database, first["id"])["net", 0].id
    assert api.post("/experiments", json=student).json()["related"]["teacher_run"] == trained
    change(database, first, "net", 0, device="cuda: NVIDIA H200")
    assert api.post("/experiments", json=student).json()["related"]["teacher_run"] != trained


def test_a_cell_that_mixes_says_so_and_the_record_does_not_pretend(
    api: TestClient, database: Database, settings: Settings
) -> None:
    study = send(api, specs=PLAIN, seeds=4)
    finish(database, settings, study["id"], {})
    cautions = f"/studies/{study['id']}/verdicts"
    assert not any("made alike" in one for one in api.get(cautions).json()["cautions"])
    for seed in (1, 2):
        change(database, study, "net", seed, device="cuda: NVIDIA H200", torch="2.1.0", git="b")
    change(database, study, "net", 3, micro_batches=8, before_resuming={"torch": "2.1.0"})
    said = api.get(cautions).json()["cautions"]
    (mixed,) = [one for one in said if "made alike" in one]
    minor = ".".join(str(torch_version()).split(".")[:2])
    assert mixed == (
        f"The runs of net were not all made alike: torch {minor} (seeds 0, 3), 2.1 (seeds 1, 2);"
        " device cpu (seeds 0, 3), cuda (seeds 1, 2); parts of a batch 1 (seeds 0, 1, 2), 8"
        " (seed 3). What separates them is then not the seed alone."
    )
    assert any("Of net, seed 3 went on from a checkpoint" in one for one in said)

    record = api.get(f"/experiments/{study['cells'][0]['experiment_id']}").json()
    assert "device" not in record["environment"]
    assert record["environment"]["dataset_sha256"] == "d" * 64
    assert record["environment_differs"]["device"] == {
        "0": "cpu: test",
        "1": "cuda: NVIDIA H200",
        "2": "cuda: NVIDIA H200",
        "3": "cpu: test",
    }
    assert record["environment_differs"]["micro_batches"]["3"] == 8
    report = api.get(f"/studies/{study['id']}/report.html").text
    assert "parts of a batch: 1, 8" in report


def test_what_is_taken_over_says_what_it_was_made_with(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    again = send(api, specs=TRANSFER, seeds=2)
    for place, run in runs_by_cell(database, again["id"]).items():
        source = runs_by_cell(database, transferred["id"])[place]
        assert run.environment == source.environment
        assert (run.environment or {})["micro_batches"] == run.micro_batches == 1


def test_nothing_of_the_files_is_left_where_an_extension_is_undone(
    api: TestClient, database: Database, settings: Settings, transferred: dict[str, Any]
) -> None:
    """Deleting either run leaves the other whole, whichever was built on what."""
    again = send(api, specs=TRANSFER, seeds=2)
    with database.writing() as session:
        cells = session.exec(
            select(Experiment).where(col(Experiment.study_id) == transferred["id"])
        ).all()
        removed = deletion.delete_together(session, cells)
    deletion.remove_files(file_store(settings), removed)
    probe = runs_by_cell(database, again["id"])["probe", 0]
    assert api.get(f"/runs/{probe.id}/artifacts/weights.safetensors").status_code == 200
    assert api.get(f"/runs/{probe.id}").json()["built_on"]["run"] in removed


def test_a_dry_run_says_what_would_be_taken_over(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """Who sent a study again read what it had cost, and not that it was free now."""
    before = api.post("/studies?dry_run=true", json=grid()).json()
    record = send(api, **grid())
    finish(database, settings, record["id"], {})
    again = api.post("/studies?dry_run=true", json=grid()).json()
    more = api.post("/studies?dry_run=true", json=grid(seeds=3)).json()
    anew = api.post("/studies?dry_run=true", json=grid(reuse=False)).json()
    assert [plan["num_equal"] for plan in (before, again, more, anew)] == [0, 8, 8, 0]
    assert [plan["num_runs"] for plan in (again, more)] == [8, 12]
