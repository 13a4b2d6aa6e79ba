"""The child processes that train: forked from a server that has torch loaded, given one order, listened to, stopped or
killed.
"""

import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from app.serving.last_words import LastWords
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Failed,
    Message,
    Order,
    Probed,
    Progress,
    Ready,
    Started,
    Stop,
    Unfit,
    UseThreads,
    read_event,
    to_line,
)
from worker.surroundings import surroundings
from worker.trainer_log import TrainerLog, line_that_counts

START_SECONDS = 120.0
LOOK_SECONDS = 0.1
MUST_SPAWN = sys.platform == "darwin"
"""macOS's libraries survive no fork: https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods."""
LONGEST_PIECE = 64 * 1024
"""Bytes of a line of its log that are kept before they are written: who ends no line takes no memory."""

TrainerEvent = Started | Probed | Progress | EpochCompleted | Checkpointed | Completed | Failed

log = logging.getLogger("lab.trainer")


class ServerGone(Exception):
    """The process that forks trainers has ended; start another."""


@dataclass(frozen=True)
class Exited:
    """The trainer has ended; `status` is negative for a signal, as in `subprocess`."""

    status: int


class TrainerServer:
    """One `python -m lab_models trainers`, which forks trainers or spawns them. Start it from a thread that outlives
    it: the kernel ties it to that thread.
    """

    def __init__(self, threads: int, niceness: int = 0, *, spawn: bool = False) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "lab_models",
                    "trainers",
                    "--parent-pid",
                    str(os.getpid()),
                    "--niceness",
                    str(niceness),
                    *(["--spawn"] if spawn or MUST_SPAWN else []),
                ],
                stdin=theirs.fileno(),
                stderr=subprocess.PIPE,
                env=surroundings(threads),
                start_new_session=True,
            )
        assert self._process.stderr is not None
        self._words = LastWords(self._process.stderr)
        self._forking: queue.SimpleQueue[tuple[int, int, int]] = queue.SimpleQueue()
        self._forked: queue.SimpleQueue[Trainer | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="trainer-server", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether the server still runs."""
        return self._process.poll() is None

    @property
    def end(self) -> str:
        """How it has ended, with its last words."""
        return _ended(self._process.wait(), self._words.said())

    def fork(self, device: str, threads: int, visible: str | None = None) -> "Trainer":
        """A new trainer, warming up; `visible` is the CUDA_VISIBLE_DEVICES that it gets. Raises ServerGone."""
        (stdin, our_stdin), (our_stdout, stdout), (our_stderr, stderr) = (
            os.pipe() for _ in range(3)
        )
        self._forking.put((our_stdin, our_stdout, our_stderr))
        try:
            socket.send_fds(
                self._control,
                [json.dumps({"device": device, "threads": threads, "visible": visible}).encode()],
                [stdin, stdout, stderr],
            )
            trainer = self._forked.get(timeout=START_SECONDS)
        except (OSError, queue.Empty):
            trainer = None
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        if trainer is None:
            for descriptor in (our_stdin, our_stdout, our_stderr):
                os.close(descriptor)
            raise ServerGone
        return trainer

    def kill(self) -> None:
        """End the server and with it, by the kernel's hand, its trainers."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        """Runs in a thread, the only one that knows which process is which trainer."""
        trainers: dict[int, Trainer] = {}
        try:
            with self._control, self._control.makefile("rb") as answers:
                for line in answers:
                    answer = json.loads(line)
                    if "started" in answer:
                        trainers[answer["started"]] = trainer = Trainer(
                            answer["started"], *self._forking.get()
                        )
                        self._forked.put(trainer)
                    else:
                        trainers.pop(answer["exited"]).ended(answer["status"])
        except ConnectionResetError:
            log.debug("the trainers' server ended with a request unread")
        for trainer in trainers.values():
            trainer.ended(-signal.SIGKILL)
        self._forked.put(None)


class Trainer:
    """One forked trainer."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid = pid
        self._stdin = os.fdopen(stdin, "wb", buffering=0)
        self._events: queue.SimpleQueue[TrainerEvent | Exited] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._unfit: Unfit | None = None
        self.caution: str | None = None
        self._status: int | None = None
        self._has_ended = threading.Event()
        self._log = TrainerLog()
        self._log_reader = self._thread("log", self._read_log, os.fdopen(stderr, "rb"))
        self._thread("events", self._read_events, os.fdopen(stdout, "rb"))

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return not self._has_ended.is_set()

    @property
    def last_words(self) -> str:
        """The last lines that it has written."""
        return self._log.last_words

    @property
    def unfit(self) -> Unfit:
        """Why it could not train, of one that has ended before it was ready: what it said itself, else how it died,
        with its last words.
        """
        if self._unfit is not None:
            return self._unfit
        status = -signal.SIGKILL if self._status is None else self._status
        how = _ended(status, line_that_counts(self.last_words))
        return Unfit(reason=f"the trainer ended before it was ready, {how}")

    def wait_ready(
        self, no_longer: Callable[[], bool] = lambda: False, seconds: float = START_SECONDS
    ) -> bool:
        """Wait until it has loaded its libraries and taken a step; False if it died instead, is `no_longer` waited for,
        or is not ready after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while not self._ready.wait(LOOK_SECONDS):
            if no_longer() or time.monotonic() >= deadline:
                return False
        return self.is_alive

    def train(self, order: Order, log_file: Path) -> None:
        """Give it its one order; from now on its standard error goes to `log_file`."""
        self._log.begin(log_file)
        self._send(order)

    def stop(self) -> None:
        """Ask it to save itself and leave."""
        self._send(Stop())

    def use_threads(self, threads: int) -> None:
        """Ask it to compute on so many threads; a checkpoint says from where on it does."""
        self._send(UseThreads(threads=threads))

    def next_event(self, timeout: float) -> TrainerEvent | Exited | None:
        """The next thing it said, `Exited` as the last; None when nothing came in time."""
        try:
            return self._events.get(timeout=timeout)
        except queue.Empty:
            return None

    def kill(self) -> None:
        """End it at once and wait until it is gone."""
        if self.is_alive:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                log.debug("trainer %d has just ended by itself", self.pid)
            self._has_ended.wait(START_SECONDS)

    def give_up(self) -> None:
        """Kill it and wait for nothing: a process that hangs in its driver stays as long as the driver does."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def ended(self, status: int) -> None:
        """Called by the server: the process is gone and its number free."""
        self._status = status
        self._has_ended.set()
        self._stdin.close()

    def _send(self, message: Message) -> None:
        try:
            self._stdin.write(to_line(message))
        except (OSError, ValueError):
            log.debug("trainer %d is gone and heard nothing", self.pid)

    def _thread(
        self, name: str, target: Callable[[BinaryIO], None], stream: BinaryIO
    ) -> threading.Thread:
        thread = threading.Thread(
            target=target, args=(stream,), name=f"trainer-{name}-{self.pid}", daemon=True
        )
        thread.start()
        return thread

    def _read_events(self, stream: BinaryIO) -> None:
        with stream:
            for line in stream:
                try:
                    event = read_event(line)
                except ValidationError:
                    log.exception(
                        "trainer %d said something that is no event: %.200r", self.pid, line
                    )
                    continue
                match event:
                    case Ready():
                        self.caution = event.caution
                        self._ready.set()
                    case Unfit():
                        self._unfit = event
                    case _:
                        self._events.put(event)
        self._has_ended.wait(START_SECONDS)
        self._log_reader.join(timeout=5)
        self._events.put(Exited(self._status if self._status is not None else -signal.SIGKILL))
        self._ready.set()

    def _read_log(self, stream: BinaryIO) -> None:
        with stream:
            # to the end whatever happens: a trainer whose pipe is full would stand still
            while line := stream.readline(LONGEST_PIECE):
                try:
                    self._log.write(line)
                except OSError as error:
                    log.warning("trainer %d: a line of its log is lost: %s", self.pid, error)


def _ended(status: int, words: str) -> str:
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return f"{how} ({words})" if words else how
