"""What is measured, part by part. Each returns measurements: rows by route, and what the generator and the API took of
the cores meanwhile.
"""

import json
import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load.classroom import SPEC, STUDY
from benchmarks.load.sending import PROBED, Request
from benchmarks.load.stacks import (
    EXPERIMENTS,
    Target,
    cpu_seconds,
    epochs_per_second,
    recovery_seconds,
    resident_bytes,
    yardstick,
)

SEED = 7
TIMEOUT_SECONDS = 60.0
YARDSTICK_TIMEOUT_SECONDS = 20.0
"""A burst stops it for as long as one waits."""

PROBE_EVERY = 0.05
BURSTS = (41, 60, 100, 200)
"""So many equal requests at once, as the service once failed at."""

WARM_UP = 20
MIXED = 200
BURST_MIX = {"post": 3, "record": 3, "list": 2, "ready": 1, "metrics": 1}
MEMORY_REQUESTS = 10_000
MEMORY_WARM_UP = 500
MEMORY_CONNECTIONS = 8
MEMORY_MIX = {
    "record": 60,
    "list": 15,
    "post": 8,
    "ready": 5,
    "metrics": 3,
    "numbers": 5,
    "dry run": 3,
    "curves": 1,
}
MINIMUM_CLASS_SECONDS = 10.0

Measurement = dict[str, Any]


def train_alone_and_with_class(target: Target, seconds: float) -> Iterator[Measurement]:
    """A class for some seconds, and how fast training is before, meanwhile and afterwards. Without runs of ours that
    train, the class alone.
    """
    seconds = max(seconds, MINIMUM_CLASS_SECONDS)
    students = [
        {"key": key, "finished": target.finished[number % len(target.finished)]}
        for number, key in enumerate(target.students)
    ]
    for student, (experiment, _) in zip(students, target.training, strict=False):
        student["experiment"] = experiment
    plan = {"kind": "classroom", "students": students, "seconds": seconds, "seed": SEED}
    if not target.training:
        yield _measured(target, f"a class of {len(students)}", plan)
        return
    before = epochs_per_second(target, seconds / 3)
    with ThreadPoolExecutor(1) as pool:
        measuring = pool.submit(_measured, target, f"a class of {len(students)}", plan)
        halves = [epochs_per_second(target, seconds / 2 - 2) for _ in range(2)]
        found = measuring.result()
    after = epochs_per_second(target, seconds / 3)
    assert before, "nothing trains"
    alone = (before + after) / 2 if after else before
    speeds = {
        "before": before,
        "in the class's first half": halves[0],
        "in its second half": halves[1],
        "after it": after,
    }
    found["training"] = {"epochs_per_second": speeds, "loss": 1 - sum(halves) / 2 / alone}
    yield found


def bursts(target: Target, folder: Path) -> Iterator[Measurement]:
    """Equal requests at the same moment, then 200 mixed ones; each on a connection of its own, since none is free at
    once. Probed all the time.
    """
    kinds = _kinds(target)
    for number in BURSTS:
        yield _measured(
            target,
            f"{number} x POST at once",
            _at_once([kinds["post"](turn) for turn in range(number)]),
        )
        yield _measured(
            target,
            f"{number} x GET list at once",
            _at_once([kinds["list"](turn) for turn in range(number)]),
        )
    yield _measured(
        target,
        f"{MIXED} x GET /readyz at once, without a key",
        _at_once([kinds["ready"](turn) for turn in range(MIXED)]),
    )
    yield _measured(
        target, f"{MIXED} mixed requests at once", _at_once(_mixed(target, BURST_MIX, MIXED))
    )
    if target.yardstick_database:
        with yardstick(target.yardstick_database, folder) as beside:
            rows = list(_of_the_yardstick().values())
            plan = _at_once([rows[turn % len(rows)](turn) for turn in range(MIXED)]) | {
                "timeout": YARDSTICK_TIMEOUT_SECONDS
            }
            yield _measured(beside, f"yardstick: {MIXED} mixed requests at once", plan)


