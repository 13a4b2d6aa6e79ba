"""`python -m tests.chaos --minutes 10 --seed 1`: random faults on both stacks, then the proof. Exits with 1 where it
fails.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from app.storage.states import RunStatus
from tests.chaos.faults import FAULTS
from tests.chaos.proof import Proof, Weights, prove, weights_of
from tests.chaos.stack import Stack
from tests.e2e.service import Redis
from tests.postgres import Cluster, installed

SEEDS = 2
MOST_UNFINISHED = 8
SETTLE_SECONDS = 600.0
SPECS: dict[str, dict[str, Any]] = {
    "steady": {
        "dataset": "digits",
        "model": {"arch": "mlp", "depth": 3, "width": 256, "dropout": 0.2, "norm": "batch"},
        "batch_size": 32,
        "epochs": 40,
    },
    "residual": {
        "dataset": "digits",
        "model": {"arch": "mlp", "depth": 6, "width": 128, "residual": True},
        "batch_size": 16,
        "epochs": 20,
    },
    "scheduled": {
        "dataset": "digits",
        "model": {"arch": "mlp", "hidden": [256, 128]},
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9},
        "schedule": {"name": "cosine"},
        "batch_size": 8,
        "epochs": 10,
    },
}


class Chaos:
    """One stack, what was sent to it, and what happened."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.chance = random.Random(seed)
        self.submitted: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.verbs: Counter[str] = Counter()
        self.revived = 0

    def train_undisturbed(self) -> Weights:
        """Every spec with every seed, before anything goes wrong."""
        ids = {
            name: self.stack.service.submit({**spec, "seeds": SEEDS})["id"]
            for name, spec in SPECS.items()
        }
        weights: Weights = {}
        for name, experiment_id in ids.items():
            record = self.stack.service.wait_for({"id": experiment_id}, "succeeded", 300)
            weights |= {
                (name, run["seed"]): weights_of(self.stack, run["id"]) for run in record["runs"]
            }
        return weights

    def rage(self, seconds: float) -> None:
        """Faults and verbs at random moments."""
        deadline = time.monotonic() + seconds
        weights, faults = zip(*FAULTS, strict=True)
        while time.monotonic() < deadline:
            self.submit_if_idle()
            for act in (self.use_a_verb, lambda: self.do(self.chance.choices(faults, weights)[0])):
                act()
                self.revived += self.stack.revive()
            time.sleep(self.chance.expovariate(1 / 1.5))

    def do(self, fault: Any) -> None:
        """One fault."""
        if fault(self.stack, self.chance):
            self.faults[(fault.__doc__ or fault.__name__).split(":")[0].rstrip(".")] += 1

    def submit_if_idle(self) -> None:
        """Keep some work queued; a key makes a repeated POST the same experiment."""
        while self.unfinished() < MOST_UNFINISHED:
            name = self.chance.choice(list(SPECS))
            key = f"chaos-{len(self.submitted)}"
            answer = self.stack.ask(
                "POST",
                "/experiments",
                {**SPECS[name], "seeds": self.chance.randint(1, SEEDS)},
                {"Idempotency-Key": key},
            )
            assert answer.status_code in (200, 201), answer.text
            self.submitted[answer.json()["id"]] = name

    def unfinished(self) -> int:
        """Experiments that are not at their end."""
        return sum(
            not row["is_terminal"]
            for row in self.stack.ask("GET", "/experiments?limit=500").json()["data"]
        )

    def use_a_verb(self) -> None:
        """Pause, resume, cancel and retry what there is; a 409 is an answer too."""
        experiment_id = self.chance.choice(list(self.submitted))
        verb = self.chance.choices(
            ["pause", "resume", "priority", "cancel", "retry", "none"], [3, 4, 2, 1, 2, 4]
        )[0]
        if verb == "none":
            return
        if verb == "priority":
            answer = self.stack.ask(
                "PATCH", f"/experiments/{experiment_id}", {"priority": self.chance.randint(-1, 1)}
            )
        else:
            answer = self.stack.ask("POST", f"/experiments/{experiment_id}/{verb}")
        assert answer.status_code in (200, 409), f"{verb}: {answer.status_code} {answer.text}"
        if verb == "cancel":
            self.cancelled.add(experiment_id)  # even if it came too late; then it has succeeded
        self.verbs[verb] += answer.status_code == 200

    def settle(self) -> None:
        """No more faults: what is paused is resumed, and everything must reach its end."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self.revived += self.stack.revive()
            rows = self.stack.ask("GET", "/experiments?limit=500").json()["data"]
            open_rows = [row for row in rows if not row["is_terminal"]]
            if not open_rows:
                return
            for row in open_rows:
                self.stack.ask("POST", f"/experiments/{row['id']}/resume")
            time.sleep(1.0)


def main() -> int:
    """Both stacks, half of the time each."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="of faults, shared among the stacks (default: 10)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=random.SystemRandom().randrange(10_000),
        help="the order of the faults (default: any)",
    )
    parser.add_argument("--stack", choices=["embedded", "distributed", "both"], default="both")
    options = parser.parse_args()
    stacks = ["embedded", "distributed"] if options.stack == "both" else [options.stack]
    print(
        f"seed {options.seed}, {options.minutes:g} minutes of faults on: {', '.join(stacks)}",
        flush=True,
    )
    failed = [
        stack
        for stack in stacks
        if not _run(stack, options.seed, 60 * options.minutes / len(stacks))
    ]
    return 1 if failed else 0


