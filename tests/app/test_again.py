"""An experiment like another, with what was changed."""

from typing import Any

import pytest
from starlette.testclient import TestClient

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
