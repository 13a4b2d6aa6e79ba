"""The main job: POST an experiment, a worker trains it, JSON and pictures come back."""

import csv
import hashlib
import io
import json
import time
from datetime import datetime

import pytest

from tests.e2e.service import Service, wait_until

SMALL = {
    "dataset": "digits",
    "model": {"arch": "mlp", "hidden": [32, 16], "dropout": 0.1},
    "epochs": 4,
}
LONG = {"dataset": "digits", "model": {"arch": "mlp", "depth": 4, "width": 512}, "epochs": 5000}


@pytest.fixture(scope="module")
def finished(service: Service) -> dict:
    return service.wait_for(service.submit({**SMALL, "seeds": 2, "name": "two seeds"}), "succeeded")


def test_a_posted_experiment_is_trained_with_every_seed(service: Service, finished: dict) -> None:
    assert [run["status"] for run in finished["runs"]] == ["succeeded", "succeeded"]
    assert finished["status_reason"] == "completed"
    assert finished["progress"] == {"fraction": 1.0, "epoch": 4, "epochs": 4}
    assert finished["estimate"]["parameters"] == 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    accuracy = finished["results"]["test"]["accuracy"]
    assert accuracy["n"] == 2
    assert accuracy["values"] == [run["test"]["accuracy"] for run in finished["runs"]]
    assert accuracy["ci95"][0] < accuracy["mean"] < accuracy["ci95"][1]
    assert len(finished["environment"]["dataset_sha256"]) == 64


def test_metrics_have_one_row_per_run_and_epoch_in_json_and_csv(
    service: Service, finished: dict
) -> None:
    runs = service.get(finished["links"]["metrics"])["runs"]
    assert [[epoch["epoch"] for epoch in run["epochs"]] for run in runs] == [[1, 2, 3, 4]] * 2
    for epoch in runs[0]["epochs"]:
        assert set(epoch["train"]) == {"loss", "accuracy", "learning_rate", "seconds"}
        assert set(epoch["val"]) == {"loss", "accuracy", "seconds"}
    answer = service.http.get(finished["links"]["metrics"], params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert [(row["seed"], row["epoch"]) for row in rows] == [
        (seed, str(epoch)) for seed in "01" for epoch in range(1, 5)
    ]
    assert float(rows[0]["val.loss"]) == runs[0]["epochs"][0]["val"]["loss"]


def test_the_best_epoch_is_the_one_of_lowest_val_loss(service: Service, finished: dict) -> None:
    for number, run in enumerate(finished["runs"]):
        losses = {
            epoch["epoch"]: epoch["val"]["loss"] for epoch in service.metrics(finished, number)
        }
        assert run["best"]["epoch"] == min(losses, key=lambda epoch: losses[epoch])
        assert run["best"]["val"]["loss"] == min(losses.values())


@pytest.mark.parametrize(
    ("extension", "beginning"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_curves_come_as_picture_with_an_etag(
    service: Service, finished: dict, extension: str, beginning: bytes
) -> None:
    path = f"/experiments/{finished['id']}/curves.{extension}"
    answer = service.http.get(path)
    assert answer.status_code == 200
    assert answer.content.startswith(beginning)
    again = service.http.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_artifacts_are_downloaded_whole(service: Service, finished: dict) -> None:
    listed = service.get(finished["runs"][0]["links"]["artifacts"])["data"]
    assert {artifact["name"] for artifact in listed} == {
        "weights.safetensors",
        "weights-last.safetensors",
        "spec.json",
        "predictions.safetensors",
        "evaluation.json",
    }
    for artifact in listed:
        answer = service.http.get(artifact["links"]["self"])
        assert hashlib.sha256(answer.content).hexdigest() == artifact["sha256"]
        assert "attachment" in answer.headers["content-disposition"]
    spec = json.loads(
        service.http.get(f"/runs/{finished['runs'][0]['id']}/artifacts/spec.json").content
    )
    assert spec["spec"] == finished["spec"]
    assert spec["fingerprint"] == finished["fingerprint"]


def test_checkpoints_of_a_finished_run_are_removed(service: Service, finished: dict) -> None:
    for run in finished["runs"]:
        assert not list((service.home / "runs" / run["id"]).rglob("checkpoint-*"))


def test_equal_spec_and_seed_give_equal_bits(service: Service, finished: dict) -> None:
    again = service.wait_for(service.submit({**SMALL, "seeds": [1]}), "succeeded")
    assert again["fingerprint"] == finished["fingerprint"]
    assert service.weights_sha256(again) == service.weights_sha256(finished, 1)
    assert service.weights_sha256(again) != service.weights_sha256(finished, 0)


def test_a_cancel_takes_effect_within_two_seconds_while_an_epoch_runs(service: Service) -> None:
    experiment = service.submit(LONG)
    service.wait_for_epoch(experiment, 1)
    began = time.monotonic()
    service.post(f"/experiments/{experiment['id']}/cancel")
    record = service.wait_for(experiment, "cancelled", 10)
    assert time.monotonic() - began < 2.0
    assert record["status_reason"] == "cancelled_by_user"
    wait_until(
        lambda: len(service.trainer_pids()) <= 1,
        5,
        "the cancelled trainer is gone and only the spare is left",
    )


def test_a_cancelled_queued_run_never_starts(service: Service) -> None:
    first = service.submit(LONG)
    service.wait_for(first, "running")
    second = service.submit({**SMALL, "seeds": 3})
    assert second["queue"]["position"] == 1
    cancelled = service.post(f"/experiments/{second['id']}/cancel")
    assert cancelled["status"] == "cancelled"
    service.post(f"/experiments/{first['id']}/cancel")
    service.wait_for(first, "cancelled")
    service.wait_for(service.submit(SMALL), "succeeded")
    assert all(run["attempt"] == 0 for run in service.record(second)["runs"])


def test_a_run_that_diverges_fails_with_a_reason(service: Service) -> None:
    experiment = service.submit({**SMALL, "optimizer": {"name": "sgd", "learning_rate": 1e6}})
    record = service.wait_for(experiment, "failed")
    assert record["error"]["code"] == "diverged"
    assert "learning rate 1e+06" in record["error"]["message"]
    assert record["runs"][0]["attempt"] == 1


def test_a_data_set_that_is_neither_there_nor_to_be_had_fails_with_what_to_do(
    service: Service,
) -> None:
    experiment = service.submit({**SMALL, "dataset": "mnist"})
    record = service.wait_for(experiment, "failed")
    assert record["error"]["code"] == "dataset_unavailable"
    assert "LAB_DATA_DIR" in record["error"]["hint"]
    assert record["status_message"].startswith("Failed: MNIST is in none of the data folders")


def test_a_warm_worker_reaches_its_first_step_in_a_fraction_of_a_second(
    service: Service, finished: dict
) -> None:
    waits = []
    for _ in range(3):
        experiment = service.submit({**SMALL, "epochs": 1})
        service.wait_for(experiment, "succeeded")
        attempt = service.run(experiment)["attempts"][0]
        created, first_step = (
            datetime.fromisoformat(text).timestamp()
            for text in (experiment["created_at"], attempt["first_step_at"])
        )
        waits.append(first_step - created)
    assert sorted(waits)[1] < 1.0, f"seconds from POST to first step: {waits}"
