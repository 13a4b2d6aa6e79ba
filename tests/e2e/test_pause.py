"""A running run is paused and resumed for real: it leaves soon, keeps its progress, and ends with the bits of one that
never paused.
"""

import pytest

from tests.e2e.service import Service, wait_until
from tests.e2e.test_faults import STEADY, MakeService, require_same_run


@pytest.mark.slow
def test_a_run_that_pauses_twice_ends_with_the_same_bits(make_service: MakeService) -> None:
    service: Service = make_service()
    service.serve()
    undisturbed = service.submit(STEADY)
    service.wait_for(undisturbed, "succeeded")
    disturbed = service.submit(STEADY)
    for after_epoch in (5, 25):
        before = service.wait_for_epoch(disturbed, after_epoch)["progress"]["fraction"]
        service.post(f"/experiments/{disturbed['id']}/pause")
        paused = service.wait_for(disturbed, "paused", 30)
        assert paused["progress"]["fraction"] >= before - 1 / STEADY["epochs"], (
            "at most an epoch is lost"
        )
        assert paused["status_reason"] == "paused_by_user"
        wait_until(
            lambda: len(service.trainer_pids()) <= 1,
            30,
            "its trainer is gone; a spare one may be there",
        )
        service.post(f"/experiments/{disturbed['id']}/resume")
    service.wait_for(disturbed, "succeeded", 90)
    run = service.run(disturbed)
    assert [attempt["outcome"] for attempt in run["attempts"]] == [
        "paused_by_user",
        "paused_by_user",
        "completed",
    ]
    assert [change["reason"] for change in run["history"]][1:5] == [
        "starting",
        "paused_by_user",
        "waiting_for_worker",
        "starting",
    ]
    require_same_run(service, disturbed, undisturbed)


def test_while_one_run_is_paused_the_worker_takes_the_next(make_service: MakeService) -> None:
    service: Service = make_service()
    service.serve()
    long = service.submit({**STEADY, "epochs": 5000})
    service.wait_for_epoch(long, 1)
    service.post(f"/experiments/{long['id']}/pause")
    short = service.submit({**STEADY, "epochs": 2})
    service.wait_for(short, "succeeded")
    assert service.record(long)["status"] == "paused"
    cancelled = service.post(f"/experiments/{long['id']}/cancel")
    assert (cancelled["status"], cancelled["is_terminal"]) == ("cancelled", True)
