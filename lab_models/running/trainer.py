"""The lab as a supervised program: one order in, events out as JSON lines, then the end.

Started ahead of time it warms the device and waits; so an order reaches its first step in milliseconds.
"""

import logging
import os
import sys
import threading
import traceback
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import BinaryIO

import torch
from pydantic import ValidationError

from lab_models.common.errors import LabError
from lab_models.running.execution import Execution
from lab_models.running.fitness import caution_of, require_kernels, unfit
from lab_models.running.warming import warm_up
from lab_models.training.epoch_lines import epoch_line
from lab_models.training.protocol import (
    Failed,
    Message,
    Order,
    Ready,
    Stop,
    UseThreads,
    read_order,
    to_line,
)

STDIN, STDOUT, STDERR = 0, 1, 2
TRACEBACK_TAIL = 4000

log = logging.getLogger("lab.trainer")


@dataclass(frozen=True)
class Wishes:
    """What is wanted of the order under way: that it is left, and on how many threads it computes."""

    stop: threading.Event = field(default_factory=threading.Event)
    threads: "SimpleQueue[int]" = field(default_factory=SimpleQueue)


def serve_one_order(device: str, threads: int) -> int:
    """Warm up, say `ready`, carry out the first order on standard input; exit status 0 whatever became of it. Where the
    device cannot be trained on it says `unfit` instead: exit status 1.
    """
    events = _private_stdout()
    try:
        require_kernels(torch.device(device))
        warm_up(torch.device(device), threads)
        caution = caution_of(torch.device(device))
    except Exception as error:  # the process's edge: why it cannot train must reach the worker
        log.exception("%s cannot be trained on", device)
        _send(events, unfit(error))
        return 1
    _send(events, Ready(pid=os.getpid(), caution=caution))
    orders: SimpleQueue[Order] = SimpleQueue()
    wishes = Wishes()
    threading.Thread(target=_read_orders, args=(orders, wishes), daemon=True).start()
    _carry_out(orders.get(), wishes, events)
    return 0


def _carry_out(order: Order, wishes: Wishes, events: BinaryIO) -> None:
    execution = Execution(order)
    try:
        for event in execution.events():
            _send(events, event)
            if event.event == "epoch":
                is_best = event.best_epoch == event.epoch
                line = epoch_line(
                    event.epoch, order.spec.planned_epochs, event.metrics, is_best=is_best
                )
                print(line, file=sys.stderr, flush=True)
            if event.event not in ("progress", "epoch", "checkpoint"):
                continue
            if wishes.stop.is_set():
                _send(events, execution.checkpoint(stopped=True))
                return
            if not wishes.threads.empty():
                _send(events, execution.use_threads(wishes.threads.get()))
    except LabError as error:
        log.exception("training failed: %s", error.code)
        _send(
            events,
            Failed(
                code=error.code,
                message=str(error),
                hint=error.hint,
                traceback=_tail(),
                phases=execution.phases(),
            ),
        )
    except Exception as error:  # the process's edge: what happened must reach the run's record
        log.exception("training failed")
        _send(
            events,
            Failed(
                code="internal",
                message=f"{type(error).__name__}: {error}",
                traceback=_tail(),
                phases=execution.phases(),
            ),
        )


def _read_orders(orders: "SimpleQueue[Order]", wishes: Wishes) -> None:
    """Runs in a thread. The end of standard input means that the supervisor is gone: leave at once."""
    for line in os.fdopen(STDIN, "rb", closefd=False):
        try:
            order = read_order(line)
        except ValidationError:
            log.exception("an order that is none")
            os._exit(4)
        match order:
            case Stop():
                wishes.stop.set()
            case UseThreads():
                wishes.threads.put(order.threads)
            case Order():
                orders.put(order)
    os._exit(3)


def _private_stdout() -> BinaryIO:
    """Keep the event stream for events: whatever libraries print goes to standard error."""
    events = os.fdopen(os.dup(STDOUT), "wb", buffering=0)
    os.dup2(STDERR, STDOUT)
    return events


def _send(events: BinaryIO, message: Message) -> None:
    events.write(to_line(message))


def _tail() -> str:
    return traceback.format_exc()[-TRACEBACK_TAIL:]
