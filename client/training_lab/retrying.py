"""When a request is sent again, and after how long."""

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from training_lab.errors import Refused, Unreachable, refusal
from training_lab.steps import Failure, Plan, Reply, Request, Send, Sleep

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
LONGEST_RETRY_AFTER = 120.0
"""Who is asked to wait longer is told so instead."""
OVERLOADED = frozenset({429, 503})
"""With `Retry-After` nothing was done, and the same may be sent again, whatever it is."""
OF_PROXIES = frozenset({502, 503, 504})
"""What stands between us and a service that is away, or just starting."""
PASSING = OF_PROXIES | OVERLOADED
"""What ends by itself, for who has patience."""
NOBODY_THERE = (
    "Is the service running? Start it with `lab serve`, or name another by"
    " `lab login URL`, --url, LAB_URL or url=."
)
NO_SERVICE = (
    ", which is no answer of a training-lab service: look whether {url} is its address"
    " (`lab login URL`, --url, LAB_URL)"
)


def attempts(request: Request, retries: int, base_url: str) -> Plan[Reply]:
    """The reply to a request that succeeds within so many retries; raises Refused, Unreachable."""
    for number in range(retries + 1):
        reply: Reply | Failure = yield Send(request)
        pause = pause_after(request, reply, number)
        if pause is None or number == retries:
            break
        yield Sleep(pause)
    return answered(reply, request, base_url)


def answered(reply: Reply | Failure, request: Request, base_url: str) -> Reply:
    """The reply, if it is a success; raises Refused, Unreachable."""
    if isinstance(reply, Failure):
        raise unreachable(reply, request, base_url)
    if not 200 <= reply.status < 300:
        raise refused(reply, base_url)
    return reply


def pause_after(request: Request, reply: Reply | Failure, number: int) -> float | None:
    """Seconds before the next try; None where there is to be none, since it went well or another try is not safe or of
    no use.
    """
    if isinstance(reply, Failure):
        return backoff(number) if request.is_repeatable or not reply.was_sent else None
    wish = retry_after(reply.headers)
    if reply.status in OVERLOADED and wish is not None:
        # all who were told the same do not come at the same moment
        return wish + random.uniform(0, 0.25 * wish) if wish <= LONGEST_RETRY_AFTER else None
    return backoff(number) if reply.status in OF_PROXIES and request.is_repeatable else None


def backoff(number: int) -> float:
    """Seconds after the try of that number, from 0: twice as long each time, with chance in it."""
    most = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(number, 10))
    return random.uniform(most / 2, most)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the header asks to wait; it has these or a date."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal() and said.isascii():
        return float(said)
    from email.utils import parsedate_to_datetime  # late: seldom needed, and large

    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def refused(reply: Reply, base_url: str) -> Refused:
    """The exception for an answer that is no success."""
    found = document_of(reply)
    if not isinstance(found, dict) or "title" not in found:
        # what stands between may say of itself that the service is away
        strange = "" if reply.status in PASSING else NO_SERVICE.format(url=base_url)
        reason = f"{reply.reason}{strange}"
    else:
        reason = reply.reason
    return refusal(reply.status, reason, found, retry_after(reply.headers))


def document_of(reply: Reply) -> Any:
    """The JSON of an answer; None where it is none."""
    try:
        return json.loads(reply.content)
    except ValueError:
        return None


def unreachable(failure: Failure, request: Request, base_url: str) -> Unreachable:
    """The exception for no answer at all."""
    if failure.was_sent and not request.is_repeatable:
        perhaps = "\nIt may have been carried out: look before you send it again."
    elif "WRONG_VERSION_NUMBER" in failure.reason:
        perhaps = "\nIt speaks no TLS: write http:// in place of https://."
    else:
        perhaps = f"\n{NOBODY_THERE}"
    return Unreachable(f"no answer from {base_url}: {failure.reason}{perhaps}")
