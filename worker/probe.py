"""`python -m worker.probe`: whether this machine can train, line by line, without a service and without a database.

Each line says `ok`, `warn` or `FAIL`, what was looked at, what was found, and what to do. It tries each device as the
workers do: its trainer is forked by the same server, up to `ready`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from app.devices import Dealt, deal, free_memory_of, memory_of, num_cores, visible_to_trainer
from app.errors import Misconfigured
from app.gpus import (
    NoAnswer,
    NoSuchGpu,
    is_exclusive,
    list_gpus,
    mps_runs,
    nvidia_smi,
    visible_entries,
)
from app.settings import Settings
from lab_models.common.cores import usable_cores
from worker.spare import Spare
from worker.surroundings import surroundings

PROVING_SECONDS = 120.0
SYNCED_BYTES = 16 * 2**20
LEAST_FREE_BYTES = 2**30
ASKED = ("compute_cap", "compute_mode", "persistence_mode")
"""What the driver's tool is asked of each GPU; an old one does not know `compute_cap`."""


@dataclass(frozen=True)
class ProbeLine:
    """One line; `level` is `ok`, `warn` or `FAIL`, `do` is empty where there is nothing to do."""

    level: str
    what: str
    found: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5} {self.what:<28} {self.found}{f': {self.do}' if self.do else ''}"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when a trainer becomes ready on every device that the workers would get, 1 on any FAIL, 2 where
    LAB_DEVICES is none.
    """
    parser = argparse.ArgumentParser(
        prog="python -m worker.probe", description="Tell whether this machine can train."
    )
    parser.add_argument("--json", action="store_true", help="each line as a JSON object")
    parser.add_argument("--devices", help="in place of LAB_DEVICES, for instance cuda:1")
    options = parser.parse_args(arguments)
    found: list[ProbeLine] = []
    try:
        settings = Settings()
        for finding in look(settings, options.devices or settings.devices):
            found.append(finding)
            print(json.dumps(asdict(finding)) if options.json else finding, flush=True)
    except Misconfigured as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return int(any(finding.level == "FAIL" for finding in found))


def look(settings: Settings, devices: str) -> Iterator[ProbeLine]:
    """All of it, one after the other. Raises Misconfigured for what is no list of devices."""
    dealt = deal(devices)
    threads = settings.threads or num_cores()
    yield ProbeLine("ok", "devices", f"{', '.join(dealt.devices)} by LAB_DEVICES={devices}")
    if dealt.caution is not None:
        yield ProbeLine("warn", "GPUs", dealt.caution)
    yield from _gpus(dealt)
    for device in dict.fromkeys(dealt.devices):
        yield from _trainer(device, threads, settings)
        yield from _proof(device, threads)
    yield from _disk(settings)
    yield _cores(settings)


def _gpus(dealt: Dealt) -> Iterator[ProbeLine]:
    """What the driver's tool says; nothing on a machine without it, unless a GPU is named."""
    wants = any(device != "cpu" for device in dealt.devices)
    entries = visible_entries()
    if entries is not None:
        yield ProbeLine("ok", "CUDA_VISIBLE_DEVICES", ",".join(entries) or "hides every GPU")
    listing = list_gpus()
    if not listing.gpus:
        if wants:
            yield ProbeLine(
                "warn", "nvidia-smi", listing.fault or "not there: is the driver installed?"
            )
        return
    for gpu in listing.gpus:
        slices = f", slices {', '.join(one.profile for one in gpu.slices)}" if gpu.slices else ""
        yield ProbeLine("ok", f"GPU {gpu.index}", f"{gpu.name}, {gpu.uuid}{slices}")
    yield from _modes()
    if wants:
        yield _mps()


def _modes() -> Iterator[ProbeLine]:
    for fields in (ASKED, ASKED[1:]):
        try:
            rows = nvidia_smi(f"--query-gpu={','.join(fields)}", "--format=csv,noheader")
        except (FileNotFoundError, NoAnswer) as error:
            fault = str(error)
            continue
        for number, row in enumerate(rows):
            values = dict(zip(fields, (part.strip() for part in row.split(",")), strict=False))
            yield _mode(number, values)
        return
    yield ProbeLine("warn", "compute mode", f"not known: {fault}")


