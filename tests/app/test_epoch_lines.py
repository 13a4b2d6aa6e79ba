"""The lines of epochs that whoever waits for an experiment gets: each epoch of each run once, none of a reused run."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.services import lifecycle
from app.services.experiments import metrics
from app.services.lifecycle import EpochDone, Lease
from app.storage.db import Database
from lab_models.training import epoch_lines as console
from training_lab.commands import epoch_lines
from training_lab.commands.epoch_lines import EpochLines

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases

BODY = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 3}


@pytest.fixture
def claimed(database: Database) -> Callable[[], Lease]:
    def claim() -> Lease:
        with database.writing() as session:
            lease = lifecycle.claim(session, "worker")
        assert lease is not None
        return lease

    return claim


def finish_epoch(database: Database, lease: Lease, epoch: int, loss: float) -> None:
    numbers = {"loss": loss, "accuracy": 0.5, "seconds": 1.0}
    with database.writing() as session:
        done = EpochDone(epoch, epoch, {"loss": loss, "accuracy": 0.5})
        lifecycle.renew(session, lease, done)
        train = {**numbers, "learning_rate": 0.001}
        metrics.record_epoch(session, lease.run_id, epoch, {"train": train, "val": numbers})


def succeed(database: Database, lease: Lease) -> None:
    with database.writing() as session:
        lifecycle.succeed(session, lease, best={}, test={"accuracy": 0.5})


def watched(api: TestClient, record: dict[str, Any]) -> tuple[Callable[[], list[str]], list[str]]:
    """Tells what is new, and the addresses that were asked for."""
    said: list[str] = []
    asked: list[str] = []

    def get(path: str) -> Any:
        asked.append(path)
        return api.get(path).json()

    lines = EpochLines(get, said.append)

    def tell() -> list[str]:
        said.clear()
        lines.tell(api.get(f"/experiments/{record['id']}").json())
        return list(said)

    return tell, asked


def test_each_epoch_is_told_once_and_the_best_so_far_has_a_star(
    api: TestClient, database: Database, claimed: Callable[[], Lease]
) -> None:
    record = api.post("/experiments", json=BODY).json()
    tell, asked = watched(api, record)
    assert tell() == []
    lease = claimed()
    finish_epoch(database, lease, 1, 0.9)
    scores = "train loss {0} acc 50.00 %  val loss {0} acc 50.00 %  2.0 s  lr 0.001"
    assert tell() == [f"epoch 1/3  {scores.format('0.9000')}  *"]
    assert tell() == []
    finish_epoch(database, lease, 2, 0.95)
    finish_epoch(database, lease, 3, 0.8)
    assert tell() == [
        f"epoch 2/3  {scores.format('0.9500')}",
        f"epoch 3/3  {scores.format('0.8000')}  *",
    ]
    succeed(database, lease)
    assert [tell(), tell()] == [[], []]
    assert len(asked) == 3, "numbers are asked for only when a run has gone on or has just ended"


def test_of_several_seeds_each_line_says_whose_it_is(
    api: TestClient, database: Database, claimed: Callable[[], Lease]
) -> None:
    record = api.post("/experiments", json={**BODY, "seeds": [4, 7]}).json()
    tell, _ = watched(api, record)
    leases = claimed(), claimed()
    for lease in leases:
        finish_epoch(database, lease, 1, 0.9)
    assert [line.partition("  train")[0] for line in tell()] == [
        "seed 4  epoch 1/3",
        "seed 7  epoch 1/3",
    ]
    succeed(database, leases[0])
    finish_epoch(database, leases[1], 2, 0.9)
    assert [line.partition("  train")[0] for line in tell()] == ["seed 7  epoch 2/3"]


def test_what_was_taken_over_was_not_trained_and_is_not_told(api: TestClient) -> None:
    asked: list[str] = []
    said: list[str] = []

    def get(path: str) -> Any:
        asked.append(path)
        return {"runs": [{"epochs": []}]}

    record = api.post("/experiments", json=BODY).json()
    run = {**record["runs"][0], "status": "succeeded", "reused_from": "run_other"}
    EpochLines(get, said.append).tell({**record, "runs": [run]})
    assert (asked, said) == ([], [])


@pytest.mark.parametrize("best_by", ["loss", "accuracy"])
def test_the_client_tells_an_epoch_as_the_trainer_alone_does(best_by: str) -> None:
    """Neither knows the other's code."""
    here, there = epoch_lines.BestSoFar(best_by), console.BestSoFar(best_by)
    for epoch, (loss, accuracy) in enumerate(
        [(0.9, 0.5), (0.8, 0.5), (0.8, 0.6), (None, 0.7), (0.7, 0.4), (0.9, 0.6)], start=1
    ):
        val = {"loss": loss, "accuracy": accuracy, "seconds": 0.25}
        train = {"loss": loss, "accuracy": None, "seconds": 1.5, "learning_rate": 1e-4 * epoch}
        numbers = {"train": train, "val": val} if epoch != 5 else {"val": val}
        lines = [
            said.epoch_line(
                epoch, 10, numbers, is_best=best.is_best(numbers), before="seed 1" * (epoch % 2)
            )
            for said, best in ((epoch_lines, here), (console, there))
        ]
        assert lines[0] == lines[1]
