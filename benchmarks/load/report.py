"""Measurements as tables, beside the yardstick, and against what the service must reach."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.load.parts import MIXED, Measurement
from benchmarks.load.sending import PROBED

TIMES = ("p50", "p99", "worst")
CPU = "cpu_seconds_per_request"


@dataclass(frozen=True)
class Requirement:
    """A number that must not be exceeded, and what was measured; None is not measured."""

    what: str
    unit: str
    most: float
    measured: float | None

    @property
    def is_met(self) -> bool | None:
        """None where it was not measured."""
        return None if self.measured is None else self.measured <= self.most


def print_measurement(measurement: Measurement) -> None:
    """One table: a line for each route."""
    generator, api = measurement["generator"], measurement["api"]
    took = (
        ""
        if api is None
        else f"API {api['cores']:.2f} cores, {api['cpu_seconds_per_request'] * 1000:.1f} ms of a core a request; "
    )
    print(f"\n{measurement['stack']}: {measurement['name']}")
    late = (
        f"late by {generator['late_p99'] * 1000:.0f} ms at p99, prober by {generator['prober_late_worst'] * 1000:.0f}"
        " at worst"
    )
    recovered = measurement["recovery_seconds"]
    ready = "not ready again" if recovered is None else f"ready again after {recovered:.1f} s"
    print(
        f"  {took}generator {generator['cores']:.2f} cores ({late}), load average {measurement['load_average']:.1f},"
        f" {ready}"
    )
    print(
        f"  {'milliseconds':<44}{'requests':>9}{'/s':>8}"
        + "".join(f"{name:>9}" for name in TIMES)
        + "  statuses"
    )
    for route, row in measurement["routes"].items():
        statuses = ", ".join(f"{count} x {status}" for status, count in row["statuses"].items())
        times = "".join(f"{row[name] * 1000:>9,.1f}" for name in TIMES)
        print(f"  {route:<44}{row['requests']:>9,}{row['per_second']:>8.1f}{times}  {statuses}")
    if "training" in measurement:
        speed = ", ".join(
            f"{speed:.3f} {when}"
            for when, speed in measurement["training"]["epochs_per_second"].items()
        )
        print(f"  training, epochs/s: {speed}: {measurement['training']['loss']:.1%} lost")
    if "memory" in measurement:
        held = {
            name: value / 2**20 for name, value in measurement["memory"].items() if name != "growth"
        }
        print(
            f"  memory of the API, MiB: {held['before_warm_up']:.1f}, {held['start']:.1f} after the warm-up,"
            f" {held['end']:.1f} at the end: ",
            end="",
        )
        print(f"{measurement['memory']['growth']:+.1%}")


def ratios(measurements: list[Measurement]) -> Iterator[dict[str, Any]]:
    """Ours as multiples of the yardstick's, for what was measured of both."""
    beside = {
        (one["beside"], one["name"]): one for one in measurements if one["stack"] == "yardstick"
    }
    for ours in measurements:
        theirs = beside.get((ours["stack"], f"yardstick: {ours['name']}"))
        if theirs is None:
            continue
        our_row, their_row = _busiest(ours), _busiest(theirs)
        yield {
            "name": ours["name"],
            "stack": ours["stack"],
            **{name: our_row[name] / (their_row[name] or math.inf) for name in (*TIMES, CPU)},
        }


def print_ratios(found: list[dict[str, Any]]) -> None:
    """The table of ratios."""
    print(
        f"\n{'ours / a bare FastAPI + SQLModel application':<58}"
        + "".join(f"{name:>9}" for name in (*TIMES, "cpu"))
    )
    for row in found:
        print(
            f"{row['stack'] + ': ' + row['name']:<58}"
            + "".join(f"{row[name]:>9,.2f}" for name in (*TIMES, CPU))
        )


def requirements(measurements: list[Measurement], stack: str) -> list[Requirement]:
    """What a stack must reach with every core training. Where no percentile is named it is the median, and of memory
    the change either way.
    """
    of = {
        measurement["name"]: measurement
        for measurement in measurements
        if measurement["stack"] == stack
    }

    def figure(start: str, route: str, name: str) -> float | None:
        rows = [
            row
            for title, measured in of.items()
            if title.startswith(start)
            for at, row in measured["routes"].items()
            if at == route
        ]
        return max((row[name] * 1000 for row in rows), default=None)

    burst = of.get(f"{MIXED} mixed requests at once")
    loss = next(
        (measured["training"]["loss"] * 100 for measured in of.values() if "training" in measured),
        None,
    )
    growth = next(
        (
            abs(measured["memory"]["growth"]) * 100
            for measured in of.values()
            if "memory" in measured
        ),
        None,
    )
    errors = sum(sum(row["errors"].values()) for row in burst["routes"].values()) if burst else None
    return [
        Requirement(f"a burst of {MIXED} mixed requests: answers other than 2xx", "", 0, errors),
        Requirement(
            "/healthz meanwhile, worst", "ms", 1000, figure(f"{MIXED} mixed", PROBED, "worst")
        ),
        Requirement(
            "GET /experiments/{id} at 100/s, p99",
            "ms",
            50,
            figure("GET record", "GET /experiments/{id}", "p99"),
        ),
        Requirement(
            "GET /experiments, 50 of 10,000, p99",
            "ms",
            100,
            figure("GET list", "GET /experiments", "p99"),
        ),
        Requirement(
            "POST /experiments at 20/s, p99", "ms", 250, figure("POST", "POST /experiments", "p99")
        ),
        Requirement(
            "curves.png, cold, median",
            "ms",
            150,
            figure("curves, cold", "GET …/curves.png, cold", "p50"),
        ),
        Requirement(
            "curves.png, 304, median",
            "ms",
            10,
            figure("curves, not", "GET …/curves.png, 304", "p50"),
        ),
        Requirement("training lost to a class of forty", "%", 10, loss),
        Requirement("memory of the API over 10,000 requests, change", "%", 5, growth),
    ]


def print_requirements(found: list[Requirement], stack: str) -> None:
    """One line each: met, missed, or not measured."""
    print(f"\n{stack + ': what it must reach':<66}{'at most':>12}{'measured':>12}")
    for requirement in found:
        word = {True: "met", False: "MISSED", None: "not measured"}[requirement.is_met]
        measured = (
            "-"
            if requirement.measured is None
            else f"{requirement.measured:,.1f} {requirement.unit}"
        )
        print(
            f"{requirement.what:<66}{f'{requirement.most:,.0f} {requirement.unit}':>12}{measured:>12}  {word}"
        )


def _busiest(measurement: Measurement) -> dict[str, Any]:
    """The row of what the measurement is about: probes stand beside it."""
    rows = [row for route, row in measurement["routes"].items() if route != PROBED]
    return {name: max(row[name] for row in rows) for name in TIMES} | {CPU: measurement["api"][CPU]}