def _mode(number: int, values: dict[str, str]) -> ProbeLine:
    what, mode = f"compute mode of GPU {number}", values.get("compute_mode", "not known")
    capability = values.get("compute_cap", "not known")
    said = f"{mode}, capability {capability}, persistence {values.get('persistence_mode')}"
    if mode == "Prohibited":
        return ProbeLine("FAIL", what, said, f"sudo nvidia-smi -i {number} -c 0")
    if mode.startswith("Exclusive") and not mps_runs():
        do = f"one run at a time, and each starts cold; `sudo nvidia-smi -i {number} -c 0` or MPS"
        return ProbeLine("warn", what, said, f"{do} lets the next one warm up beside it")
    return ProbeLine("ok", what, said)


def _mps() -> ProbeLine:
    said = "its daemon runs" if mps_runs() else "no daemon: runs that share a GPU take turns"
    return ProbeLine("ok", "MPS", said)


def _trainer(device: str, threads: int, settings: Settings) -> Iterator[ProbeLine]:
    """As a worker has one: server, fork, a step, `ready`."""
    spare = Spare(device, threads, settings.trainer_niceness)
    try:
        began = time.monotonic()
        is_ready = spare.probe()
        first = time.monotonic() - began
        if not is_ready:
            reason = "it is not ready" if spare.unfit is None else spare.unfit.reason
            yield ProbeLine("FAIL", f"trainer on {device}", reason)
            return
        taken = spare.take()
        if taken is not None and is_exclusive(device):
            taken.kill()  # no other is let in beside it
        began = time.monotonic()
        spare.probe()
        again = time.monotonic() - began
        yield ProbeLine(
            "warn" if spare.caution else "ok",
            f"trainer on {device}",
            f"ready in {first:.1f} s, the next one in {again:.1f} s",
            spare.caution or "",
        )
    finally:
        spare.drop()
    total, free = memory_of(device), free_memory_of(device)
    if total is not None and free is not None:
        yield ProbeLine(
            "ok", f"memory of {device}", f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        )


def _proof(device: str, threads: int) -> Iterator[ProbeLine]:
    """In a process of its own, which loads torch."""
    try:
        environment = surroundings(threads) | {"CUDA_VISIBLE_DEVICES": visible_to_trainer(device)}
    except NoSuchGpu:
        return  # said by the trainer
    name = "cpu" if device == "cpu" else "cuda:0"
    command = [
        sys.executable,
        "-P",
        "-m",
        "lab_models",
        "prove",
        "--device",
        name,
        "--threads",
        str(threads),
    ]
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, capture_output=True, text=True, timeout=PROVING_SECONDS
        )
    except subprocess.TimeoutExpired:
        yield ProbeLine("FAIL", f"train on {device}", f"nothing came for {PROVING_SECONDS:g} s")
        return
    for line in done.stdout.splitlines():
        yield ProbeLine(**json.loads(line))
    if done.returncode:
        words = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        yield ProbeLine(
            "FAIL", f"train on {device}", f"ended with status {done.returncode}: {words}"
        )


def _disk(settings: Settings) -> Iterator[ProbeLine]:
    folder = next(one for one in (settings.home, *settings.home.absolute().parents) if one.is_dir())
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    yield ProbeLine(
        "ok" if free >= LEAST_FREE_BYTES else "warn",
        "free disk",
        f"{free / 10**9:.1f} GB under {folder}",
        "" if free >= LEAST_FREE_BYTES else "checkpoints need room",
    )
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            began = time.monotonic()
            file.write(os.urandom(SYNCED_BYTES))
            file.flush()
            os.fsync(file.fileno())
            seconds = time.monotonic() - began
    except OSError as error:
        yield ProbeLine("FAIL", "write and fsync", f"{folder} cannot be written: {error.strerror}")
        return
    yield ProbeLine("ok", "write and fsync", f"{SYNCED_BYTES / seconds / 10**6:.0f} MB/s")


def _cores(settings: Settings) -> ProbeLine:
    threads = f", {settings.threads} for each run (LAB_THREADS)" if settings.threads else ""
    return ProbeLine("ok", "cores", f"{usable_cores()} of {os.cpu_count()}{threads}")


if __name__ == "__main__":
    sys.exit(main())
