"""How often somebody may ask: a bucket of tokens each, filled evenly, emptied by requests."""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_BUCKETS: Final = 10_000
"""Callers that are remembered; the one that was silent longest is forgotten first, so that made-up addresses cannot
fill the memory.
"""


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


class Rates:
    """Buckets of `per_minute` tokens: a burst of a minute's requests is fine, more must wait. Of one process, and of
    one thread: the event loop.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self._size = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, caller: str) -> int:
        """Count one request: 0 where it may pass, else the whole seconds after which the next may. A size of 0 means no
        limit.
        """
        wait = self.would_wait_seconds(caller)
        if self._size and not wait:
            self._buckets[caller].tokens -= 1.0
        return wait

    def would_wait_seconds(self, caller: str) -> int:
        """The same without counting it."""
        if not self._size:
            return 0
        now = self._clock()
        bucket = self._buckets.pop(caller, None) or _Bucket(self._size, now)
        bucket.tokens = min(
            self._size, bucket.tokens + (now - bucket.filled_at) * self._size / 60.0
        )
        bucket.filled_at = now
        self._buckets[caller] = bucket
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        if bucket.tokens >= 1.0:
            return 0
        return max(1, math.ceil((1.0 - bucket.tokens) * 60.0 / self._size))
