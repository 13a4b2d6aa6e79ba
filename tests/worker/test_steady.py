"""What is no message is told from what is one, and said once a minute however much it is. That no worker ends by it: tests/e2e/test_broker_faults.py."""

import json
import logging
from typing import Any

import pytest
from kombu import Connection

from app.queue import QUEUE
from worker import steady
from worker.steady import Dropped, fault_of

WHOLE: dict[str, Any] = {
    "body": "W10=",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"task": "lab.work", "id": "1"},
    "properties": {"delivery_tag": "1", "delivery_info": {"exchange": "", "routing_key": QUEUE}, "body_encoding": "base64"},
}


def changed(**properties: Any) -> dict[str, Any]:
    return {**WHOLE, "properties": {**WHOLE["properties"], **properties}}


@pytest.mark.parametrize(
    ("message", "is_one"),
    [
        (WHOLE, True),
        ({**WHOLE, "headers": None}, True),  # what task it is for is Celery's to say
        (None, False),
        (3, False),
        ("text", False),
        ([], False),
        ({}, False),
        ({"properties": None}, False),
        ({**WHOLE, "headers": []}, False),
        ({**WHOLE, "body": 5}, False),
        ({**WHOLE, "body": "not base64"}, False),
        (changed(delivery_tag={}), False),
        (changed(delivery_info=None), False),
        (changed(delivery_info={"exchange": ""}), False),
        (changed(delivery_info={"exchange": [], "routing_key": QUEUE}), False),
        (changed(body_encoding="rot13"), False),
    ],
)
def test_a_message_is_told_from_what_is_none(message: Any, is_one: bool) -> None:
    with Connection("memory://") as connection:
        assert (fault_of(json.loads(json.dumps(message)), connection.channel()) is None) == is_one


def test_a_flood_is_said_once_a_minute_with_how_much_it_was(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    monkeypatch.setattr(steady.time, "monotonic", lambda: now)
    dropped = Dropped()
    with caplog.at_level(logging.WARNING, logger="lab.worker"):
        for number in range(6001):
            now = number / 100
            dropped.add("x" * 10_000)
    assert [len(record.getMessage()) < 300 for record in caplog.records] == [True, True]
    assert ["1 time(s)" in caplog.messages[0], "6000 time(s)" in caplog.messages[1]] == [True, True]
