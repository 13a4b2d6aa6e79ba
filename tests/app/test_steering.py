"""Pause, resume, another name or priority, cancelling many, and waiting for a change, over HTTP."""

import threading
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.experiments import progress
from app.services.lifecycle import Intent
from app.storage.db import Database
from lab_models.training.protocol import Started

TRAIN = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 4}


def submit(api: TestClient, **more: Any) -> dict[str, Any]:
    answer = api.post("/experiments", json={**TRAIN, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def ask(
    api: TestClient, experiment: dict[str, Any], verb: str, status: int = 200
) -> dict[str, Any]:
    answer = api.post(f"/experiments/{experiment['id']}/{verb}")
    assert answer.status_code == status, answer.text
    return answer.json()


def history(
    api: TestClient, record: dict[str, Any], number: int = 0
) -> list[tuple[str | None, str, str, str]]:
    run = api.get(f"/runs/{record['runs'][number]['id']}").json()
    return [
        (change["from_status"], change["to_status"], change["reason"], change["actor"])
        for change in run["history"]
    ]


def test_a_queued_experiment_pauses_at_once_and_resumes_into_the_queue(api: TestClient) -> None:
    experiment = submit(api, seeds=2)
    paused = ask(api, experiment, "pause")
    assert (paused["status"], paused["status_reason"], paused["is_terminal"]) == (
        "paused",
        "paused_by_user",
        False,
    )
    assert paused["status_message"] == "Paused after epoch 0 of 4, run 1 of 2; resume it to go on."
    assert paused["queue"] == {"position": None, "ahead": 0, "starts_at": None}
    assert ask(api, experiment, "pause")["status"] == "paused", "pausing twice is no error"
    resumed = ask(api, experiment, "resume")
    assert (resumed["status"], [run["status_reason"] for run in resumed["runs"]]) == (
        "queued",
        ["waiting_for_worker"] * 2,
    )
    assert history(api, resumed) == [
        (None, "queued", "waiting_for_worker", "local"),
        ("queued", "paused", "paused_by_user", "local"),
        ("paused", "queued", "waiting_for_worker", "local"),
    ]


def test_a_running_run_is_asked_to_pause_and_goes_on_when_the_pause_is_taken_back(
    api: TestClient, database: Database
) -> None:
    experiment = submit(api)
    with database.writing() as session:
        lease = lifecycle.claim(session, "w")
        assert lease is not None
        progress.record_started(session, lease, Started(environment={}, resumed_from=None))
    asked = ask(api, experiment, "pause")
    assert (asked["status"], asked["status_reason"]) == ("running", "pausing")
    with database.reading() as session:
        assert lifecycle.asked(session, lease) is Intent.PAUSE
    assert ask(api, experiment, "resume")["status_reason"] == "training"
    with database.writing() as session:
        assert lifecycle.renew(session, lease) is Intent.NOTHING
    ask(api, experiment, "pause")
    with database.writing() as session:
        assert lifecycle.release(session, lease) == "paused"
    assert ask(api, experiment, "cancel")["status"] == "cancelled"


def test_what_has_ended_is_neither_paused_nor_resumed(api: TestClient) -> None:
    experiment = submit(api)
    assert ask(api, experiment, "resume", 409)["code"] == "nothing_to_resume"
    ask(api, experiment, "cancel")
    problem = ask(api, experiment, "pause", 409)
    assert (problem["code"], problem["detail"]) == (
        "nothing_to_pause",
        f"experiment {experiment['id']} was cancelled; nothing is left to pause",
    )


def test_name_labels_and_priority_can_be_changed(api: TestClient) -> None:
    experiment = submit(api, name="one", labels={"course": "ml", "week": "1"})
    other = submit(api)
    changed = api.patch(
        f"/experiments/{experiment['id']}",
        json={"name": "two", "labels": {"week": None, "room": "b"}},
    ).json()
    assert (changed["name"], changed["labels"]) == ("two", {"course": "ml", "room": "b"})
    assert (
        api.patch(f"/experiments/{other['id']}", json={"priority": 3}).json()["queue"]["position"]
        == 1
    )
    assert api.get(f"/experiments/{experiment['id']}").json()["queue"]["position"] == 2
    notes = "# Week 3\n\n*better* than **2** \u2013 see <b>"
    kept = {"notes": notes, "archived": True}
    assert (changed["notes"], changed["archived"]) == (None, False)
    changed = api.patch(f"/experiments/{experiment['id']}", json=kept).json()
    assert {name: changed[name] for name in kept} == kept
    assert [row["id"] for row in api.get("/experiments").json()["data"]] == [other["id"]]
    everything = api.get("/experiments?archived=any").json()["data"]
    assert [(row["id"], row["archived"]) for row in everything] == [
        (other["id"], False),
        (experiment["id"], True),
    ]
    back = {"notes": None, "archived": False}
    changed = api.patch(f"/experiments/{experiment['id']}", json=back).json()
    assert {name: changed[name] for name in back} == back
    assert api.patch(f"/experiments/{experiment['id']}", json={"name": None}).json()["name"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"prioritty": 1}, "/prioritty"),
        ({"priority": 1000}, "/priority"),
        ({"labels": {"": "x"}}, "/labels/"),
        ({"name": 5}, "/name"),
        ({"priority": None}, "/priority"),
        ({"notes": "\u00e9" * 10_001}, "/notes"),
        ({"archived": None}, "/archived"),
    ],
)
def test_a_bad_change_names_its_place_and_changes_nothing(
    api: TestClient, body: dict[str, Any], pointer: str
) -> None:
    experiment = submit(api, name="one")
    answer = api.patch(f"/experiments/{experiment['id']}", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert api.get(f"/experiments/{experiment['id']}").json()["name"] == "one"


def test_the_priority_of_what_has_ended_is_refused_and_its_name_is_not(api: TestClient) -> None:
    experiment = submit(api)
    ask(api, experiment, "cancel")
    answer = api.patch(f"/experiments/{experiment['id']}", json={"priority": 2, "name": "late"})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_queued")
    assert api.get(f"/experiments/{experiment['id']}").json()["name"] is None, "all or nothing"
    assert (
        api.patch(f"/experiments/{experiment['id']}", json={"name": "late"}).json()["name"]
        == "late"
    )


def test_many_are_cancelled_by_a_filter_and_never_without_one(api: TestClient) -> None:
    mine = [submit(api, labels={"who": "me"}) for _ in range(2)]
    other = submit(api)
    assert api.post("/experiments/cancel").json()["code"] == "invalid_request"
    assert api.post("/experiments/cancel?archived=any").json()["code"] == "invalid_request"
    would = api.post("/experiments/cancel?label=who:me&dry_run=true").json()
    assert api.get(f"/experiments/{mine[0]['id']}").json()["status"] == "queued"
    answer = api.post("/experiments/cancel?label=who:me").json()
    assert answer == would
    assert answer == {"num_cancelled": 2, "data": [mine[1]["id"], mine[0]["id"]]}
    assert api.get(f"/experiments/{other['id']}").json()["status"] == "queued"
    assert api.post("/experiments/cancel?label=who:me").json() == {"num_cancelled": 0, "data": []}
    assert api.post("/experiments/cancel?status=queued").json()["data"] == [other["id"]]


def test_students_and_their_teacher_are_cancelled_together_without_one_failing(
    api: TestClient,
) -> None:
    body = {
        "kind": "distill",
        "dataset": "digits",
        "student": {"hidden": [8]},
        "epochs": 4,
        "teacher": {"spec": TRAIN},
        "labels": {"who": "me"},
    }
    experiment = api.post("/experiments", json=body).json()
    assert api.post("/experiments/cancel?label=who:me").json()["num_cancelled"] == 2
    for each in (experiment["id"], experiment["related"]["teacher_experiment"]):
        assert api.get(f"/experiments/{each}").json()["status"] == "cancelled"


def test_wait_holds_the_answer_until_the_status_changes(api: TestClient) -> None:
    experiment = submit(api)
    began = time.monotonic()
    assert api.get(f"/experiments/{experiment['id']}?wait=0.6").json()["status"] == "queued"
    assert time.monotonic() - began >= 0.6
    changer = threading.Timer(0.5, lambda: ask(api, experiment, "cancel"))
    changer.start()
    assert api.get(f"/experiments/{experiment['id']}?wait=60").json()["status"] == "cancelled"
    changer.join()
    assert api.get(f"/experiments/{experiment['id']}?wait=60").json()["status"] == "cancelled", (
        "what has ended is answered at once"
    )
    assert time.monotonic() - began < 50


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf"])
def test_a_bad_wait_is_refused(api: TestClient, wait: str) -> None:
    experiment = submit(api)
    answer = api.get(f"/experiments/{experiment['id']}?wait={wait}")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/wait")


def test_a_study_pauses_and_resumes_as_one(api: TestClient) -> None:
    study = api.post(
        "/studies", json={"spec": TRAIN, "vary": {"model.hidden": [[8], [16]]}, "seeds": 2}
    ).json()
    paused = api.post(f"/studies/{study['id']}/pause").json()
    assert (paused["status"], paused["progress"]["runs"]) == ("paused", {"paused": 4})
    assert api.post(f"/studies/{study['id']}/pause").status_code == 200
    resumed = api.post(f"/studies/{study['id']}/resume").json()
    assert (resumed["status"], resumed["progress"]["runs"]) == ("queued", {"queued": 4})
    assert api.post(f"/studies/{study['id']}/resume").json()["code"] == "nothing_to_resume"
