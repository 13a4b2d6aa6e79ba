"""Webhooks of a real service whose sender, or the service itself, is killed while a receiver has a message."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.app.receivers import Receiver, receiving, status
from tests.e2e.service import Service, command_of, is_alive, parent_of, wait_until

QUEUED = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 3}


def senders(service: Service) -> list[int]:
    return [pid for pid in service.lab_pids() if "app.sender" in command_of(pid)]


def end_one(service: Service) -> str:
    record = service.submit(QUEUED)
    service.post(f"/experiments/{record['id']}/cancel")
    return str(record["id"])


def told(service: Service, webhook: Any) -> list[Any]:
    found: list[Any] = service.get(f"/webhooks/{webhook['id']}/deliveries")["data"]
    return found


def keeps_the_first(receiver: Receiver) -> Callable[[Any], None]:
    """Answer nothing to the first, until the test is over."""
    first = threading.Lock()

    def answer(handler: Any) -> None:
        if first.acquire(blocking=False):
            receiver.closing.wait(60)
        status(200)(handler)

    return answer


def test_kill_9_of_the_sender_while_a_receiver_has_a_message_has_it_sent_again_under_its_id(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(webhook_private="true")
    api = service.api()
    assert senders(service) == []  # without webhooks nothing runs
    with receiving() as receiver:
        receiver.answers["/hook"] = keeps_the_first(receiver)
        webhook = service.post("/webhooks", {"url": receiver.url()})
        ended = end_one(service)
        wait_until(lambda: receiver.received, 30, "the message has arrived")
        (first,) = senders(service)
        assert parent_of(first) == api.pid
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: told(service, webhook)[0]["status"] == "succeeded", 40, "it is taken")
        assert senders(service) != [first]
    assert [one["subject_id"] for one in told(service, webhook)] == [ended]
    assert len(receiver.received) == 2
    assert len({(one.id, one.body) for one in receiver.received}) == 1
    assert "app.sender ended, killed by SIGKILL" in service.read_log()
    assert "Traceback" not in service.read_log()


@pytest.mark.slow
def test_kill_9_of_the_service_ends_its_sender_and_the_next_start_goes_on(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(webhook_private="true")
    api = service.api()
    with receiving() as receiver:
        receiver.answers["/hook"] = keeps_the_first(receiver)
        webhook = service.post("/webhooks", {"url": receiver.url()})
        end_one(service)
        wait_until(lambda: receiver.received, 30, "the message has arrived")
        (first,) = senders(service)
        later = end_one(service)
        api.kill()
        wait_until(lambda: not is_alive(first), 10, "the sender has ended with it")
        service.api()
        wait_until(
            lambda: [one["status"] for one in told(service, webhook)] == ["succeeded"] * 2,
            40,
            "both are taken",
        )
    assert told(service, webhook)[0]["subject_id"] == later
    assert len({one.id for one in receiver.received}) == 2
    service.http.delete(f"/webhooks/{webhook['id']}")
    wait_until(lambda: not senders(service), 10, "without webhooks nothing runs")