def _run(kind: str, seed: int, seconds: float) -> bool:
    with tempfile.TemporaryDirectory(prefix="lab-chaos-") as name:
        folder = Path(name)
        programs = installed() if kind == "distributed" else None
        if kind == "distributed" and programs is None:
            print("PostgreSQL's programs are not installed: this stack is left out")
            return False
        cluster = None if programs is None else Cluster(programs)
        redis = Redis(folder) if kind == "distributed" else None
        stack = Stack(folder, cluster, redis)
        try:
            chaos = Chaos(stack, seed)
            undisturbed = chaos.train_undisturbed()
            chaos.rage(seconds)
            began = time.monotonic()
            chaos.settle()
            proof = prove(
                stack,
                chaos.submitted,
                chaos.cancelled,
                undisturbed,
                {name: spec["epochs"] for name, spec in SPECS.items()},
            )
            _report(chaos, proof, time.monotonic() - began)
            if proof.wrong:
                print(stack.service.read_log())
            return not proof.wrong
        finally:
            stack.close()
            if redis is not None:
                redis.send_signal(18)
                redis.kill()
            if cluster is not None:
                cluster.remove()


def _report(chaos: Chaos, proof: Proof, settled_seconds: float) -> None:
    runs = sum(proof.statuses.values())
    print(
        f"\n{chaos.stack.name}: {len(chaos.submitted)} experiments, {runs} runs, {sum(proof.attempts)} attempts,"
        f" {chaos.revived} processes started again"
    )
    print(
        f"  faults    {sum(chaos.faults.values())}: "
        + ", ".join(f"{count} x {name}" for name, count in chaos.faults.most_common())
    )
    print(
        "  verbs     " + ", ".join(f"{count} x {name}" for name, count in chaos.verbs.most_common())
    )
    print(
        "  attempts  "
        + ", ".join(f"{count} {outcome}" for outcome, count in proof.outcomes.most_common())
        + f"; most of one run: {max(proof.attempts)}"
    )
    print(
        "  runs      "
        + ", ".join(
            f"{proof.statuses[status]} {status}" for status in RunStatus if proof.statuses[status]
        ),
        end="; ",
    )
    print(
        f"{proof.compared} with the bits of an undisturbed run; all at their end {settled_seconds:.0f} s after the last"
        f" fault; {proof.notes} notes of attempts"
    )
    print(
        "  proof     "
        + (
            "holds"
            if not proof.wrong
            else f"FAILS in {len(proof.wrong)}:\n    " + "\n    ".join(proof.wrong[:20])
        ),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
