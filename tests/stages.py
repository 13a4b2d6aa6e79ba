"""The stages of `make test` and `make check`: every one runs, whatever fails before it, and the end sums up."""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TIMES = Path(".pytest_cache") / "stages.json"
"""How long each stage took here when it last passed, in seconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 when all stages have passed, 1 when one has failed, 130 when Ctrl-C has ended it."""
    parser = argparse.ArgumentParser(description="stages that all run")
    parser.add_argument("target", help="what it is called")
    parser.add_argument("about", help="how long it takes, in words")
    parser.add_argument("stages", nargs="+", help="NAME: COMMAND")
    asked = parser.parse_args(arguments)
    stages = [stage.split(": ", 1) for stage in asked.stages]
    times = _times()
    known = [times[name] for name, _ in stages if name in times]
    here = f"; {_minutes(sum(known))} here the last time" if len(known) == len(stages) else ""
    _say(f"{asked.target}: {len(stages)} stages, {asked.about}{here}. All run, whatever fails.")
    ended: list[tuple[str, int, float]] = []
    try:
        for number, (name, command) in enumerate(stages, start=1):
            _say(f"--- {number} of {len(stages)}: {name}")
            began = time.monotonic()
            status = subprocess.run(["/bin/sh", "-c", command], check=False).returncode
            if status in (-signal.SIGINT, 128 + signal.SIGINT):
                raise KeyboardInterrupt
            ended.append((name, status, time.monotonic() - began))
    except KeyboardInterrupt:
        _say(f"--- stopped in {name}")
        return 130
    finally:
        _sum_up(ended, [name for name, _ in stages[len(ended) :]])
    return int(any(status for _, status, _ in ended))


def _sum_up(ended: list[tuple[str, int, float]], left: list[str]) -> None:
    _say("---")
    for name, status, seconds in ended:
        _say(f"{'FAILED' if status else 'passed'} {_minutes(seconds):>12}  {name}")
    for name in left:
        _say(f"not run              {name}")
    times = _times() | {name: seconds for name, status, seconds in ended if status == 0}
    TIMES.parent.mkdir(exist_ok=True)
    TIMES.write_text(json.dumps(times))


def _times() -> dict[str, float]:
    try:
        times: dict[str, float] = json.loads(TIMES.read_text())
    except (OSError, ValueError):
        return {}
    return times


def _minutes(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
