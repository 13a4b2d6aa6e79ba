"""Worker processes beside the API: started, watched, started again, ended."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from app.devices import Dealt
from app.services.lifecycle.local_workers import LocalWorkers
from app.serving.last_words import LastWords
from app.settings import Settings

WATCH_SECONDS = 0.2
PATIENCE_SECONDS = 5.0
"""After so long a stop says who is still waited for."""

log = logging.getLogger("lab.serve")


@dataclass(frozen=True)
class Child:
    """A worker that runs."""

    process: "subprocess.Popen[bytes]"
    words: LastWords

    @property
    def how(self) -> str:
        """How it has ended, with its last words."""
        status = self.process.returncode
        ended = (
            f"killed by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        )
        said = self.words.said()
        return f"{ended} ({said})" if said else ended


class Workers:
    """Worker processes, started again when they die, after longer and longer pauses when they die at once. They run in
    sessions of their own, so that Ctrl-C reaches them through here only.

    One thread starts, watches and ends them: the kernel kills a worker when the thread that started it ends.
    """

    def __init__(self, settings: Settings, count: int, dealt: Dealt) -> None:
        self.fate = LocalWorkers()
        self._dealt = dealt
        self._grace_seconds = settings.stop_grace_seconds + 10
        self.count = count
        self._children: dict[int, Child] = {}
        self._due = dict.fromkeys(range(count), 0.0)
        self._ending = threading.Event()
        self._pids: list[int] = []
        self._thread = threading.Thread(target=self._watch, name="workers")

    @property
    def pids(self) -> frozenset[int]:
        """Every process that was started so far, also those that have ended."""
        return frozenset(self._pids)

    def start(self) -> None:
        """Start them; returns at once."""
        self._thread.start()

    def ask_to_leave(self) -> None:
        """Ask them to save and leave; returns at once."""
        running = len(self._children)
        if running and not self._ending.is_set():
            log.info(
                "waiting for %d worker%s to leave: they save what they train; Ctrl-C again: at once",
                running,
                "s" if running > 1 else "",
            )
        self._ending.set()

    def stop(self) -> None:
        """The same; returns when they are gone."""
        self.ask_to_leave()
        self._thread.join()

    def _watch(self) -> None:
        self._start_due()
        while not self._ending.wait(WATCH_SECONDS):
            self._bury()
            self._start_due()
        self._end()

    def _bury(self) -> None:
        """See who has ended, and when another is to be started."""
        for slot, child in list(self._children.items()):
            if child.process.poll() is not None:
                del self._children[slot]
                self._has_ended(slot, child.how)

    def _has_ended(self, slot: int, how: str) -> None:
        seconds = self.fate.has_ended(slot, how)
        self._due[slot] = time.monotonic() + seconds
        log.error("worker %d ended, %s; the next one starts in %g s", slot, how, seconds)

    def _start_due(self) -> None:
        for slot, moment in list(self._due.items()):
            if time.monotonic() >= moment:
                del self._due[slot]
                self.fate.starts(slot)
                try:
                    self._children[slot] = self._start_one(slot)
                except OSError as error:
                    self._has_ended(slot, f"as it could not be started ({error})")

    def _end(self) -> None:
        for child in self._children.values():
            child.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        for slot, child in self._children.items():
            if not self._has_left(child, began + PATIENCE_SECONDS):
                log.info("worker %d still saves its run; it has %g s", slot, self._grace_seconds)
            if not self._has_left(child, began + self._grace_seconds):
                log.error(
                    "worker %d did not leave in time and is killed; its run is queued again when its lease ends",
                    slot,
                )
                child.process.kill()
                child.process.wait()
            child.words.wait()

    def _has_left(self, child: Child, deadline: float) -> bool:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _start_one(self, slot: int) -> Child:
        arguments = [
            "--slot",
            str(slot),
            "--slots",
            str(self.count),
            "--dealt",
            self._dealt.line(),
            "--parent-pid",
            str(os.getpid()),
        ]
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._pids.append(process.pid)
        assert process.stderr is not None
        return Child(process, LastWords(process.stderr))
