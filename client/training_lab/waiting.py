"""To wait for an end, whatever becomes of the service meanwhile."""

import time
from collections.abc import Callable
from typing import Any

from training_lab.errors import LabError, Refused, TimedOut, Unreachable
from training_lab.progress import Shown, display_for
from training_lab.retrying import PASSING, backoff, document_of
from training_lab.steps import Plan, Reply, Request, Sleep

HOLD_SECONDS = 25.0
"""How long the service holds an answer of which nobody sees the progress."""
SEEN_HOLD_SECONDS = 1.0
POLL_SECONDS = 0.2
POLL_SHARE = 0.1
"""The most of its time that a service spends on answering one who waits, where it cannot hold the answer."""
MOST_BACKOFF = 3
"""Who waits looks again after 4 s at most, however long the service is away."""
GONE_SECONDS = 600.0
"""How long the service may be away before waiting ends with Unreachable."""


def until_over(
    path: str,
    *,
    may_hold: bool,
    timeout: float | None,
    progress: Shown,
    title: Callable[[dict[str, Any]], str],
) -> Plan[dict[str, Any]]:
    """The record once it has ended; raises TimedOut, and Unreachable when the service was away for GONE_SECONDS."""
    display = display_for(progress)
    began, away, number = time.monotonic(), None, 0
    called, fraction = path.rpartition("/")[2], 0.0
    try:
        while True:
            asked = time.monotonic()
            left = None if timeout is None else began + timeout - asked
            try:
                reply: Reply = yield _look(path, may_hold, display.is_seen, left)
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and error.status not in PASSING:
                    raise
                now = time.monotonic()
                away = asked if away is None else away
                if now - away > GONE_SECONDS:
                    raise
                _refuse_late(path, began, timeout)
                display.show(called, fraction, "the service does not answer; trying again")
                yield Sleep(backoff(min(number, MOST_BACKOFF)))
                number += 1
                continue
            away, number = None, 0
            record: dict[str, Any] = document(reply)
            far = record.get("progress") or {}
            called, fraction = title(record), float(far.get("fraction") or 0)
            display.show(called, fraction, str(record.get("status_message", "")))
            if record.get("is_terminal"):
                return record
            _refuse_late(path, began, timeout)
            if not may_hold:
                took = time.monotonic() - asked
                yield Sleep(max(POLL_SECONDS, took / POLL_SHARE))
    finally:
        display.close()


def _look(path: str, may_hold: bool, is_seen: bool, left: float | None) -> Request:
    if not may_hold:
        return Request("GET", path)
    hold = SEEN_HOLD_SECONDS if is_seen else HOLD_SECONDS
    hold = hold if left is None else max(0.0, min(hold, left))
    return Request("GET", path, {"wait": f"{hold:.3f}"}, patience=hold)


def _refuse_late(path: str, began: float, timeout: float | None) -> None:
    if timeout is not None and time.monotonic() - began >= timeout:
        identifier = path.rpartition("/")[2]
        raise TimedOut(
            f"{identifier} has not ended within {timeout:g} s; it goes on: wait() again, or cancel() it"
        )


def document(reply: Reply) -> Any:
    """The JSON of a success; raises LabError where it is none, such as a page of something in between."""
    found = document_of(reply)
    if found is None:
        raise LabError(
            f"the answer is no JSON but {reply.headers.get('content-type', 'something else')}: is this a training-lab"
            " service?"
        )
    return found
