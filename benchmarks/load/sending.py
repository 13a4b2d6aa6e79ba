"""Requests that are sent at planned moments, and what became of each: counted from its moment, whatever kept it."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.wire import Answer, Broken, Client

PROBED = "GET /healthz"
GET_READY_SECONDS = 0.2


@dataclass(frozen=True)
class Request:
    """What is sent; `route` is its name in the tables. A request of a `key` comes from that owner's session."""

    route: str
    method: str
    path: str
    body: Any = None
    key: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One request: planned for `at` (seconds from the beginning), answered `seconds` after it was planned, whenever it
    was sent. `status` 0 is no answer.
    """

    route: str
    status: int
    at: float
    seconds: float
    error: str = ""


class Load:
    """A service under load: sends requests and keeps what became of them."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.samples: list[Sample] = []
        self.late: list[float] = []
        self._timeout = timeout
        self._began = time.perf_counter() + GET_READY_SECONDS
        self._clients: list[Client] = []

    def client(self, key: str = "") -> Client:
        """A session of its own, ended with the load."""
        self._clients.append(Client(self.url, key))
        return self._clients[-1]

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began

    async def until(self, at: float) -> None:
        """Sleep until these seconds from the beginning."""
        await asyncio.sleep(max(0.0, at - self.now()))

    async def send(self, client: Client, request: Request, at: float) -> Answer | None:
        """Send at the planned moment, or at once when that has passed; None when no answer came."""
        await self.until(at)
        body, headers = encoded(request)
        answer, error = None, ""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await client.ask(request.method, request.path, body, headers)
        except TimeoutError:
            error = f"no answer in {self._timeout:g} s"
        except (OSError, Broken) as broken:
            error = type(broken).__name__
        self.keep(Sample(request.route, answer.status if answer else 0, at, self.now() - at, error))
        return answer

    def keep(self, sample: Sample) -> None:
        """Count one more request."""
        self.samples.append(sample)

    def close(self) -> None:
        """End all sessions."""
        for client in self._clients:
            client.close()


def encoded(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """The body as bytes, and the headers that go with it."""
    if request.body is None or isinstance(request.body, bytes):
        return request.body, request.headers
    return json.dumps(request.body).encode(), {
        "Content-Type": "application/json",
        **request.headers,
    }
