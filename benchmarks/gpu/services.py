"""What the service makes of a card: its trainers, its speed, what it survives, and what it says of a wrong device."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from statistics import median
from typing import Any

from app.gpus import NoAnswer, nvidia_smi
from benchmarks.gpu.checks import Check, Setting, Verdict, above, below, holds, info
from benchmarks.gpu.serving import MLP, RESNET, WITH_DROPOUT, mps, serving
from tests.e2e.service import is_alive, parent_of, wait_until
from worker.spare import Spare


def probe(setting: Setting) -> Iterator[Check]:
    """G0: what `lab doctor` asks of the machine."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.probe", "--json", "--devices", setting.service_device],
        env=os.environ | {"LAB_HOME": str(setting.folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        verdict: Verdict = "FAIL" if line["level"] == "FAIL" else "INFO"
        yield Check(verdict, line["what"], f"{line['found']} {line['do']}".strip())
    yield holds("probe", done.returncode == 0, f"status {done.returncode}", "status 0")


def fork_server(setting: Setting) -> Iterator[Check]:
    """G1: how long trainers take, and that the server that forks them is not on the card."""
    spare = Spare(setting.service_device, 1)
    try:
        for name, most in (("first trainer", 4.0), ("second trainer", 2.0)):
            began = time.monotonic()
            is_ready = spare.probe()
            seconds = time.monotonic() - began
            yield holds(name, is_ready, "ready" if is_ready else str(spare.unfit), "is ready")
            yield below(f"{name}, until ready", seconds, most, setting)
            trainer = spare.take()
            on_card = _on_card()
            if on_card is not None and trainer is not None:
                server = parent_of(trainer.pid)
                yield holds("the server", server not in on_card, f"pid {server}", "not on the card")
                yield info("memory of a trainer", on_card.get(trainer.pid, "not told"))
            if trainer is not None:
                trainer.kill()
    finally:
        spare.drop()


def first_step(setting: Setting) -> Iterator[Check]:
    """G3: from POST to the first step, with a trainer that waits for it."""
    cnn = {**MLP, "model": {"arch": "cnn", "stages": 3, "width": 32}}
    with serving(setting, workers=1) as service:
        service.wait_for(service.submit(MLP), "succeeded")
        for name, spec, most in (("MLP", MLP, 0.3), ("CNN", cnn, 0.5)):
            seconds = []
            for _ in range(setting.sized(5, 1)):
                time.sleep(setting.sized(2, 1))  # the next trainer warms up
                experiment = service.submit(spec)
                service.wait_for(experiment, "succeeded")
                attempt = service.run(experiment)["attempts"][0]
                seconds.append(_between(experiment["created_at"], attempt["first_step_at"]))
            yield below(f"{name}, POST to first step", median(seconds), most, setting)


def slots(setting: Setting) -> Iterator[Check]:
    """G4: the same runs with 1, 2 and 4 at a time, and with as many under MPS."""
    rates = {}
    for workers in (1, 2) if setting.is_short else (1, 2, 4):
        rates[workers] = _runs_a_minute(setting, workers, f"slots-{workers}")
        yield info(f"{workers} at a time", f"{rates[workers]:.3g} runs/minute")
    most = max(rates)
    yield info(f"{most} against 1", f"{rates[most] / rates[1]:.2f} times")
    with mps(setting.folder / "mps") as fault:
        if fault:
            yield info("MPS", fault)
        else:
            together = _runs_a_minute(setting, most, "slots-mps")
            yield info(f"{most} at a time under MPS", f"{together:.3g} runs/minute")
            rates[most] = max(rates[most], together)
    gain = rates[most] / rates[1]
    yield above(f"{most} at a time, the best of both, against 1", gain, 2.5, setting, "times")


def _runs_a_minute(setting: Setting, workers: int, name: str) -> float:
    seeds = setting.sized(8, 2)
    with serving(setting, workers, name=name) as service:
        service.wait_for(service.submit(MLP), "succeeded")
        experiment = service.submit(
            {**WITH_DROPOUT, "epochs": setting.sized(60, 2), "seeds": seeds}
        )
        record = service.wait_for(experiment, "succeeded", 120)
        return 60 * seeds / _between(record["started_at"], record["finished_at"])


def killed(setting: Setting) -> Iterator[Check]:
    """G7: a run whose trainer is killed twice and whose worker is killed once has the bits of one left alone."""
    specs: dict[str, dict[str, Any]] = (
        {"MLP with dropout": WITH_DROPOUT}
        if setting.is_short
        else {
            "MLP with dropout": WITH_DROPOUT,
            "ResNet-18": RESNET,
        }
    )
    for name, spec in specs.items():
        spec = {**spec, "epochs": setting.sized(int(spec["epochs"]), 20)}
        with serving(setting, workers=1, name=name.split()[0]) as service:
            twin = service.submit(spec)
            service.wait_for(twin, "succeeded", 120)
            experiment = service.submit(spec)
            for share in (0.3, 0.7):
                service.wait_for_epoch(experiment, int(spec["epochs"] * share), 120)
                _kill(service.trainer_pids())
            service.wait_for(experiment, "succeeded", 120)
            same = service.weights_sha256(experiment) == service.weights_sha256(twin)
            attempts = len(service.run(experiment)["attempts"])
            yield holds(f"{name}, trainer killed twice", same, f"{attempts} attempts", "same bits")


def epochs(setting: Setting) -> Iterator[Check]:
    """G10: what an epoch of ResNet-18 takes by the run's own record, and what of the attempt goes to what."""
    name = "cifar10" if os.environ.get("LAB_DATA_DIR") and not setting.is_short else "digits"
    spec = {
        "dataset": {"name": name, "augmentation": "crop_flip"},
        "model": {"arch": "cnn", "stages": 1, "width": 4} if setting.is_short else RESNET["model"],
        "precision": "bfloat16",
        "batch_size": setting.sized(512, 64),
        "epochs": setting.sized(8, 1),
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        "schedule": "one_cycle",
    }
    with serving(setting, workers=1) as service:
        experiment = service.submit(spec)
        record = service.wait_for(experiment, "succeeded", 300)
        lines = service.metrics(experiment)
        seconds = [line["train"]["seconds"] for line in lines]
        yield below(f"an epoch of {name}", median(seconds), 1.6, setting)
        yield info("validation", f"{median(line['val']['seconds'] for line in lines):.3g} s")
        yield info("phases", json.dumps(service.run(experiment)["attempts"][0].get("phases")))
        yield info("test accuracy", record["runs"][0].get("test"))


def yardstick(_: Setting) -> Iterator[Check]:
    """G11: https://github.com/KellerJordan/cifar10-airbench is to be run by hand: it is no part of this project."""
    yield info("airbench94", "not run: it is no part of this project")


def wrong_device(setting: Setting) -> Iterator[Check]:
    """G12: a device that is not there is said within ten seconds."""
    with serving(setting, workers=0, devices="cuda:7") as service:
        service.start("serve", "--port", str(service.port))
        service.wait_until_up()
        began = time.monotonic()
        worker = wait_until(
            lambda: next((w for w in service.get("/workers")["data"] if w["trouble"]), None),
            30,
            f"a worker says that there is no cuda:7; {service.read_log()}",
        )
        seconds = time.monotonic() - began
        yield info("said", worker["trouble"])
        yield below("LAB_DEVICES=cuda:7 is said after", seconds, 10.0, setting)


def _on_card() -> dict[int, str] | None:
    """Memory by process, as the driver's tool tells it; None where there is none."""
    try:
        rows = nvidia_smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader")
    except (FileNotFoundError, NoAnswer):
        return None
    pairs = (row.split(",", 1) for row in rows)
    return {int(pid): memory.strip() for pid, memory in pairs}


def _kill(pids: list[int]) -> None:
    """All at once: of two, the one that waits would be given the run of the other."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids), 10, "killed trainers are dead")


def _between(began: Any, ended: Any) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
