"""A service saved while it trains, and set up again in an empty folder."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import LAB, Service

pytestmark = pytest.mark.sqlite

DONE: dict[str, Any] = {"dataset": "digits", "model": {"hidden": [16]}, "epochs": 2, "seeds": 2}
LONG: dict[str, Any] = {
    "dataset": "digits",
    "model": {"hidden": [128, 128]},
    "epochs": 48,
    "batch_size": 8,
}


def lab(service: Service, *arguments: str) -> str:
    done = subprocess.run(
        [*LAB, *arguments], env=service._environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def artifacts(service: Service, record: Any) -> dict[str, bytes]:
    return {
        f"{run['id']}/{artifact['name']}": service.http.get(
            f"/runs/{run['id']}/artifacts/{artifact['name']}"
        ).content
        for run in record["runs"]
        for artifact in service.get(f"/runs/{run['id']}/artifacts")["data"]
    }


@pytest.mark.slow
def test_a_backup_made_while_runs_train_is_put_back_in_a_new_home_where_everything_answers(
    make_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = make_service()
    service.serve()
    done = service.wait_for(service.submit(DONE), "succeeded")
    kept = artifacts(service, done)
    long = service.submit(LONG)
    service.wait_for_epoch(long, 3)
    backup = ("backup", str(tmp_path / "lab.db"), "--files", str(tmp_path / "files"))
    assert " 0 were there already" in lab(service, *backup)
    service.wait_for_epoch(long, 5)
    second = lab(service, *backup, "--force").splitlines()[1]
    assert int(second.split(", ")[1].split()[0]) >= len(kept), (
        "what is published is not copied again"
    )
    straight = service.wait_for(long, "succeeded")
    weights = service.weights_sha256(long)
    service.stop()

    again = make_service()
    said = lab(again, "restore", *backup[1:])
    assert "Runs that are not finished: 1" in said
    assert "neither in the backup nor here" not in said
    again.serve()
    assert again.record(done) == done
    assert artifacts(again, done) == kept
    assert again.http.get(f"/experiments/{done['id']}/curves.png").is_success
    finished = again.wait_for(long, "succeeded")  # which has prepared the data set once more
    image = {"split": "test", "row": 1}
    assert again.post(f"/runs/{done['runs'][0]['id']}/predict", image)["label"] is not None
    resumed = again.run(long)["attempts"][-1]["resumed_from"]
    assert resumed is not None
    assert resumed["epoch"] >= 4
    assert again.weights_sha256(long) == weights, "bit for bit"
    assert finished["results"] == straight["results"]
