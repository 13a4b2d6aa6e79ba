"""When a delivery is tried again, and what a webhook is disabled for; by what its receiver has answered alone."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

RETRY_AFTER: Final = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
)
"""How long after each try but the last: a receiver that is started anew misses nothing, nor does one that is away for a
night's first half.
"""
MOST_TRIES: Final = len(RETRY_AFTER) + 1
GONE: Final = 410
GONE_REASON: Final = "its receiver answered 410 Gone: it wants no more"


@dataclass(frozen=True)
class Attempted:
    """What came of a try: the status of an answer, and the beginning of its text; or why there is none."""

    http_status: int | None = None
    answer: str | None = None
    error: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None and self.http_status is not None and self.http_status // 100 == 2

    @property
    def in_words(self) -> str:
        """What went wrong."""
        return self.error or f"status {self.http_status}"


@dataclass(frozen=True)
class Consequence:
    """What follows of a try: how the delivery stands, when the next try is due, and why its webhook is disabled."""

    status: str
    due_at: datetime | None = None
    disabled_reason: str | None = None


def consequence_of(
    attempted: Attempted,
    tries: int,
    now: datetime,
    *,
    is_test: bool = False,
    has_taken_others: bool = False,
) -> Consequence:
    """What follows of the try that was number `tries`. A test is tried once. `has_taken_others`: since this delivery
    was made the webhook has taken another, so that it is this one that cannot be taken.
    """
    if attempted.is_success:
        return Consequence("succeeded")
    if attempted.http_status == GONE and attempted.error is None:
        return Consequence("failed", disabled_reason=GONE_REASON)
    if is_test:
        return Consequence("failed")
    if tries < MOST_TRIES:
        return Consequence("pending", now + RETRY_AFTER[tries - 1])
    reason = f"{MOST_TRIES} tries have failed, the last with: {attempted.in_words}"
    return Consequence("failed", disabled_reason=None if has_taken_others else reason)
