"""Worker processes beside the API: started, watched, started again, ended."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

from app.settings import Settings

RESTART_SECONDS = 1.0
WATCH_SECONDS = 0.2

log = logging.getLogger("lab.serve")


class Workers:
    """Worker processes, started again when they die. They run in sessions of their own, so that Ctrl-C reaches them
    through here only.

    One thread starts, watches and ends them: the kernel kills a worker when the thread that started it ends.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self._grace_seconds = settings.stop_grace_seconds + 10
        self._count = count
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
        self._ending.set()

    def stop(self) -> None:
        """The same; returns when they are gone."""
        self.ask_to_leave()
        self._thread.join()

    def _watch(self) -> None:
        processes = [self._start_one(slot) for slot in range(self._count)]
        while not self._ending.wait(WATCH_SECONDS):
            for slot, process in enumerate(processes):
                status = process.poll()
                if status is not None:
                    log.error("worker %d ended with status %d; starting another", slot, status)
                    self._ending.wait(RESTART_SECONDS)
                    processes[slot] = self._start_one(slot)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace_seconds
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error(
                    "worker %d did not leave in time and is killed; its run is queued again when its lease ends",
                    process.pid,
                )
                process.kill()
                process.wait()

    def _start_one(self, slot: int) -> "subprocess.Popen[bytes]":
        arguments = [
            "--slot",
            str(slot),
            "--slots",
            str(self._count),
            "--parent-pid",
            str(os.getpid()),
        ]
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pids.append(process.pid)
        return process
