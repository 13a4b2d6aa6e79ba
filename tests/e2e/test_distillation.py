"""Distillation over the API: teacher first, students after it, once each, whatever dies in between."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.service import Service, wait_until

TEACHER = {"model": {"hidden": [128, 128]}, "epochs": 12, "optimizer": {"learning_rate": 0.003}}
STUDENT: dict[str, Any] = {
    "kind": "distill",
    "name": "small student",
    "teacher": {"spec": TEACHER},
    "student": {"hidden": [12, 12]},
    "epochs": 8,
    "seeds": 3,
}
SLOW = {"model": {"depth": 6, "width": 512}, "epochs": 60}


def experiments_of(service: Service) -> list[Any]:
    return service.get("/experiments?limit=500")["data"]


def test_a_teacher_is_trained_first_and_its_students_start_by_themselves(service: Service) -> None:
    before = len(experiments_of(service))
    record = service.submit({**STUDENT, "baseline": True})
    assert record["kind"] == "distill"
    assert record["spec"]["teacher"]["spec"]["model"]["hidden"] is None
    assert record["status_reason"] in ("waiting_for_teacher", "no_worker_online")
    assert {run["needs"] for run in record["runs"]} == {record["related"]["teacher_run"]}
    record = service.wait_for(record, "succeeded", 100)
    assert len(experiments_of(service)) == before + 3
    test = record["results"]["test"]
    assert test["teacher_agreement"]["n"] == 3
    assert test["teacher_accuracy"]["mean"] > 0.9
    epoch = service.metrics(record)[0]
    assert {"hard_loss", "soft_loss"} <= set(epoch["train"])
    service.wait_for({"id": record["related"]["baseline"]}, "succeeded", 60)
    table = service.get(record["links"]["distillation"])
    assert table["complete"] is True
    assert table["gain"]["n"] == 3
    assert "percentage point" in table["sentence"]
    assert service.http.get(f"/experiments/{record['id']}/distillation.png").content.startswith(
        b"\x89PNG"
    )
    assert service.http.get(f"/experiments/{record['id']}/curves.png").status_code == 200

    again = service.submit({**STUDENT, "alpha": 0.5, "seeds": 1})
    assert again["related"]["teacher_run"] == record["related"]["teacher_run"], (
        "an equal teacher that has succeeded is taken again"
    )
    assert again["status_reason"] != "waiting_for_teacher"
    by_run = service.submit(
        {**STUDENT, "teacher": record["related"]["teacher_run"], "alpha": 0.5, "seeds": 1}
    )
    assert by_run["fingerprint"] == again["fingerprint"]
    service.wait_for(by_run, "succeeded")
    assert len(experiments_of(service)) == before + 5


def test_a_teacher_that_cannot_succeed_ends_its_students(service: Service) -> None:
    hopeless = {"model": {"width": 64}, "optimizer": {"name": "sgd", "learning_rate": 1e6}}
    record = service.wait_for(
        service.submit({**STUDENT, "teacher": {"spec": hopeless}, "seeds": 2}), "failed"
    )
    assert record["status_reason"] == "teacher_failed"
    assert record["error"]["code"] == "teacher_failed"
    assert [run["attempt"] for run in record["runs"]] == [0, 0]
    refused = service.http.post(
        "/experiments", json={**STUDENT, "teacher": record["related"]["teacher_run"]}
    )
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/teacher/run"


def test_cancelling_a_teacher_ends_its_students(service: Service) -> None:
    record = service.submit({**STUDENT, "teacher": {"spec": SLOW}})
    assert service.run(record)["status"] == "queued"
    service.post(f"/experiments/{record['related']['teacher_experiment']}/cancel")
    record = service.wait_for(record, "failed")
    assert "ended as cancelled" in record["error"]["message"]


@pytest.mark.parametrize(
    ("teacher", "pointer"),
    [
        ("exp_nothing", "/teacher/experiment"),
        ("run_nothing", "/teacher/run"),
        ({"spec": {"dataset": "mnist"}}, "/teacher"),
        ({"spec": {"model": {"widht": 3}}}, "/teacher/spec/model/widht"),
        ({"spec": {"model": {"arch": "vgg", "widths": [8, 8, 8, 8]}}}, "/teacher/spec/model"),
        ({}, "/teacher"),
    ],
)
def test_a_wrong_pairing_is_refused_at_its_place(
    service: Service, teacher: Any, pointer: str
) -> None:
    before = len(experiments_of(service))
    answer = service.http.post("/experiments", json={**STUDENT, "teacher": teacher})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert len(experiments_of(service)) == before


@pytest.mark.slow
def test_kills_between_and_during_the_stages_lose_nothing_and_train_nothing_twice(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(lease_seconds=2, checkpoint_seconds=0.2)
    service.serve()
    slower = {"model": {"hidden": [512, 512]}, "epochs": 10, "batch_size": 8}
    record = service.submit(
        {
            **STUDENT,
            "teacher": {"spec": slower},
            "student": {"hidden": [256, 256]},
            "epochs": 12,
            "batch_size": 8,
            "seeds": 1,
        }
    )
    teacher = {"id": record["related"]["teacher_experiment"]}
    service.wait_for_epoch(teacher, 2)
    service.kill_workers()
    service.wait_for(teacher, "succeeded", 60)
    service.kill_workers()
    wait_until(
        lambda: service.run(record)["progress"]["epoch"] >= 3, 60, "the student is on its way"
    )
    service.kill_workers()
    done = service.wait_for(record, "succeeded", 60)
    assert len(experiments_of(service)) == 2
    assert [epoch["epoch"] for epoch in service.metrics(done)] == list(range(1, 13))
    assert [
        epoch["epoch"] for epoch in service.metrics(service.get(f"/experiments/{teacher['id']}"))
    ] == list(range(1, 11))
    undisturbed = service.submit(
        {
            **STUDENT,
            "teacher": record["related"]["teacher_run"],
            "student": {"hidden": [256, 256]},
            "epochs": 12,
            "batch_size": 8,
            "seeds": 1,
        }
    )
    assert undisturbed["fingerprint"] == done["fingerprint"]
    undisturbed = service.wait_for(undisturbed, "succeeded", 60)
    assert service.weights_sha256(undisturbed) == service.weights_sha256(done)
