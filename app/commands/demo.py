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

import httpx

from app.commands import client
from app.errors import Misconfigured

HOME = Path(".lab-demo")
START_SECONDS = 60
EXPERIMENT = {
    "name": "demo: MLP on digits",
    "dataset": "digits",
    "model": {"arch": "mlp", "hidden": [64, 32], "dropout": 0.1},
    "batch_size": 32,
    "epochs": 20,
    "seeds": 3,
}


def run_demo() -> int:
    """Exit status 0 when the experiment has succeeded."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    _say(f"Starting the service on {url} with its files in {HOME}/ ...")
    try:
        HOME.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"{HOME.absolute()}: {error.strerror}; go to a folder of yours"
        ) from error
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("LAB_")
    } | {
        "LAB_HOME": str(HOME),
        "LAB_LOG_LEVEL": "WARNING",
    }
    server = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", "app.commands", "serve", "--port", str(port)],
        env=environment,
        start_new_session=True,
    )
    try:
        service = client.Service(url)
        if not _wait_until_up(service, server):
            _say("The service did not start; what it said is above.")
            return 1
        return _run_experiment(service, url)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
        _say("The service has stopped.")


def _run_experiment(service: client.Service, url: str) -> int:
    body = json.dumps(EXPERIMENT)
    _say(f"curl -d '{body}' {url}/experiments")
    record = client.wait_with_progress(service, service.post("/experiments", body)["id"])
    print(json.dumps(record, indent=2))
    if record["status"] != "succeeded":
        return 1
    picture = HOME / "curves.png"
    picture.write_bytes(service.download(record["links"]["curves"]))
    accuracy = record["results"]["test"]["accuracy"]
    low, high = accuracy["ci95"]
    _say(
        f"Test accuracy {100 * accuracy['mean']:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %,"
        f" {accuracy['n']} seeds)."
    )
    _say(f"Curves: {picture}")
    return 0


def _wait_until_up(service: client.Service, server: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            service.get("/healthz")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
