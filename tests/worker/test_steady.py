"""What is no message is told from what is one. That no worker ends by it: tests/e2e/test_broker_faults.py."""

import json
from typing import Any

import pytest
from kombu import Connection

from app.doorbell import QUEUE
from worker.steady import fault_of

WHOLE: dict[str, Any] = {
    "body": "W10=",
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"task": "lab.work", "id": "1"},
    "properties": {
        "delivery_tag": "1",
        "delivery_info": {"exchange": "", "routing_key": QUEUE},
        "body_encoding": "base64",
    },
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
