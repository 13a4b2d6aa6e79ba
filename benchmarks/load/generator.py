"""The process that makes the load: a plan as a line of JSON comes in on standard input, what happened goes out on
standard output.

It imports nothing of the service, so it starts quickly and can be pointed at one that runs elsewhere. Kinds of plan:

- `schedule`: requests with the seconds at which each is to be sent, be that one after the other at a rate or all at
  once.
- `classroom`: students with sessions of their own, `benchmarks/load/classroom.py`.
- `steady`: a number of requests, as fast as a few connections take them; for what does not measure waiting.
- `probe`: `GET /healthz` at intervals, until standard input ends.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.load.classroom import classroom
from benchmarks.load.sending import PROBED, Load, Request, Sample
from benchmarks.load.wire import Client

TICK_SECONDS = 0.02
PROBES_AROUND = 0.5
"""Seconds of probing before the load and after it."""


async def schedule(load: Load, timed: list[tuple[float, Request]]) -> None:
    """Send each request at its moment, on a connection that is free or a new one."""
    clients: dict[str, Client] = {}
    for _, request in timed:
        if request.key not in clients:
            clients[request.key] = load.client(request.key)
    pending = []
    for at, request in timed:
        await load.until(at - 0.02)
        pending.append(asyncio.create_task(load.send(clients[request.key], request, at)))
    await asyncio.gather(*pending)


async def probe(load: Load, every: float) -> None:
    """`GET /healthz` at intervals until standard input ends, one at a time; says so when the first has its answer.

    Those planned for while one has no answer would have waited for at least as long as what was left of it, and count
    so.
    """
    client, planned = load.client(), 0.0
    request = Request(PROBED, "GET", "/healthz")
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    while not ended.done():
        await load.send(client, request, planned)
        if len(load.samples) == 1:
            print(json.dumps("probing"), flush=True)
        answered, status = load.now(), load.samples[-1].status
        planned += every
        while planned < answered - every:
            load.keep(
                Sample(
                    request.route,
                    status,
                    planned,
                    answered - planned,
                    "planned while the one before waited",
                )
            )
            planned += every


@contextmanager
def probed(url: str, every: float, timeout: float) -> Iterator[list[dict[str, Any]]]:
    """Probe within the block, from another process, so that what this one has to do makes no probe late; what happened
    is in the list afterwards.
    """
    found: list[dict[str, Any]] = []
    command = [sys.executable, "-m", "benchmarks.load.generator"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        print(
            json.dumps({"kind": "probe", "url": url, "every": every, "timeout": timeout}),
            file=process.stdin,
            flush=True,
        )
        assert process.stdout.readline(), "the prober has ended"
        time.sleep(PROBES_AROUND)
        yield found
        time.sleep(PROBES_AROUND)
        process.stdin.close()
        found.append(json.load(process.stdout))


async def steady(load: Load, requests: Iterator[Request], connections: int) -> None:
    """Send them all, each connection its next when it has the answer before."""

    async def one() -> None:
        clients: dict[str, Client] = {}
        for request in requests:
            if request.key not in clients:
                clients[request.key] = load.client(request.key)
            await load.send(clients[request.key], request, load.now())

    await asyncio.gather(*(one() for _ in range(connections)))


def generate(
    url: str, work: Callable[[Load], Awaitable[None]], timeout: float = 60.0
) -> dict[str, Any]:
    """Run a load in this process and say what happened, how many cores it took to send it, and how late this process
    was.
    """
    gc.disable()
    cpu, began = time.process_time(), time.perf_counter()
    load = asyncio.run(_whole(url, work, timeout))
    seconds = time.perf_counter() - began
    gc.enable()
    return {
        "seconds": seconds,
        "cores": (time.process_time() - cpu) / seconds,
        "late": load.late,
        "samples": [
            [s.route, s.status, round(s.at, 5), round(s.seconds, 5), s.error] for s in load.samples
        ],
    }


async def _whole(url: str, work: Callable[[Load], Awaitable[None]], timeout: float) -> Load:
    load = Load(url, timeout)
    watch = asyncio.create_task(_watch_lateness(load))
    try:
        await work(load)
    finally:
        watch.cancel()
        load.close()
    return load


async def _watch_lateness(load: Load) -> None:
    """How late this process itself gets to what it has planned: what the machine and its own work keep it from."""
    while True:
        planned = load.now() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        load.late.append(load.now() - planned)


def carry_out(plan: dict[str, Any]) -> dict[str, Any]:
    """Carry out a plan."""
    url, timeout = plan["url"], plan.get("timeout", 60.0)
    if plan["kind"] == "schedule":
        timed = [(at, Request(**request)) for at, request in plan["requests"]]
        if not plan.get("probe_every"):
            return generate(url, lambda load: schedule(load, timed), timeout)
        with probed(url, plan["probe_every"], timeout) as probes:
            out = generate(url, lambda load: schedule(load, timed), timeout)
        return out | {
            "samples": out["samples"] + probes[0]["samples"],
            "prober_late": probes[0]["late"],
        }
    if plan["kind"] == "probe":
        return generate(url, lambda load: probe(load, plan["every"]), timeout)
    if plan["kind"] == "steady":
        listed = [Request(**request) for request in plan["requests"]]
        turns = (listed[number % len(listed)] for number in range(plan["count"]))
        return generate(url, lambda load: steady(load, turns, plan["connections"]), timeout)
    return generate(
        url, lambda load: classroom(load, plan["students"], plan["seconds"], plan["seed"]), timeout
    )


if __name__ == "__main__":
    json.dump(carry_out(json.loads(sys.stdin.readline())), sys.stdout)
