"""Run the benchmarks, print their tables, write `benchmarks/latest.json`. `python -m benchmarks latency` runs one of
them alone.
"""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab_models.running.process import spin_briefly

OUT = Path(__file__).parent / "latest.json"


def main(chosen: list[str]) -> None:
    """All of them take about fifteen minutes on two cores."""
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
    }
    if "latency" in chosen or not chosen:
        document["latency"] = _latency()
    if "throughput" in chosen or not chosen:
        document["throughput"] = _throughput()
    if "replicates" in chosen or not chosen:
        document["replicates"] = _replicates()
    if "together" in chosen or not chosen:
        document["together"] = _together()
    OUT.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {OUT}")


def _latency() -> list[dict[str, Any]]:
    from benchmarks import latency

    rows = latency.measure()
    print(
        f"{'from POST (or from starting a process), seconds':<58}{'median':>8}{'min':>8}{'max':>8}{'n':>4}"
    )
    for row in rows:
        print(
            f"{row['what']:<58}{row['median']:>8.3f}{row['min']:>8.3f}{row['max']:>8.3f}{row['n']:>4}"
        )
    return rows


def _replicates() -> dict[str, Any]:
    from benchmarks import replicates

    found = replicates.measure()
    seconds = found["seconds"]
    print(
        f"{found['seeds']} seeds of one MLP, seconds (medians of {found['rounds']} rounds, {found['slots']} runs at a"
        f" time on {found['cores']} cores)"
    )
    print(f"{'one seed':<34}{seconds['one']:>10.1f}")
    print(f"{'all seeds, one run at a time':<34}{seconds['one_at_a_time']:>10.1f}")
    print(
        f"{'all seeds, as many as fit':<34}{seconds['together']:>10.1f}   {found['of_five_times_one']:.2f} of"
        f" {found['seeds']} times one"
    )
    return found


def _together() -> list[dict[str, Any]]:
    from benchmarks import together

    rows = together.measure()
    print(f"{'images a second of all together':<62}{'median':>8}{'n':>4}")
    for row in rows:
        named = f"{row['network']}, {row['precision']}, {row['way']}"
        print(f"{named:<62}{row['images_per_second']:>8.0f}{row['n']:>4}")
    return rows


def _throughput() -> list[dict[str, Any]]:
    spin_briefly()  # as the trainers do, and for the baselines as well; before torch is loaded
    from benchmarks import throughput

    rows = throughput.measure()
    print(f"{'training':<34}{'':<38}{'images/s':>10}{'of the floor':>14}{'n':>4}")
    for row in rows:
        print(
            f"{row['case']:<34}{row['way']:<38}{row['images_per_second']:>10,.0f}{row['of_the_floor']:>14.2f}{row['n']:>4}"
        )
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
