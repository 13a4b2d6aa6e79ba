"""`make demo`: a service on a free port, one experiment over its API, its result and its picture, and an orderly
end.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from app.errors import Misconfigured
from training_lab import Lab, Unreachable
from training_lab.commands.job_waiting import wait_with_progress
from training_lab.commands.output import say
from training_lab.commands.requesting import Service

HOME = Path(".lab-demo")
LOG = HOME / "service.log"
START_SECONDS = 60
EXPERIMENT = {
    "name": "demo: MLP on digits",
    "dataset": "digits",
    "model": {"arch": "mlp", "hidden": [64, 32], "dropout": 0.1},
    "batch_size": 32,
    "epochs": 20,
    "seeds": 3,
}

ANOTHER = {"dataset": "digits", "model": {"depth": 4}, "epochs": 10, "seeds": 3}


def add_commands(commands: Any) -> None:
    """Add it to the command line."""
    demo = commands.add_parser(
        "demo", help="start a service, train a small network over its API, show the result, stop"
    )
    demo.set_defaults(run=lambda _: run_demo())


def run_demo() -> int:
    """Exit status 0 when the experiment has succeeded."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    try:
        HOME.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"{HOME.absolute()}: {error.strerror}; go to a folder of yours"
        ) from error
    say(f"A service starts on {url}, with its files in {HOME}/; then it trains over its API.")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("LAB_")
    } | {
        "LAB_HOME": str(HOME),
        "LAB_LOG_LEVEL": "WARNING",
    }
    with LOG.open("wb") as log:
        server = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "app.commands", "serve", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        service = Service(Lab(url, "", retries=0))
        if not _wait_until_up(service, server):
            say(f"The service did not start. It said, in {LOG}:\n{LOG.read_text()}")
            return 1
        record = _run_experiment(service, url)
    finally:
        say("The service stops ...")
        server.send_signal(signal.SIGINT)
        server.wait()
    if record["status"] != "succeeded":
        say(f"{record['status_message']} What the service said is in {LOG}.")
        return 1
    _show_next(record["id"])
    return 0


def _run_experiment(service: Service, url: str) -> dict[str, Any]:
    """Its last record."""
    body = json.dumps(EXPERIMENT)
    say(f"curl -d '{body}' {url}/experiments")
    record: dict[str, Any] = wait_with_progress(
        service, service.make("/experiments", EXPERIMENT)["id"], tells_epochs=False
    )
    if record["status"] != "succeeded":
        return record
    picture = HOME / "curves.png"
    picture.write_bytes(service.download(record["links"]["curves"]))
    accuracy = record["results"]["test"]["accuracy"]
    interval = ""
    if accuracy["ci95"] is not None:  # equal numbers have none
        low, high = (min(max(100 * end, 0.0), 100.0) for end in accuracy["ci95"])
        interval = f"95 % interval {low:.2f} to {high:.2f} %, "
    say(
        f"Test accuracy {100 * accuracy['mean']:.2f} % ({interval}{accuracy['n']} seeds):"
        f" {record['estimate']['parameters']:,} parameters, 8x8 images of digits."
    )
    say(f"Loss and accuracy, epoch by epoch: {picture}")
    return record


def _show_next(experiment_id: str) -> None:
    """Commands to copy, for two terminals."""
    lab = Path(sys.executable).with_name("lab")
    here = str(lab.relative_to(Path.cwd())) if lab.is_relative_to(Path.cwd()) else "lab"
    say(
        "Next, in this terminal a service that stays, with the demo's experiment in it; Ctrl-C stops it:\n"
        f"  LAB_HOME={HOME} {here} serve\n"
        "in another one the whole record, and an experiment of your own:\n"
        f"  {here} show {experiment_id}\n"
        f"  curl -d '{json.dumps(ANOTHER)}' localhost:8000/experiments\n"
        "A curl for each verb: docs/tour.md. Whole tables of a lab's exercise: docs/studies.md."
    )


def _wait_until_up(service: Service, server: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            service.get("/healthz")
        except Unreachable:
            time.sleep(0.1)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