def rates(target: Target, seconds: float, folder: Path) -> Iterator[Measurement]:
    """Steady rates of one kind each, and the same of the yardstick right after it; then curves drawn and not drawn."""
    kinds = _kinds(target)
    steady = {
        "record": ("GET record at 100/s", 100),
        "list": (f"GET list of 50 of {EXPERIMENTS:,} at 10/s", 10),
        "post": ("POST at 20/s", 20),
    }
    first = Request(
        "GET …/curves.png, the first since the start",
        "GET",
        f"/experiments/{target.finished[-1]}/curves.png",
        key=target.teacher,
    )
    if target.api_pid is not None:
        yield _measured(target, "the first picture", _at_once([first]))
    for kind, (name, rate) in steady.items():
        count = round(rate * seconds)
        yield _measured(target, name, _at_rate([kinds[kind](turn) for turn in range(count)], rate))
        if target.yardstick_database:
            rows = _of_the_yardstick()[kind]
            with yardstick(target.yardstick_database, folder) as beside:
                _generated(beside, _at_rate([rows(turn) for turn in range(WARM_UP)], WARM_UP))
                yield _measured(
                    beside,
                    f"yardstick: {name}",
                    _at_rate([rows(turn) for turn in range(count)], rate),
                )
    yield from curves(target, seconds)


def curves(target: Target, seconds: float) -> Iterator[Measurement]:
    """Pictures that nobody has asked for before, the class neither, two a second; then the same with their ETags,
    twenty a second.
    """
    drawn = (target.finished[len(target.students) : -1] or target.finished)[
        : max(1, round(2 * seconds))
    ]
    cold = [
        Request(
            "GET …/curves.png, cold", "GET", f"/experiments/{one}/curves.png", key=target.teacher
        )
        for one in drawn
    ]
    yield _measured(target, "curves, cold, at 2/s", _at_rate(cold, 2))
    with target.client() as client:
        etags = {
            one: client.get(f"/experiments/{one}/curves.png").headers.get("etag", "")
            for one in drawn[:10]
        }
    listed = list(etags.items())
    again = [
        Request(
            "GET …/curves.png, 304",
            "GET",
            f"/experiments/{one}/curves.png",
            key=target.teacher,
            headers={"If-None-Match": etag},
        )
        for one, etag in (listed[turn % len(listed)] for turn in range(round(20 * seconds)))
    ]
    yield _measured(target, "curves, not modified, at 20/s", _at_rate(again, 20))


def memory(target: Target) -> Iterator[Measurement]:
    """10,000 requests, and what the API holds in memory before and after; what it loads at its first requests is loaded
    before.
    """
    assert target.api_pid is not None
    plan = {
        "kind": "steady",
        "requests": [asdict(request) for request in _mixed(target, MEMORY_MIX, 1000)],
        "connections": MEMORY_CONNECTIONS,
    }
    fresh = resident_bytes(target.api_pid)
    _generated(target, {**plan, "count": MEMORY_WARM_UP})
    before = resident_bytes(target.api_pid)
    found = _measured(
        target,
        f"{MEMORY_REQUESTS:,} requests, {MEMORY_CONNECTIONS} at a time",
        {**plan, "count": MEMORY_REQUESTS},
    )
    after = resident_bytes(target.api_pid)
    found["memory"] = {
        "before_warm_up": fresh,
        "start": before,
        "end": after,
        "growth": after / before - 1,
    }
    yield found


