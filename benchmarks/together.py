"""Two networks of convolutions at a time: on their share of the cores, as a service deals them out, and on all cores
each; and one that is alone, on all cores and on one.

Each is a process of its own in the surroundings of a trainer, which takes optimizer steps on a batch that is in place.
The rounds are interleaved, so that a machine that is slow for a while is slow for all.
"""

import os
import statistics
import subprocess
import sys
import time
from typing import Any

from app.devices import num_cores
from lab_models.running.threads import share_of
from worker.surroundings import surroundings

ROUNDS, SECONDS = 3, 6.0
RUNS, BATCH = 2, 64
NETWORKS = {"student": "student CNN", "cnn-blocks-1": "cnn-blocks, 1 block"}
PRECISIONS = ("float32", "bfloat16")


def measure() -> list[dict[str, Any]]:
    """Images a second of all that compute at a time, medians over the rounds, by network, number format and way."""
    cores = num_cores()
    share = share_of(cores, RUNS)
    ways = {
        f"{RUNS} at a time, {share} of {cores} cores each": (share, RUNS),
        f"{RUNS} at a time, {cores} threads each": (cores, RUNS),
        f"one alone, {cores} threads": (cores, 1),
        "one alone, one thread": (1, 1),
    }
    samples: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for network in NETWORKS:
            for precision in PRECISIONS:
                for way, (threads, runs) in ways.items():
                    found = _images_per_second(network, precision, threads, runs)
                    samples.setdefault((network, precision, way), []).append(found)
    return [
        {
            "network": NETWORKS[network],
            "precision": precision,
            "way": way,
            "images_per_second": statistics.median(values),
            "n": len(values),
        }
        for (network, precision, way), values in samples.items()
    ]


def _images_per_second(network: str, precision: str, threads: int, runs: int) -> float:
    command = [sys.executable, "-m", "benchmarks.together", network, precision, str(threads)]
    began = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **surroundings(threads)},
        )
        for _ in range(runs)
    ]
    for process in began:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in began:  # all at once, when the last is warm
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in began)


def _steps(network: str, precision: str, threads: int) -> None:
    """One process: says `ready`, waits for a line, prints its images a second."""
    import torch

    from lab_models.architectures.build import build_model
    from lab_models.running.environment import best_memory_format, make_deterministic
    from lab_models.specs import TrainSpec

    make_deterministic(threads)
    spec = TrainSpec.model_validate({"dataset": "cifar10", "model": network})
    model = build_model(spec.model, (3, 32, 32), 10, 0)
    form = best_memory_format(spec.model)
    model = model.to(memory_format=form)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=form)
    labels = torch.randint(0, 10, (BATCH,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step()
    print("ready", flush=True)
    sys.stdin.readline()
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        step()
        done += BATCH
    print(done / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    _steps(sys.argv[1], sys.argv[2], int(sys.argv[3]))
