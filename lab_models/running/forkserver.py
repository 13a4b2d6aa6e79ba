"""Trainers in milliseconds: one process loads torch, and each trainer is a fork of it.

Loading torch takes seconds of processor time, which would be taken from the run that is training. The server itself
never computes in parallel, never runs a backward pass and sees no GPU, so a fork starts with clean thread pools and no
device context (https://pytorch.org/docs/stable/notes/multiprocessing.html).

Where a fork of what has loaded torch is not safe, as on macOS, each trainer is a process of its own that loads it
(`spawn`); all else is the same.

Standard input is a socket. A request is a JSON object `{"device", "threads", "visible"}` with three descriptors: the
trainer's standard input, output and error. `visible` becomes its CUDA_VISIBLE_DEVICES, so that it sees its own card
alone; null leaves that as it was. Answers are JSON lines: `{"started": pid}`, and `{"exited": pid, "status": n}` for
each trainer that ends, `status` negative for a signal.
"""

import gc
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

import torch
from torch import nn, optim

from lab_models.common.revision import source_revision
from lab_models.running.process import die_with_parent
from lab_models.running.trainer import serve_one_order

REQUEST_BYTES = 4096


def serve_forks(*, spawn: bool = False) -> int:
    """Fork trainers on request, or `spawn` them, until the other end of the socket is closed."""
    visible_devices = hide_gpus()
    if not spawn:
        load_everything()
    control = socket.socket(fileno=os.dup(0))
    child_ended, wakeup = os.pipe()
    for descriptor in (child_ended, wakeup):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # meant for the supervisor, which ends all of these itself once they have saved
    for shutdown in (signal.SIGINT, signal.SIGTERM):
        signal.signal(shutdown, signal.SIG_IGN)
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    waiting.register(child_ended, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is control:
                if not _answer_request(control, visible_devices, spawn):
                    return 0
            else:
                os.read(child_ended, REQUEST_BYTES)
                _report_ended(control)


def hide_gpus() -> str | None:
    """Let this process find no GPU, so that nothing in it calls the CUDA driver, which does not survive a fork.

    Returns what `show_gpus` needs. With the NVML-based check `torch.cuda.is_available` reads the environment alone
    (https://pytorch.org/docs/stable/cuda_environment_variables.html).
    """
    visible_devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return visible_devices


def show_gpus(visible_devices: str | None) -> None:
    """Undo `hide_gpus`, in the fork."""
    if visible_devices is None:
        del os.environ["CUDA_VISIBLE_DEVICES"]
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_devices


def load_everything() -> None:
    """Pull in what torch loads at first use: a forward pass and optimizer steps on one thread, gradients made by
    hand.
    """
    torch.set_num_threads(1)
    source_revision()
    model = nn.Linear(8, 8)
    for optimizer in (optim.Adam(model.parameters()), optim.SGD(model.parameters(), lr=0.1)):
        with torch.no_grad():
            model(torch.zeros(8, 8))
        optimizer.zero_grad(set_to_none=True)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    gc.collect()
    gc.freeze()  # forks share these objects; a collection in a fork would copy their pages


def be_trainer(device: str, threads: int, server: int) -> int:
    """Carry out one order, as a process of its own that the server has spawned."""
    die_with_parent(server)
    return serve_one_order(device, threads)


def _answer_request(control: socket.socket, visible_devices: str | None, spawn: bool) -> bool:
    """Start one trainer; False when the socket is closed."""
    message, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 3)
    if not message:
        return False
    request = json.loads(message)
    server = os.getpid()
    visible = visible_devices if request["visible"] is None else request["visible"]
    pid = _spawned(request, visible, descriptors) if spawn else os.fork()
    if pid == 0:
        show_gpus(visible)
        os._exit(_be_trainer(request["device"], request["threads"], descriptors, server))
    for descriptor in descriptors:
        os.close(descriptor)
    _send(control, {"started": pid})
    return True


def _spawned(request: dict[str, Any], visible: str | None, descriptors: list[int]) -> int:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    command = [
        sys.executable,
        "-P",
        "-m",
        "lab_models",
        "trainer",
        "--parent-pid",
        str(os.getpid()),
    ]
    command += ["--device", request["device"], "--threads", str(request["threads"])]
    return os.posix_spawn(
        sys.executable,
        command,
        {name: value for name, value in environment.items() if value is not None},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, descriptor, place) for place, descriptor in enumerate(descriptors)
        ],
        setsid=True,
    )


def _be_trainer(device: str, threads: int, descriptors: list[int], server: int) -> int:
    """In the fork: take the descriptors' places and carry out one order."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
    os.closerange(3, max(descriptors) + 64)
    try:
        die_with_parent(server)
        return serve_one_order(device, threads)
    except BaseException:  # noqa: BLE001 - a fork must never return into its server's code
        sys.excepthook(*sys.exc_info())
        return 1


def _report_ended(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _send(control, {"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _send(control: socket.socket, answer: dict[str, int]) -> None:
    control.sendall(json.dumps(answer).encode() + b"\n")