def statistics_of(samples: list[list[Any]]) -> dict[str, Any]:
    """Of one route: every request counts from the moment planned for it, those without an answer too."""
    seconds = sorted(sample[3] for sample in samples)
    span = max(sample[2] + sample[3] for sample in samples) - min(sample[2] for sample in samples)
    statuses = Counter(sample[1] or sample[4] or "no answer" for sample in samples)
    failed = {
        str(status): count
        for status, count in statuses.items()
        if not (isinstance(status, int) and 200 <= status < 400)
    }
    return {
        "requests": len(samples),
        "per_second": len(samples) / span if span else math.nan,
        "p50": quantile(seconds, 0.5),
        "p99": quantile(seconds, 0.99),
        "worst": seconds[-1],
        "statuses": {str(status): count for status, count in sorted(statuses.items(), key=str)},
        "errors": failed,
    }


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share does not exceed: nothing is interpolated away."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _measured(target: Target, name: str, plan: dict[str, Any]) -> Measurement:
    cpu, began = 0.0 if target.api_pid is None else cpu_seconds(target.api_pid), time.monotonic()
    out = _generated(target, plan)
    spent, seconds = (
        0.0 if target.api_pid is None else cpu_seconds(target.api_pid) - cpu,
        time.monotonic() - began,
    )
    by_route: dict[str, list[list[Any]]] = {}
    for sample in out["samples"]:
        by_route.setdefault(sample[0], []).append(sample)
    return {
        "name": name,
        "stack": target.name,
        "routes": {route: statistics_of(samples) for route, samples in sorted(by_route.items())},
        "generator": {
            "cores": out["cores"],
            "late_p99": quantile(sorted(out["late"]), 0.99),
            "late_worst": max(out["late"]),
            "prober_late_worst": max(out.get("prober_late", [0.0])),
        },
        "api": None
        if target.api_pid is None
        else {
            "cores": spent / seconds,
            "cpu_seconds_per_request": spent
            / (sum(sample[0] != PROBED for sample in out["samples"]) or 1),
        },
        "recovery_seconds": recovery_seconds(target),
        "load_average": os.getloadavg()[0],
    }


def _generated(target: Target, plan: dict[str, Any]) -> dict[str, Any]:
    document = json.dumps({"url": target.url, "timeout": TIMEOUT_SECONDS, **plan}).encode()
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.load.generator"],
        input=document,
        stdout=subprocess.PIPE,
        check=True,
    )
    out: dict[str, Any] = json.loads(ended.stdout)
    return out


def _at_once(requests: list[Request]) -> dict[str, Any]:
    return {
        "kind": "schedule",
        "requests": [(0.0, asdict(request)) for request in requests],
        "probe_every": PROBE_EVERY,
    }


def _at_rate(requests: list[Request], rate: float) -> dict[str, Any]:
    return {
        "kind": "schedule",
        "requests": [(number / rate, asdict(request)) for number, request in enumerate(requests)],
    }


def _kinds(target: Target) -> dict[str, Callable[[int], Request]]:
    """What is sent, by turns from the class and for all that has ended; lists and records are the teacher's, who sees
    everything.
    """

    def student(turn: int) -> str:
        return target.students[turn % len(target.students)]

    def ended(turn: int, what: str = "") -> str:
        return f"/experiments/{target.finished[turn % len(target.finished)]}{what}"

    return {
        "post": lambda turn: Request(
            "POST /experiments", "POST", "/experiments", SPEC, student(turn)
        ),
        "list": lambda _: Request(
            "GET /experiments", "GET", "/experiments?limit=50", key=target.teacher
        ),
        "record": lambda turn: Request(
            "GET /experiments/{id}", "GET", ended(turn), key=target.teacher
        ),
        "ready": lambda _: Request("GET /readyz", "GET", "/readyz"),
        "metrics": lambda _: Request("GET /metrics", "GET", "/metrics", key=target.teacher),
        "numbers": lambda turn: Request(
            "GET …/metrics", "GET", ended(turn, "/metrics"), key=target.teacher
        ),
        "curves": lambda turn: Request(
            "GET …/curves.png", "GET", ended(turn, "/curves.png"), key=target.teacher
        ),
        "dry run": lambda turn: Request(
            "POST /studies?dry_run=true", "POST", "/studies?dry_run=true", STUDY, student(turn)
        ),
    }


def _of_the_yardstick() -> dict[str, Callable[[int], Request]]:
    """What comes nearest to it there."""
    return {
        "post": lambda _: Request("POST /rows", "POST", "/rows", {"name": "load", "spec": SPEC}),
        "record": lambda turn: Request(
            "GET /rows/{id}", "GET", f"/rows/{1 + turn * 97 % EXPERIMENTS}"
        ),
        "list": lambda _: Request("GET /rows", "GET", "/rows?limit=50"),
    }


def _mixed(target: Target, shares: dict[str, int], number: int) -> list[Request]:
    """Requests of several kinds in a random order, the same each time; `shares` says how many there are of each kind
    for how many of the others.
    """
    kinds = _kinds(target)
    names = [name for name, share in shares.items() for _ in range(share)]
    requests = [kinds[names[turn % len(names)]](turn) for turn in range(number)]
    random.Random(SEED).shuffle(requests)
    return requests
