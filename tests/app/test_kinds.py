"""On which kind of device a run is trained: what its request says, or one kind for all that is compared."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.experiments import waiting
from app.services.experiments.likeness import notes_of_resuming
from app.services.experiments.standing import LatestStanding, Standing, standing
from app.services.lifecycle import workers
from app.services.lifecycle.kinds import LONG_ON_A_CPU, UNDECIDED
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.tables import Experiment, Run, Worker, utc_now
from tests.app.rows import create
from tests.databases import renew_database

CHEAP = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}
LONG = {"dataset": "digits", "model": {"hidden": [2000, 2000, 2000]}, "epochs": 2000}


def worker(session: Session, device: str, trouble: str | None = None) -> None:
    now = utc_now()
    workers.register(
        session,
        Worker(
            id=device,
            host="h",
            pid=1,
            device=device,
            threads=1,
            trouble=trouble,
            started_at=now,
            seen_at=now,
        ),
    )


def claims(database: Database, kind: str, most: int = 99) -> list[str]:
    """What a worker on such a device takes, run by run; none of it ends."""
    claimed: list[str] = []
    for _ in range(most):
        with database.writing() as session:
            lease = lifecycle.claim(session, f"w-{kind}", kind=kind)
        if lease is None:
            break
        claimed.append(lease.run_id)
    return claimed


def kinds(database: Database) -> list[str]:
    with database.reading() as session:
        return list(session.exec(select(Run.trains_on).order_by(col(Run.created_at))))


def test_who_takes_the_first_seed_decides_for_the_others(database: Database) -> None:
    with database.writing() as session:
        create(session, {**CHEAP, "seeds": 3})
    assert len(claims(database, "cuda", 1)) == 1
    assert kinds(database) == ["cuda"] * 3
    assert claims(database, "cpu") == []
    assert len(claims(database, "cuda")) == 2


def test_any_lets_each_seed_go_where_there_is_room(database: Database) -> None:
    with database.writing() as session:
        create(session, {**CHEAP, "seeds": 2, "device": "any"})
    assert len(claims(database, "cuda", 1)) == 1
    assert len(claims(database, "cpu")) == 1


@pytest.mark.parametrize(("asked", "other"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_what_names_a_kind_is_left_to_it(database: Database, asked: str, other: str) -> None:
    with database.writing() as session:
        create(session, {**CHEAP, "device": asked})
    assert claims(database, other) == []
    assert len(claims(database, asked)) == 1


def test_a_cpu_leaves_what_takes_it_long_to_a_gpu_that_is_online(database: Database) -> None:
    with database.writing() as session:
        first = create(session, LONG)
        assert (first.nominal_seconds or 0) > LONG_ON_A_CPU
        create(session, CHEAP)
        worker(session, "cuda:GPU-1a2b", trouble="its driver is too old")
        worker(session, "cpu")
    with database.reading() as session:
        assert workers.kinds_of_devices(session) == {"cpu"}
    with database.writing() as session:
        worker(session, "cuda:GPU-1a2b")
    assert len(claims(database, "cpu")) == 1, "the cheap one"
    assert kinds(database) == ["gpu_first", "cpu"]
    with database.writing() as session:
        workers.sign_off(session, "cuda:GPU-1a2b")
    assert len(claims(database, "cpu")) == 1, "nobody else is there"


def test_all_cells_of_a_study_are_trained_on_one_kind(api: TestClient, database: Database) -> None:
    sent = {"spec": CHEAP, "vary": {"epochs": [1, 2], "batch_size": [8, 16]}}
    study = api.post("/studies", json={**sent, "seeds": 2})
    assert study.status_code == 201, study.text
    assert set(kinds(database)) == {"first"}
    claims(database, "cuda", 1)
    assert kinds(database) == ["cuda"] * 8
    refused = api.post("/studies", json={**sent, "spec": {**CHEAP, "device": "cpu"}})
    assert refused.json()["errors"][0]["pointer"] == "/spec/device"
    named = api.post("/studies", json={"specs": [CHEAP], "device": "cpu"})
    assert named.status_code == 201, named.text
    assert kinds(database)[8:] == ["cpu"] * 3


def test_a_small_cell_does_not_bring_a_long_one_of_its_study_to_a_cpu(
    api: TestClient, database: Database
) -> None:
    with database.writing() as session:
        worker(session, "cuda:0")
    study = api.post("/studies", json={"specs": [CHEAP, LONG], "seeds": 1})
    assert study.status_code == 201, study.text
    assert claims(database, "cpu") == []
    extended = api.post(f"/studies/{study.json()['id']}/extend", json={"seeds": 2})
    assert extended.status_code in (200, 201), extended.text
    assert set(kinds(database)) == {"gpu_first"}
    with database.writing() as session:
        workers.sign_off(session, "cuda:0")
    assert len(claims(database, "cpu", 1)) == 1
    assert set(kinds(database)) == {"cpu"}


def test_what_is_retried_goes_where_its_experiment_was_sent(
    api: TestClient, database: Database
) -> None:
    record = api.post("/experiments", json={**CHEAP, "seeds": 2, "device": "any"}).json()
    url = f"/experiments/{record['id']}"
    with database.writing() as session:
        worker(session, "cpu")
        lease = lifecycle.claim(session, "w-cpu")
        assert lease is not None
        lifecycle.fail(
            session, lease, {"code": "diverged", "message": "", "hint": "", "traceback_tail": ""}
        )
    assert api.patch(url, json={"device": "cuda"}).status_code == 200
    retried = api.post(f"{url}/retry").json()
    assert retried["status_reason"] == "no_device_online"
    assert retried["status_message"].startswith("Queued for a worker with a GPU (cuda)")
    assert claims(database, "cpu") == []


def test_a_seed_that_comes_later_goes_where_the_others_were(
    api: TestClient, database: Database
) -> None:
    study = api.post("/studies", json={"specs": [CHEAP], "seeds": 1}).json()
    claims(database, "cuda")
    added = api.post(f"/studies/{study['id']}/extend", json={"seeds": 2})
    assert added.status_code in (200, 201), added.text
    assert len(kinds(database)) > 1
    assert set(kinds(database)) == {"cuda"}


def test_what_waits_for_a_kind_that_is_not_there_says_so_and_can_be_sent_elsewhere(
    api: TestClient, database: Database
) -> None:
    record = api.post("/experiments", json={**CHEAP, "device": "cuda"}).json()
    assert (record["device"], record["trains_on"]) == ("cuda", "cuda")
    url = f"/experiments/{record['id']}"
    assert record["status_reason"] == "no_worker_online"
    with database.writing() as session:
        worker(session, "cpu")
    waiting = api.get(url).json()
    assert waiting["status_reason"] == "no_device_online"
    assert waiting["status_message"].startswith(
        "Queued for a worker with a GPU (cuda), and none is"
    )
    (row,) = api.get("/experiments").json()["data"]
    assert row["status_message"] == waiting["status_message"]
    assert "Let any worker train it" in api.get(f"/ui{url}").text
    assert api.post(f"/ui{url}/anywhere", follow_redirects=False).status_code == 303
    assert "Let any worker train it" not in api.get(f"/ui{url}").text
    sent = api.get(url).json()
    assert (sent["device"], sent["trains_on"]) == ("any", None)
    assert sent["status_reason"] == "waiting_for_worker"
    assert len(claims(database, "cpu")) == 1
    back = api.patch(url, json={"device": "auto"}).json()
    assert (back["device"], back["trains_on"]) == ("auto", None)
    assert api.patch(url, json={"device": "tpu"}).status_code == 422
    api.post(f"{url}/cancel")
    with database.writing() as session:
        run = session.exec(select(Run)).one()
        lifecycle.confirm_cancel(session, lifecycle.Lease(run.id, run.fence, run.attempt, "w-cpu"))
    late = api.patch(url, json={"device": "cpu"})
    assert (late.status_code, late.json()["type"].rsplit(":")[-1]) == (409, "not_queued")


def test_nothing_is_told_of_when_it_starts_where_no_worker_may_take_it(
    api: TestClient, database: Database
) -> None:
    with database.writing() as session:
        worker(session, "cpu")
    done = api.post("/experiments", json=CHEAP).json()
    with database.writing() as session:
        lease = lifecycle.claim(session, "w-cpu", kind="cpu")
        assert lease
        lifecycle.succeed(session, lease, best={}, test={"accuracy": 0.9})
    assert done["queue"]["starts_at"] is None
    stays = api.post("/experiments", json={**CHEAP, "device": "cuda", "seeds": [7]}).json()["id"]
    goes = api.post("/experiments", json={**CHEAP, "device": "cpu", "seeds": [8]}).json()["id"]

    def starts() -> list[bool]:
        """Whether it is told, the same wherever it is asked for."""
        with database.reading() as session:
            queue = {one.experiment_id: one for one in waiting.queue(session)}
            rows = waiting.places_of(session, (stays, goes), standing)
            told = []
            for one in (stays, goes):
                runs = session.exec(select(Run).where(col(Run.experiment_id) == one)).all()
                places = (
                    queue[one],
                    rows[one],
                    waiting.place_of(session, one),
                    waiting.place_among(session, runs, standing),
                )
                (is_told,) = {place is not None and place.starts_at is not None for place in places}
                told.append(is_told)
        return told

    assert starts() == [False, True]
    with database.writing() as session:
        worker(session, "cuda:0")
    assert starts() == [True, True]


DISTILLED = {
    "kind": "distill",
    "dataset": "digits",
    "student": {"hidden": [8]},
    "epochs": 4,
    "teacher": {"spec": LONG, "seed": 0},
    "baseline": True,
}


def test_a_student_its_control_and_its_teacher_are_trained_on_one_kind(
    api: TestClient, database: Database
) -> None:
    with database.writing() as session:
        worker(session, "cuda:0")
        worker(session, "cpu")
    made = api.post("/experiments", json={**DISTILLED, "seeds": 2})
    assert made.status_code == 201, made.text
    assert kinds(database) == ["gpu_first"] * 5, "by the longest of them"
    apart = api.post("/experiments", json=CHEAP).json()["id"]
    assert len(claims(database, "cpu")) == 1
    assert api.get(f"/experiments/{apart}").json()["trains_on"] == "cpu"
    assert kinds(database) == [*["gpu_first"] * 5, "cpu"], "another request"
    assert len(claims(database, "cuda", 1)) == 1
    assert kinds(database) == [*["cuda"] * 5, "cpu"]


def test_what_is_waited_for_is_sent_along(api: TestClient, database: Database) -> None:
    made = api.post("/experiments", json={**DISTILLED, "device": "cuda"}).json()
    api.patch(f"/experiments/{made['id']}", json={"device": "any"})
    assert kinds(database) == ["any", "cuda", "any"], "teacher, control, student"


def test_a_device_that_is_not_there_is_warned_of(api: TestClient, database: Database) -> None:
    said = (
        "no worker online has a GPU: with device 'cuda' it waits until one is, or until `lab move ID --device any`"
        " sends it elsewhere"
    )
    on_gpu = {**CHEAP, "device": "cuda"}
    with database.writing() as session:
        worker(session, "cpu")
    assert api.post("/experiments?dry_run=true", json=on_gpu).json()["warnings"] == [said]
    assert (
        api.post("/experiments?dry_run=true", json={**CHEAP, "device": "cpu"}).json()["warnings"]
        == []
    )
    assert api.post("/experiments", json=on_gpu).json()["warnings"] == [said]
    study = {"specs": [CHEAP], "device": "cuda", "seeds": 1}
    assert said in api.post("/studies?dry_run=true", json=study).json()["warnings"]
    with database.writing() as session:
        worker(session, "cuda:0", trouble="its driver is too old")
    (warned,) = api.post("/experiments?dry_run=true", json=on_gpu).json()["warnings"]
    assert warned.startswith(
        "no worker online has a GPU that can be used (the worker on cuda:0 cannot train: its driver is too old): with"
    )
    with database.writing() as session:
        worker(session, "cuda:1")
    assert api.post("/experiments?dry_run=true", json=on_gpu).json()["warnings"] == []


def test_tf32_on_a_cpu_is_warned_of(api: TestClient, database: Database) -> None:
    with database.writing() as session:
        worker(session, "cuda:0")
    url = "/experiments?dry_run=true"
    rounded = {**CHEAP, "precision": "tf32"}
    (said,) = api.post(url, json=rounded).json()["warnings"]
    assert (
        said == "precision 'tf32' is float32 where a CPU trains it: device 'cuda' keeps it on a GPU"
    )
    assert api.post(url, json={**rounded, "device": "cuda"}).json()["warnings"] == []


def test_who_may_be_trained_does_not_stand_behind_who_may_not(database: Database) -> None:
    with database.writing() as session:
        stuck = [
            create(session, {**CHEAP, "device": "cuda", "seeds": 3, "priority": 5}, owner).id
            for owner in ("ada", "bob")
        ]
        goes = [create(session, {**CHEAP, "device": "cpu"}, owner).id for owner in ("ada", "cy")]

    def places(look: Callable[[Session], Standing] = standing) -> list[int | None]:
        """The same wherever it is asked for."""
        with database.reading() as session:
            queue = waiting.queue(session)
            rows = waiting.places_of(session, [*goes, *stuck], look)
            firsts = {one.experiment_id: one.position for one in reversed(queue)}
            for one in (*goes, *stuck):
                place = waiting.place_of(session, one, look)
                assert place is not None
                assert place.position == rows[one].position == firsts[one]
            return [firsts[one] for one in (*goes, *stuck)]

    assert places() == [8, 7, 1, 2], "nobody is there: as they were sent"
    earlier = LatestStanding(3600)
    with database.reading() as session:
        earlier(session)
    with database.writing() as session:
        worker(session, "cpu")
    assert places() == [1, 2, 4, 3], "which no worker online may take stand at the end"
    with database.reading() as session:
        assert waiting.place_of(session, goes[0], earlier), "as it was a moment ago"
    with database.writing() as session:
        worker(session, "cuda:0")
    assert places() == [8, 7, 1, 2]


def test_auto_again_keeps_to_where_it_was_begun(api: TestClient, database: Database) -> None:
    record = api.post("/experiments", json={**CHEAP, "seeds": 2}).json()
    claims(database, "cuda", 1)
    url = f"/experiments/{record['id']}"
    assert api.patch(url, json={"device": "cpu"}).json()["trains_on"] == "cpu"
    assert len(claims(database, "cpu")) == 1


@pytest.mark.sqlite
def test_a_job_on_a_cpu_does_not_wait_for_what_only_gpus_may_take(database: Database) -> None:
    with database.writing() as session:
        create(session, {**CHEAP, "device": "cuda"})
    with database.reading() as session:
        assert not lifecycle.is_any_to_take(session, 0, {"cpu"})
        assert lifecycle.is_any_to_take(session, 0, workers.kinds_of(session, "h", [1])), (
            "not known"
        )
    with database.writing() as session:
        worker(session, "cpu", trouble="out of room")
    with database.reading() as session:
        assert workers.kinds_of(session, "h", [1]) == {"cpu"}


@examples(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    experiments=st.lists(
        st.tuples(st.sampled_from(["auto", "any", "cpu", "cuda"]), st.integers(1, 3)),
        min_size=1,
        max_size=4,
    ),
    looks=st.lists(st.sampled_from(["cpu", "cuda"]), max_size=12),
)
def test_whoever_looks_when_no_experiment_is_torn_apart_unless_it_may(
    experiments: list[tuple[str, int]], looks: list[str]
) -> None:
    with TemporaryDirectory() as folder:
        renew_database()
        database = open_database(Settings(home=Path(folder), _env_file=None))
        _take_some_and_then_all(database, experiments, looks)
        database.close()


def _take_some_and_then_all(
    database: Database, experiments: list[tuple[str, int]], looks: list[str]
) -> None:
    with database.writing() as session:
        for device, seeds in experiments:
            create(session, {**CHEAP, "device": device, "seeds": seeds})
    taken = {run: kind for kind in looks for run in claims(database, kind, 1)}
    with database.reading() as session:
        for experiment in session.exec(select(Experiment)):
            runs = session.exec(select(Run).where(Run.experiment_id == experiment.id)).all()
            where = {taken[run.id] for run in runs if run.id in taken}
            match experiment.device:
                case "auto":
                    assert len(where) <= 1
                    assert {run.trains_on for run in runs} <= (where or set(UNDECIDED))
                case "cpu" | "cuda":
                    assert where <= {experiment.device}
    left = claims(database, "cuda") + claims(database, "cpu")
    assert len(left) + len(taken) == sum(seeds for _, seeds in experiments), "none waits for ever"


@pytest.mark.sqlite
def test_a_run_that_goes_on_elsewhere_says_so() -> None:
    begun: dict[str, Any] = {"device": "cuda: NVIDIA H200", "driver": "580.1", "git": "a"}
    on_cpu = {"device": "cpu: x", "git": "b"}
    (note,) = notes_of_resuming(begun, on_cpu)
    assert "device cuda: NVIDIA H200, now cpu: x" in note
    assert "driver" not in note, "a CPU has none"
    assert note.endswith("its bits are those of neither")
    assert notes_of_resuming(begun, {**begun, "git": "b"}) == []
