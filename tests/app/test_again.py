"""An experiment like another, with what was changed."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from lab_models.datasets.catalog import Catalog
from tests.app.studies import fail_next, finish_all

BASE: dict[str, Any] = {
    "name": "baseline",
    "labels": {"exercise": "2"},
    "seeds": [3, 5],
    "priority": -2,
    "model": {"hidden": [8]},
    "optimizer": {"name": "sgd", "momentum": 0.8},
    "epochs": 2,
}


def post(api: TestClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = api.post("/experiments", json=body, headers=headers)
    assert answer.status_code in (200, 201), answer.text
    record: dict[str, Any] = answer.json()
    return record


def faults(api: TestClient, body: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    answer = api.post("/experiments", json=body)
    assert answer.status_code == 422, answer.text
    return [(e["pointer"], e["message"], e.get("hint")) for e in answer.json()["errors"]]


def test_one_change_makes_a_new_experiment_that_names_its_origin(api: TestClient) -> None:
    first = post(api, BASE)
    again = post(api, {"like": first["id"], "set": {"optimizer.learning_rate": 0.01}})

    assert again["id"] != first["id"]
    assert again["spec"] == {
        **first["spec"],
        "optimizer": {**first["spec"]["optimizer"], "learning_rate": 0.01},
    }
    assert again["changed"] == {"optimizer.learning_rate": [0.1, 0.01]}
    assert again["like"] == again["submitted"]["like"] == first["id"]
    assert api.get(again["links"]["like"]).json()["id"] == first["id"]
    # seeds and labels are taken over; a name and what was urgent are not
    assert [run["seed"] for run in again["runs"]] == [3, 5]
    assert (again["name"], again["labels"]) == (None, {"exercise": "2"})
    assert (first["like"], first["changed"], "like" in first["links"]) == (None, None, False)


def test_what_stands_beside_replaces_what_the_other_has(api: TestClient) -> None:
    first = post(api, BASE)
    beside = {"name": "longer", "seeds": 3, "labels": {}, "epochs": 9, "optimizer": "adam"}
    again = post(api, {"like": first["id"], **beside})

    assert (again["name"], again["labels"], len(again["runs"])) == ("longer", {}, 3)
    assert again["spec"]["optimizer"]["name"] == "adam"
    assert again["changed"]["epochs"] == [2, 9]
    assert again["changed"]["optimizer.name"] == ["sgd", "adam"]
    assert again["changed"]["optimizer.momentum"] == [0.8, None]


def test_a_chain_goes_on_when_its_beginning_is_deleted(api: TestClient) -> None:
    first = post(api, BASE)
    second = post(api, {"like": first["id"], "set": {"epochs": 3}})
    api.post(f"/experiments/{first['id']}/cancel")
    assert api.delete(f"/experiments/{first['id']}").status_code == 204

    third = post(api, {"like": second["id"], "set": {"model.dropout": 0.5}})
    assert third["changed"] == {"model.dropout": [0.0, 0.5]}
    assert (third["spec"]["epochs"], third["spec"]["optimizer"]["momentum"]) == (3, 0.8)
    orphan = api.get(f"/experiments/{second['id']}").json()
    assert (orphan["like"], orphan["changed"]) == (first["id"], None)
    assert "like" not in orphan["links"]


def test_what_was_submitted_can_be_sent_as_it_is(api: TestClient) -> None:
    first = post(api, BASE)
    again = post(api, {"like": first["id"], "set": {"epochs": 3}})
    assert post(api, again["submitted"])["fingerprint"] == again["fingerprint"]


def test_labels_and_seeds_are_taken_over_as_they_are_by_now(api: TestClient) -> None:
    first = post(api, BASE)
    api.patch(f"/experiments/{first['id']}", json={"labels": {"exercise": None, "best": "yes"}})
    assert post(api, {"like": first["id"]})["labels"] == {"best": "yes"}


def test_a_value_that_was_the_same_already_changes_nothing(api: TestClient) -> None:
    first = post(api, BASE)
    again = post(api, {"like": first["id"], "set": {"optimizer.momentum": 0.8}})
    assert (again["changed"], again["fingerprint"]) == ({}, first["fingerprint"])


def test_a_request_of_its_own_can_be_set_too(api: TestClient) -> None:
    record = post(api, {**BASE, "set": {"optimizer.momentum": 0.7, "dataset.train_limit": 100}})
    assert record["spec"]["optimizer"]["momentum"] == 0.7
    assert record["spec"]["dataset"]["train_limit"] == 100
    assert (record["like"], record["changed"]) == (None, None)


@pytest.mark.parametrize(
    ("changes", "pointer", "hint"),
    [
        (
            {"set": {"optimizer.lerning_rate": 1}},
            "/set/optimizer.lerning_rate",
            "did you mean 'learning_rate'?",
        ),
        (
            {"set": {"optimiser.learning_rate": 1}},
            "/set/optimiser.learning_rate",
            "did you mean 'optimizer'?",
        ),
        ({"set": {"optimizer": {"name": "sgd", "momentun": 1}}}, "/set/optimizer/momentun", None),
        ({"set": {"epochs": None}}, "/set/epochs", None),
        ({"set": {"epochs": 10**9}}, "/set/epochs", None),
        ({"set": {"epochs.more": 1}}, "/set/epochs.more", None),
        ({"set": {"model..depth": 1}}, "/set/model..depth", None),
        ({"set": {"dataset.name": "mnits"}}, "/set/dataset.name", "did you mean 'mnist'?"),
        ({"set": {"like": "exp_1"}}, "/set/like", None),
        ({"set": {"labels": {"a/b": "c"}}}, "/set/labels/a~1b", None),
        ({"set": {"a/b": 1}}, "/set/a~1b", None),
        ({"epochs": 0}, "/epochs", None),
        ({"set": {"optimizer.name": "adam"}}, "/like", "set 'optimizer' as a whole"),
        ({"like": 5}, "/like", None),
        ({"set": ["epochs"]}, "/set", None),
    ],
)
def test_a_fault_points_to_what_was_sent(
    api: TestClient, changes: dict[str, Any], pointer: str, hint: str | None
) -> None:
    first = post(api, BASE)
    found = faults(api, {"like": first["id"], **changes})
    assert found[0][0] == pointer
    assert hint is None or found[0][2] == hint


def test_what_is_like_nothing_is_not_found(api: TestClient) -> None:
    answer = api.post("/experiments", json={"like": "exp_none"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == api.get("/experiments/exp_none").json()["detail"]


def test_a_dry_run_says_what_would_change_and_stores_nothing(api: TestClient) -> None:
    first = post(api, BASE)
    body = {"like": first["id"], "set": {"model.hidden": [16, 8]}}
    plan = api.post("/experiments?dry_run=true", json=body).json()
    assert plan["changed"] == {
        "model.hidden": [None, [16, 8]],
        "model.depth": [1, None],
        "model.width": [8, None],
    }
    assert plan["seeds"] == [3, 5]
    assert len(api.get("/experiments").json()["data"]) == 1
    assert api.post("/experiments?dry_run=true", json=BASE).json()["changed"] is None


def test_a_key_answers_the_same_body_with_what_it_made_even_when_the_origin_is_gone(
    api: TestClient,
) -> None:
    first = post(api, BASE)
    body = {"like": first["id"], "set": {"epochs": 3}}
    key = {"Idempotency-Key": "once"}
    made = post(api, body, **key)
    api.post(f"/experiments/{first['id']}/cancel")
    api.delete(f"/experiments/{first['id']}")

    assert post(api, body, **key)["id"] == made["id"]
    other = api.post("/experiments", json={**body, "set": {"epochs": 4}}, headers=key)
    assert other.status_code == 409


def test_a_student_keeps_its_teacher_and_a_cell_its_whole_request(api: TestClient) -> None:
    teacher = post(api, BASE)
    student = {"kind": "distill", "teacher": teacher["id"], "student": {"hidden": [4]}}
    first = post(api, student)
    again = post(api, {"like": first["id"], "set": {"alpha": 0.5}})
    assert again["related"]["teacher_run"] == first["related"]["teacher_run"]
    assert again["changed"] == {"alpha": [0.9, 0.5]}

    study = {"spec": {"epochs": 1}, "vary": {"model.depth": [1, 2]}, "seeds": 2}
    cells = api.post("/studies", json=study).json()["cells"]
    cell = api.get(f"/experiments/{cells[1]['experiment_id']}").json()
    alike = post(api, {"like": cell["id"]})
    assert alike["fingerprint"] == cell["fingerprint"]
    assert [run["seed"] for run in alike["runs"]] == [0, 1]
    assert (alike["study_id"], alike["cell"]) == (None, None)


# Going on


def test_what_has_learned_other_images_does_not_go_on_and_is_not_verified(
    api: TestClient, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = post(api, BASE)
    finish_all(database, settings, {3: 0.8, 5: 0.9})
    monkeypatch.setattr(Catalog, "sha256", lambda *_: "e" * 64)
    further = api.post("/experiments", json={"like": first["id"], "go_on": {"epochs": 20}})
    assert further.status_code == 422
    assert "has other images by now" in further.text
    again = api.post(f"/experiments/{first['id']}/verify")
    assert again.status_code == 409
    assert "import the same images under that name first" in again.json()["detail"]


def test_an_experiment_that_a_verification_repeats_is_kept(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = post(api, BASE)
    finish_all(database, settings, {3: 0.8, 5: 0.9})
    again = api.post(f"/experiments/{first['id']}/verify").json()
    finish_all(database, settings, {3: 0.8, 5: 0.9})
    assert api.delete(f"/experiments/{first['id']}").status_code == 409
    assert api.delete(f"/experiments/{again['id']}").status_code == 204
    assert api.delete(f"/experiments/{first['id']}").status_code == 204


def test_finished_networks_go_on_each_seed_from_its_own(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = post(api, BASE)
    finish_all(database, settings, {3: 0.8, 5: 0.9})
    further = post(api, {"like": first["id"], "go_on": {"epochs": 20}, "set": {"batch_size": 32}})

    assert (further["kind"], further["status_reason"]) == ("continue", "no_worker_online")
    assert further["changed"] == {"epochs": [2, 20], "batch_size": [64, 32]}
    assert further["spec"]["origin"] == {"spec": first["spec"], "weights": "best"}
    assert further["spec"]["optimizer"] == first["spec"]["optimizer"]
    assert further["labels"] == first["labels"]
    runs = {run["seed"]: run["id"] for run in first["runs"]}
    assert {run["seed"]: run["needs"] for run in further["runs"]} == runs
    assert further["related"] == {"origin_experiment": first["id"]}
    assert further["links"]["origin"] == further["links"]["like"] == first["links"]["self"]
    assert further["estimate"] == first["estimate"]


def test_what_goes_on_waits_for_its_origin_and_ends_with_it(
    api: TestClient, database: Database
) -> None:
    first = post(api, {**BASE, "seeds": 1})
    further = post(api, {"kind": "continue", "origin": first["id"], "epochs": 3})
    assert further["status_reason"] == "waiting_for_teacher"
    assert api.delete(f"/experiments/{first['id']}").status_code == 409
    fail_next(database)
    ended = api.get(f"/experiments/{further['id']}").json()
    assert (ended["status"], ended["status_reason"]) == ("failed", "teacher_failed")
    assert api.post(f"/experiments/{further['id']}/retry").status_code == 409
    for record in (first, further):
        assert api.post(f"/experiments/{record['id']}/retry").status_code == 200


def test_what_went_on_goes_on_and_is_asked_for_again(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first = post(api, {**BASE, "seeds": 1})
    finish_all(database, settings, {0: 0.8})
    second = post(api, {"like": first["id"], "go_on": {"epochs": 5, "weights": "last"}})
    finish_all(database, settings, {0: 0.9})
    third = post(api, {"like": second["id"], "go_on": {"epochs": 7}})
    assert third["spec"]["origin"] == {"spec": second["spec"], "weights": "best"}
    assert third["changed"] == {"epochs": [5, 7]}

    again = post(api, {"like": second["id"], "set": {"optimizer.learning_rate": 0.5}})
    assert again["spec"]["origin"] == second["spec"]["origin"]
    assert again["related"]["origin_experiment"] == first["id"]
    assert again["changed"] == {"optimizer.learning_rate": [0.1, 0.5]}
    # what went on can teach, and be verified
    student = {"kind": "distill", "teacher": second["id"], "student": {"hidden": [4]}}
    assert post(api, student)["related"]["teacher_run"] == second["runs"][0]["id"]
    verification = api.post(f"/experiments/{second['id']}/verify").json()
    assert verification["runs"][0]["needs"] == first["runs"][0]["id"]
    for record in (third, verification, post(api, student)):
        reproduction = api.get(f"/experiments/{record['id']}/reproduce").json()
        plan = api.post("/experiments?dry_run=true", json=reproduction["request"]).json()
        assert plan["fingerprint"] == record["fingerprint"]
        assert reproduction["command_without_service"] is None


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"go_on": {"epochs": 0}}, "/go_on/epochs", "greater than or equal to 1"),
        ({"go_on": {"epochs": 99_999}}, "/go_on/epochs", "LAB_MAX_EPOCHS"),
        ({"go_on": {}}, "/go_on/epochs", "required"),
        ({"seeds": [3, 4]}, "/seeds", "has no run with seed 4"),
        ({"seeds": [5]}, "/seeds", "has failed"),
        ({"set": {"dataset.split_seed": 1}}, "/like", "another cut"),
        ({"model": "mlp"}, "/model", "unknown field"),
        ({"epochs": 3}, "/epochs", "'go_on' says how many epochs"),
        ({"set": {"epochs": 3}}, "/set/epochs", "'go_on' says how many epochs"),
    ],
)
def test_what_cannot_go_on_is_refused_where_it_was_said(
    api: TestClient, database: Database, change: dict[str, Any], pointer: str, said: str
) -> None:
    first = post(api, {**BASE, "seeds": [5, 3]})
    fail_next(database)
    found = faults(api, {"like": first["id"], "seeds": [3], "go_on": {"epochs": 2}, **change})
    assert found[0][0] == pointer
    assert said in found[0][1]


def test_students_and_nothing_do_not_go_on(api: TestClient) -> None:
    student = post(api, {"kind": "distill", "teacher": {"spec": {}}, "student": {"hidden": [4]}})
    ((pointer, said, _),) = faults(api, {"like": student["id"], "go_on": {"epochs": 2}})
    assert (pointer, "is of kind 'distill'" in said) == ("/like", True)
    ((pointer, said, _),) = faults(api, {"kind": "continue", "origin": "exp_none"})
    assert (pointer, "there is no experiment" in said) == ("/origin/experiment", True)
    ((pointer, said, _),) = faults(api, {"go_on": {"epochs": 2}})
    assert "goes with 'like'" in said


def test_a_study_does_not_go_on(api: TestClient) -> None:
    first = post(api, BASE)
    body = {"spec": {"kind": "continue", "origin": first["id"]}, "vary": {"epochs": [1, 2]}}
    answer = api.post("/studies", json=body)
    assert answer.status_code == 422
    assert "begin anew" in answer.json()["errors"][0]["message"]
