"""Pictures drawn in processes of their own, so that neither the event loop nor the interpreter's lock waits for
matplotlib, and training has the cores first.

A figure goes over as plain values and comes back as bytes. A process that dies is replaced and the picture drawn again,
once; one that takes too long is ended, one that has grown is replaced between two pictures.
"""

import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from app.errors import Busy
from app.plots.appearance import USUAL, Appearance
from app.plots.wire import HEAD

DEADLINE_SECONDS: Final = 60.0
"""For one picture, the start of its process included; the largest that is asked for takes seconds on a busy core."""
MOST_PICTURES: Final = 2000
MOST_RESIDENT_BYTES: Final = 400 << 20
"""A process begins with some 80 MB; beyond these bounds it is replaced once it has answered."""
SECRETS: Final = ("LAB_DATABASE_URL", "LAB_BROKER_URL", "LAB_API_KEY")
STOPPING: Final = "the service stops"

log = logging.getLogger("lab.drawing")


@dataclass(frozen=True)
class Drawn:
    """A picture's bytes, and the seconds of a core that it took."""

    picture: bytes
    seconds: float


class DrawingFailed(Exception):
    """The drawing code has a fault; the message is the traceback of its process."""


class ProcessEnded(Exception):
    """The process ended before it had answered."""


class Artists:
    """So many processes at most; the first starts with `warm_up`, the others when they are needed. `arguments`: of
    their command line. Of one event loop.
    """

    def __init__(self, count: int, *arguments: str) -> None:
        self.artists = [Artist(*arguments) for _ in range(count)]

    def warm_up(self) -> None:
        """Start the first one; returns at once."""
        self.artists[0].warm_up()

    def draw(self, figure: Any, extension: str, appearance: Appearance = USUAL) -> "Future[Drawn]":
        """The picture of a figure of `app.plots.figures`, or Busy, or DrawingFailed; raises Busy once the service
        stops. `extension`: png, svg or pdf.
        """
        return next((one for one in self.artists if one.is_idle), self.artists[0]).draw(
            figure, extension, appearance
        )

    def close(self) -> None:
        """End them all, whatever they draw."""
        for artist in self.artists:
            artist.close()


class Artist:
    """One process at a time, started, asked and ended by one thread that lasts: the kernel ties the process to the
    thread that has started it.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._deadline_seconds, self._most_pictures = DEADLINE_SECONDS, MOST_PICTURES
        self._thread = ThreadPoolExecutor(1, "drawing")
        self._most_bytes = MOST_RESIDENT_BYTES
        self._latest: Future[Drawn] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._num_drawn = 0
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether a figure would be drawn at once."""
        return self._latest is None or self._latest.done()

    @property
    def pid(self) -> int | None:
        """Of its process, None before the first."""
        return None if self._process is None else self._process.pid

    def warm_up(self) -> None:
        """Start its process; returns at once."""
        self._thread.submit(self._renew)

    def draw(self, figure: Any, extension: str, appearance: Appearance = USUAL) -> "Future[Drawn]":
        """See `Artists.draw`."""
        if self._is_closed:
            raise Busy(STOPPING)
        self._latest = self._thread.submit(self._draw, figure, extension, appearance)
        return self._latest

    def close(self) -> None:
        """End the process, whatever it draws."""
        self._is_closed = True
        if (process := self._process) is not None:
            process.kill()
        self._thread.shutdown(wait=True)  # what it asked for has just ended
        self._end()

    def _draw(self, figure: Any, extension: str, appearance: Appearance) -> Drawn:
        question = pickle.dumps((figure, extension, appearance), pickle.HIGHEST_PROTOCOL)
        try:
            answer = self._answer(question)
        except ProcessEnded:
            try:
                answer = self._answer(question)
            except ProcessEnded:
                raise Busy(
                    "the process that draws pictures has ended twice while it drew this one"
                ) from None
        self._num_drawn += 1
        if self._num_drawn >= self._most_pictures or _resident_bytes(self.pid) > self._most_bytes:
            self._end()
            with suppress(RuntimeError):  # the service stops
                self._thread.submit(self._renew)
        (is_drawn, seconds), body = HEAD.unpack_from(answer), answer[HEAD.size :]
        if not is_drawn:
            raise DrawingFailed(body.decode())
        return Drawn(body, seconds)

    def _answer(self, question: bytes) -> bytes:
        """Raises ProcessEnded, or Busy where it was ended because it took too long or the service stops, or none can be
        started.
        """
        if self._is_closed:
            raise Busy(STOPPING)
        process, connection = self._running()
        with _killed_after(process, self._deadline_seconds) as is_late:
            try:
                connection.send_bytes(question)
                return connection.recv_bytes()
            except (EOFError, OSError):
                self._end()
        if self._is_closed:
            raise Busy(STOPPING)
        if is_late.is_set():
            log.warning(
                "a picture was not drawn within %g s and is given up", self._deadline_seconds
            )
            raise Busy(f"the picture was not drawn within {self._deadline_seconds:g} s")
        log.warning(
            "the process that draws pictures, %d, ended with status %s; another one is started",
            process.pid,
            process.returncode,
        )
        raise ProcessEnded

    def _running(self) -> tuple["subprocess.Popen[bytes]", Connection]:
        if self._process is None or self._connection is None or self._process.poll() is not None:
            self._renew()
        assert self._process is not None
        assert self._connection is not None
        return self._process, self._connection

    def _renew(self) -> None:
        """End the process, if there is one, and start another, which gets ready meanwhile. Raises Busy where the system
        has no room for one.
        """
        self._end()
        command = [
            sys.executable,
            "-P",
            "-m",
            "app.plots",
            "--parent-pid",
            str(os.getpid()),
            *self._arguments,
        ]
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._connection = Connection(ours.detach())
                self._process = subprocess.Popen(  # noqa: S603
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,
                )
        except OSError as error:
            self._end()
            log.warning("no process that draws pictures can be started: %s", error)
            raise Busy("no process that draws pictures can be started") from error
        self._num_drawn = 0
        if self._is_closed:
            self._process.kill()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


@contextmanager
def _killed_after(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[threading.Event]:
    """Within the block the process is killed when the time is up; the event says whether it was."""
    is_late = threading.Event()

    def kill() -> None:
        is_late.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def _environment() -> dict[str, str]:
    """Nothing that opens a door, and no threads of the linear algebra that drawing does not use."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS} | {
        "OPENBLAS_NUM_THREADS": "1"
    }


def _resident_bytes(pid: int | None) -> int:
    """0 where the system does not tell."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
