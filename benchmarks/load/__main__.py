"""Put load on the service, print tables, write `benchmarks/load.json`: `python -m benchmarks.load --stack sqlite
--parts bursts rates --check`.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load import parts, report, stacks

OUT = Path(__file__).parent.parent / "load.json"
PARTS = ("class", "bursts", "rates", "memory")
ELSEWHERE = ("class", "bursts", "rates")
"""What can be measured of a service that is not ours to start: neither its memory nor its training."""


def main() -> int:
    """About twelve minutes for everything on two cores; the exit status is 1 when something that must be reached is
    missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument(
        "--stack",
        choices=stacks.STACKS,
        nargs="+",
        default=list(stacks.STACKS),
        help="SQLite embedded, PostgreSQL with Redis (default: both)",
    )
    parser.add_argument(
        "--parts",
        choices=PARTS,
        nargs="+",
        default=list(PARTS),
        help="what to measure (default: everything)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=48.0,
        help="how long the class lasts; each rate is held a sixth as long (default: 48)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="say of each number that must be reached whether it was",
    )
    parser.add_argument(
        "--url",
        help="measure a service that runs already instead, which gets experiments, studies and data sets from it",
    )
    parser.add_argument(
        "--key", default=os.environ.get("LAB_API_KEY", ""), help="its key (default: LAB_API_KEY)"
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="where the JSON goes (default: benchmarks/load.json)"
    )
    options = parser.parse_args()
    began = time.monotonic()
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
    }
    measurements: list[parts.Measurement] = []
    document["measurements"] = measurements
    # whatever was started is ended on the way out
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measured = (
            measure_elsewhere(options, measurements)
            if options.url
            else measure_stacks(options, measurements)
        )
        document["ratios"] = list(report.ratios(measurements))
        if document["ratios"]:
            report.print_ratios(document["ratios"])
        found = {
            stack: report.requirements(measurements, stack) for stack in measured if options.check
        }
        for stack, requirements in found.items():
            report.print_requirements(requirements, stack)
        document["requirements"] = {
            stack: [asdict(one) | {"is_met": one.is_met} for one in requirements]
            for stack, requirements in found.items()
        }
    finally:
        options.out.write_text(json.dumps(document, indent=2) + "\n")
        print(f"\n{time.monotonic() - began:.0f} s; written to {options.out}")
    return int(any(one.is_met is False for requirements in found.values() for one in requirements))


def measure_stacks(options: argparse.Namespace, into: list[parts.Measurement]) -> list[str]:
    """Each stack in turn, in one service unless it breaks down; returns which there were."""
    measured = []
    for stack in options.stack:
        if (lacking := stacks.missing(stack)) is not None:
            print(f"{stack}: left out, {lacking}")
            continue
        measured.append(stack)
        remaining = list(options.parts)
        while remaining:
            with (
                tempfile.TemporaryDirectory(prefix="lab-load-") as folder,
                stacks.running(stack, Path(folder)) as target,
            ):
                while remaining and measure(
                    remaining.pop(0), target, options.seconds, Path(folder), into
                ):
                    pass
    return measured


def measure_elsewhere(options: argparse.Namespace, into: list[parts.Measurement]) -> list[str]:
    """A service that runs already; returns its name."""
    target = stacks.elsewhere(options.url, options.key)
    for part in options.parts:
        if part in ELSEWHERE:
            measure(part, target, options.seconds, Path(), into)
    return [target.name]


def measure(
    part: str, target: stacks.Target, seconds: float, folder: Path, into: list[parts.Measurement]
) -> bool:
    """One part, printed as it comes; returns whether the service is as good as before it."""
    works = {
        "class": lambda: parts.train_alone_and_with_class(target, seconds),
        "bursts": lambda: parts.bursts(target, folder),
        "rates": lambda: parts.rates(target, seconds / 6, folder),
        "memory": lambda: parts.memory(target),
    }
    whole = True
    for measurement in works[part]():
        report.print_measurement(measurement)
        into.append(measurement | {"part": part, "beside": target.name})
        whole = whole and measurement["recovery_seconds"] is not None
    return whole


if __name__ == "__main__":
    sys.exit(main())
