"""The process that makes the load: a plan as JSON comes in on standard input, what happened goes out on standard output.

It imports nothing of the service, so it starts quickly and can be pointed at one that runs elsewhere. Kinds of plan:

- `schedule`: requests with the seconds at which each is to be sent, be that one after the other at a rate or all at once.
- `classroom`: students with sessions of their own, `benchmarks/load/classroom.py`.
- `steady`: a number of requests, as fast as a few connections take them; for what does not measure waiting.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.load.wire import Answer, Broken, Client

GET_READY_SECONDS = 1.0
PROBES_AROUND = 0.5
"""Probing begins this long before the load and ends this long after it."""


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
    """One request: planned for `at` (seconds from the beginning), sent `lag` later, answered `seconds` after it was planned. `status` 0 is no answer."""

    route: str
    status: int
    at: float
    lag: float
    seconds: float
    error: str = ""


class Load:
    """A service under load: sends requests and keeps what became of them."""

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.samples: list[Sample] = []
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
        lag = self.now() - at
        body, headers = encoded(request)
        answer, error = None, ""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await client.ask(request.method, request.path, body, headers)
        except TimeoutError:
            error = f"no answer in {self._timeout:g} s"
        except (OSError, Broken) as broken:
            error = type(broken).__name__
        self.keep(Sample(request.route, answer.status if answer else 0, at, lag, self.now() - at, error))
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
    return json.dumps(request.body).encode(), {"Content-Type": "application/json", **request.headers}


async def schedule(load: Load, timed: list[tuple[float, Request]], probe_every: float = 0.0) -> None:
    """Send each request at its moment, on a connection that is free or a new one; beside it `GET /healthz` at intervals."""
    clients: dict[str, Client] = {}
    for _, request in timed:
        if request.key not in clients:
            clients[request.key] = load.client(request.key)
    ended = asyncio.Event()
    probes = asyncio.create_task(_probe(load, probe_every, ended)) if probe_every else None
    pending = []
    for at, request in timed:
        await load.until(at - 0.02)
        pending.append(asyncio.create_task(load.send(clients[request.key], request, at)))
    await asyncio.gather(*pending)
    ended.set()
    if probes is not None:
        await probes


async def _probe(load: Load, every: float, ended: asyncio.Event) -> None:
    """One probe at a time. Those planned for while one has no answer would have waited for at least as long as what was left of it, and count so."""
    client, planned, last = load.client(), -PROBES_AROUND, None
    request = Request("GET /healthz", "GET", "/healthz")
    while last is None or planned <= last:
        await load.send(client, request, planned)
        answered, status = load.now(), load.samples[-1].status
        planned += every
        while planned < answered - every:
            load.keep(Sample(request.route, status, planned, 0.0, answered - planned, "planned while the one before waited"))
            planned += every
        if last is None and ended.is_set():
            last = load.now() + PROBES_AROUND


async def steady(load: Load, requests: Iterator[Request], connections: int) -> None:
    """Send them all, each connection its next when it has the answer before."""

    async def one() -> None:
        clients: dict[str, Client] = {}
        for request in requests:
            client = clients.setdefault(request.key, load.client(request.key)) if request.key not in clients else clients[request.key]
            await load.send(client, request, load.now())

    await asyncio.gather(*(one() for _ in range(connections)))


def generate(url: str, work: Callable[[Load], Awaitable[None]], timeout: float = 60.0) -> dict[str, Any]:
    """Run a load in this process and say what happened, and what share of one core it took to send it."""
    gc.disable()
    cpu, began = time.process_time(), time.perf_counter()
    load = asyncio.run(_whole(url, work, timeout))
    seconds = time.perf_counter() - began
    gc.enable()
    return {
        "seconds": seconds,
        "generator_cores": (time.process_time() - cpu) / seconds,
        "samples": [[s.route, s.status, round(s.at, 5), round(s.lag, 5), round(s.seconds, 5), s.error] for s in load.samples],
    }


async def _whole(url: str, work: Callable[[Load], Awaitable[None]], timeout: float) -> Load:
    load = Load(url, timeout)
    try:
        await work(load)
    finally:
        load.close()
    return load


def carry_out(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out a plan."""
    timeout = plan.get("timeout", 60.0)
    if plan["kind"] == "schedule":
        timed = [(at, Request(**request)) for at, request in plan["requests"]]
        return generate(plan["url"], lambda load: schedule(load, timed, plan.get("probe_every", 0.0)), timeout)
    if plan["kind"] == "steady":
        listed = [Request(**request) for request in plan["requests"]]
        turns = (listed[number % len(listed)] for number in range(plan["count"]))
        return generate(plan["url"], lambda load: steady(load, turns, plan["connections"]), timeout)
    from benchmarks.load.classroom import classroom

    return generate(plan["url"], lambda load: classroom(load, plan["students"], plan["seconds"], plan["seed"]), timeout)


if __name__ == "__main__":
    json.dump(carry_out(json.load(sys.stdin)), sys.stdout)
