"""Every request: an id, a line in the log, and a count. A plain ASGI wrapper, so streams and uploads pass through
untouched.
"""

import asyncio
import logging
import re
import secrets
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final, Literal

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logging import about, bound

BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of a duration's histogram: Prometheus' usual ones, and 30 s for uploads and reports."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SANE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")
UNMATCHED: Final = "unmatched"
"""The route of what nothing serves: addresses that people make up must not become labels without end."""

HAS_LEFT: Final = "lab.has_left"
"""In the scope's extensions: tells whether the client has left before its answer was whole. Where nobody can tell, it
is not there.
"""
READ_WITHIN: Final = "lab.read_within"
"""In the scope's extensions: asks that the connection be closed once nothing of this answer is read for so many
seconds, if that is less than it has anyway.
"""
EVENT_STREAM: Final = "text/event-stream"
"""What an answer is that goes on for hours: only how long it took to begin says something of the service."""
LEFT: Final = 499
"""What a client that has left counts as, as it does elsewhere: nobody was answered, and nobody is at fault."""
CUT_OFF: Final = 503

AccessLog = Literal["changes", "all", "none"]

log = logging.getLogger("lab.access")


def has_left(scope: Scope) -> bool:
    """Whether the client has left before its answer was whole, as far as anybody can tell."""
    tells = scope.get("extensions", {}).get(HAS_LEFT)
    return tells is not None and bool(tells())


@dataclass
class Durations:
    """How long requests took: `buckets[i]` counts those up to `BUCKETS_SECONDS[i]` and above the one before, the last
    those above all.
    """

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))
    sum_seconds: float = 0.0


class Traffic:
    """The requests that this process has answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, str], int] = {}
        self._durations: dict[tuple[str, str], Durations] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One more answer."""
        with self._lock:
            key = (method, route, str(status))
            self._requests[key] = self._requests.get(key, 0) + 1
            durations = self._durations.setdefault((method, route), Durations())
            durations.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1
            durations.sum_seconds += seconds

    def requests(self) -> dict[tuple[str, str, str], int]:
        """Answers by (method, route, status)."""
        with self._lock:
            return dict(self._requests)

    def durations(self) -> dict[tuple[str, str], Durations]:
        """How long they took, by (method, route)."""
        with self._lock:
            return {
                key: Durations(list(value.buckets), value.sum_seconds)
                for key, value in self._durations.items()
            }


def observe(app: FastAPI, access_log: AccessLog) -> None:
    """Wrap everything, also what answers unexpected errors; the counts are in `app.state.traffic`."""
    traffic = app.state.traffic = Traffic()
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Observed(build(), traffic, access_log)  # type: ignore[method-assign]


class Observed:
    """An ASGI application whose every answer carries `X-Request-Id`, is logged, and counted."""

    def __init__(self, app: ASGIApp, traffic: Traffic, access_log: AccessLog) -> None:
        self._app, self._traffic, self._access_log = app, traffic, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what goes wrong inside is counted as 500 and raised on, and one whose client has left as
        499.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        request_id = _request_id(scope)
        has_begun, is_recorded, status = False, False, 500

        async def send_with_id(message: Message) -> None:
            nonlocal has_begun, is_recorded, status
            if message["type"] == "http.response.start":
                has_begun = True
                status = message["status"]
                if _is_event_stream(message):
                    is_recorded = True
                    self._record(scope, status, time.monotonic() - began)
                message = {
                    **message,
                    "headers": [
                        *message.get("headers", ()),
                        (b"x-request-id", request_id.encode()),
                    ],
                }
            await send(message)

        with bound(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except asyncio.CancelledError:
                status = status if has_begun else CUT_OFF
                raise
            finally:
                if not is_recorded:
                    self._record(
                        scope,
                        LEFT if status < 500 and has_left(scope) else status,
                        time.monotonic() - began,
                    )

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._traffic.count(method, _route(scope), status, seconds)
        # still quoted: no line end gets into the log
        path = (
            scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "backslashreplace") or "/"
        )
        level = self._level(method, status)
        if log.isEnabledFor(level):
            fields = about(
                method=method, path=path, status=status, milliseconds=round(1000 * seconds, 1)
            )
            log.log(level, "%s %s %d %.1f ms", method, path, status, 1000 * seconds, extra=fields)

    def _level(self, method: str, status: int) -> int:
        """What is only read, many times a minute by whoever waits, is left out unless all is wanted."""
        if status >= 500:
            return logging.WARNING
        shown = self._access_log == "all" or (
            self._access_log == "changes" and method not in {"GET", "HEAD"}
        )
        return logging.INFO if shown else logging.DEBUG


def _is_event_stream(start: Message) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(EVENT_STREAM.encode())
        for name, value in start.get("headers", ())
    )


def _request_id(scope: Scope) -> str:
    """The client's own where it is short and plain, else a new one."""
    given = next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), ""
    )
    return given if SANE_ID.fullmatch(given) else secrets.token_hex(8)


def _route(scope: Scope) -> str:
    """The route's template, such as `/runs/{run_id}`."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))
