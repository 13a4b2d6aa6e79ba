"""Retry and delete over the API: a killed run goes on to the result it would have had, and is then gone with its
files.
"""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.service import Service, wait_until

SPEC: dict[str, Any] = {
    "dataset": "digits",
    "model": {"hidden": [128, 128]},
    "epochs": 24,
    "batch_size": 8,
}


@pytest.mark.slow
def test_a_failed_and_a_cancelled_run_go_on_to_the_result_they_would_have_had_and_are_deleted(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(max_crashes=1)
    service.serve()
    record = service.submit(SPEC)
    service.wait_for_epoch(record, 2)
    assert service.http.delete(f"/experiments/{record['id']}").status_code == 409
    for pid in service.trainer_pids():
        os.kill(pid, signal.SIGKILL)
    failed = service.wait_for(record, "failed")
    assert failed["error"]["code"] == "crash_loop"
    assert failed["disk_bytes"] > 0

    begun = failed["runs"][0]["progress"]["epoch"]
    service.post(failed["links"]["retry"])
    service.wait_for_epoch(record, begun + 1)
    service.post(f"/experiments/{record['id']}/cancel")
    cancelled = service.wait_for(record, "cancelled")
    assert cancelled["error"] is None

    service.post(f"/experiments/{record['id']}/retry")
    retried = service.wait_for(record, "succeeded")
    attempts = service.run(record)["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == [
        "crash_loop",
        "cancelled_by_user",
        "completed",
    ]
    assert attempts[1]["resumed_from"]["epoch"] >= 2
    assert attempts[2]["resumed_from"]["epoch"] > attempts[1]["resumed_from"]["epoch"]
    assert [epoch["epoch"] for epoch in service.metrics(record)] == list(range(1, 25))

    straight = service.wait_for(service.submit(SPEC), "succeeded")
    assert service.weights_sha256(record) == service.weights_sha256(straight), "bit for bit"
    assert retried["results"] == straight["results"]
    assert (
        service.http.post(f"/experiments/{record['id']}/retry").json()["code"] == "nothing_to_retry"
    )

    folder = service.home / "runs" / record["runs"][0]["id"]
    assert folder.is_dir()
    assert service.http.delete(f"/experiments/{record['id']}").status_code == 204
    wait_until(lambda: not folder.exists(), 5, "the run's folder is gone")
    assert service.http.get(f"/experiments/{record['id']}").status_code == 404
    assert (service.home / "runs" / straight["runs"][0]["id"]).is_dir()
    assert service.weights_sha256(straight) != {}
