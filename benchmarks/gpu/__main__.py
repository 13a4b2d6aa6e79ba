"""`python -m benchmarks.gpu`: phase after phase, each in a process of its own with a limit, one line per check.

What was found is written after each phase, so that a proof which is cut short counts. Exit status 1 on any FAIL.
`--pretend` carries it out without a card, to see that it runs; no figure of it is one of a GPU.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.checks import Check, Setting

BUDGET_SECONDS = 540.0
LEAVING_SECONDS = 45.0
LIMITS = {
    "G0": 40,
    "G1": 30,
    "G5": 70,
    "G6": 60,
    "G9": 20,
    "G2": 90,
    "G3": 50,
    "G7": 70,
    "G10": 80,
    "G8": 80,
    "G12": 30,
    "G4": 100,
    "G11": 5,
}
"""Seconds of each phase, in their order: first whether it works, then how fast it is. Together they are more than the
budget; few phases take as long as they may.
"""
TIMES = {"G2": "step_time"}
STEPS = {
    "G5": "everything_trains",
    "G6": "same_bits",
    "G9": "lanes",
}
MEMORY = {"G8": "memory"}
SERVICES = {
    "G0": "probe",
    "G1": "fork_server",
    "G3": "first_step",
    "G4": "slots",
    "G7": "killed",
    "G10": "epochs",
    "G11": "yardstick",
    "G12": "wrong_device",
}
MODULES = {"steps": STEPS, "timing": TIMES, "memory": MEMORY, "services": SERVICES}
OUT = Path(__file__).parents[1] / "gpu.json"
PROJECT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    """All phases, or those named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0", help="the card")
    parser.add_argument("--pretend", action="store_true", help="without a card, on the CPU")
    parser.add_argument("--short", action="store_true", help="the least of everything")
    parser.add_argument("--only", nargs="*", choices=LIMITS, help="these phases alone")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds for all")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON")
    parser.add_argument("--phase", choices=LIMITS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.phase:
        return _carry_out(options)
    began = time.monotonic()
    document: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": "pretend" if options.pretend else options.device,
        "is_short": options.short,
        "phases": {},
    }
    has_failed = False
    for phase, limit in LIMITS.items():
        if options.only and phase not in options.only:
            continue
        left = options.budget - (time.monotonic() - began)
        checks = (
            _phase(phase, options, min(limit * (4 if options.pretend else 1), left))
            if left > 1
            else [Check("INFO", "skipped", "the budget is spent")]
        )
        for check in checks:
            print(check.line(phase), flush=True)
        has_failed |= any(check.verdict == "FAIL" for check in checks)
        document["phases"][phase] = [json.loads(check.document()) for check in checks]
        document["seconds"] = round(time.monotonic() - began, 1)
        options.out.write_text(json.dumps(document, indent=2) + "\n")
    print(f"written to {options.out}")
    return int(has_failed)


def _phase(phase: str, options: argparse.Namespace, limit: float) -> list[Check]:
    """What a phase said within its limit; that it did not end well is a check that failed."""
    flags = [flag for flag in ("--pretend", "--short") if getattr(options, flag[2:])]
    command = [sys.executable, "-m", "benchmarks.gpu", "--phase", phase]
    with TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        with errors.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--device", options.device, *flags],
                env=_environment(options.pretend, Path(folder)),
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            try:
                said, _ = process.communicate(timeout=limit)
                trouble = f"ended with status {process.returncode}" if process.returncode else ""
            except subprocess.TimeoutExpired:
                said = _ended(process)
                trouble = f"was not done after {limit:.0f} s"
        words = errors.read_text(errors="replace").strip().splitlines()
    found = [Check(**json.loads(line)) for line in said.splitlines() if line.startswith(b"{")]
    if trouble:
        raised = [line for line in words if re.match(r"[\w.]*(Error|Exception)\b", line)]
        reason = (raised or words or ["it says nothing"])[-1]
        found.append(Check("FAIL", "phase", f"{trouble}: {reason}"))
    return found


def _ended(process: "subprocess.Popen[bytes]") -> bytes:
    """What a phase had said that is ended: first asked to, so that it ends the services that it has started."""
    process.terminate()
    try:
        return process.communicate(timeout=LEAVING_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]


def _environment(is_pretend: bool, folder: Path) -> dict[str, str]:
    if not is_pretend:
        return dict(os.environ)
    from tests.gpus.stand_ins import in_path, mps_control, pretend_card

    tools = mps_control(folder / "tools")
    return {**os.environ, **pretend_card(folder / "card"), "PATH": in_path(tools)}


def _carry_out(options: argparse.Namespace) -> int:
    """One phase, in this process, each check a line of JSON."""
    from tests.gpus.pretend import pretended

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of what ends services
    module = next(one for one, names in MODULES.items() if options.phase in names)
    is_here = module in ("steps", "timing")
    with TemporaryDirectory() as folder, ExitStack() as until_end:
        setting = Setting(options.device, options.pretend, options.short, Path(folder))
        if options.pretend and is_here:
            until_end.enter_context(pretended())
        elif options.pretend:  # what it starts has no card at all
            os.environ.pop("LD_PRELOAD", None)
        # what trains is loaded when the card is there
        phase = getattr(import_module(f"benchmarks.gpu.{module}"), MODULES[module][options.phase])
        for check in phase(setting):
            print(check.document(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
