"""Starting processes: the API in this one, workers beside it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import uvicorn

from app.api.gate import is_loopback
from app.db import open_database
from app.logging import set_up_logging
from app.main import create_app
from app.services import keys
from app.settings import Settings

RESTART_SECONDS = 1.0
WATCH_SECONDS = 0.2

log = logging.getLogger("lab.serve")


def serve_everything(settings: Settings, host: str, port: int, num_workers: int) -> int:
    """API and workers until Ctrl-C or SIGTERM; then the running epochs' progress is saved and the runs are queued again."""
    set_up_logging(settings.log_level, settings.log_format)
    check_door(settings, host)
    workers = Workers(settings, num_workers)
    workers.start()
    try:
        return serve_api(settings, host, port)
    finally:
        workers.stop()


def serve_api(settings: Settings, host: str, port: int) -> int:
    """The API until Ctrl-C or SIGTERM."""
    set_up_logging(settings.log_level, settings.log_format)
    if check_door(settings, host):
        log.info("requests need a key: `lab keys create` makes one")
    elif not is_loopback(host):
        log.warning("listening on %s without keys: everybody who reaches this machine can start and cancel experiments", host)
    # uvicorn raises the signal that stopped it once more after its shutdown; workers must still be stopped then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server = uvicorn.Server(uvicorn.Config(create_app(settings, host), host=host, port=port, log_config=None, access_log=False))
    server.run()
    return 0 if server.started else 1


def check_door(settings: Settings, host: str) -> bool:
    """Bring the database up to date; returns whether requests need a key. Raises Misconfigured where everybody could come in, or nobody."""
    database = open_database(settings)
    try:
        with database.reading() as session:
            if not is_loopback(host):
                keys.refuse_open_door(session, settings, host)
            return keys.are_asked_for(session, settings)
    finally:
        database.close()


def run_workers(settings: Settings, num_workers: int) -> int:
    """Workers until Ctrl-C or SIGTERM."""
    set_up_logging(settings.log_level, settings.log_format)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    open_database(settings).close()
    workers = Workers(settings, num_workers)
    workers.start()
    while not ended.wait(0.5):
        pass
    workers.stop()
    return 0


class Workers:
    """Worker processes, started again when they die. They run in sessions of their own, so that Ctrl-C reaches them through here only.

    One thread starts, watches and ends them: the kernel kills a worker when the thread that started it ends.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self._grace_seconds = settings.stop_grace_seconds + 10
        self._count = count
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="workers")

    def start(self) -> None:
        """Start them; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask them to save and leave; returns when they are gone."""
        self._ending.set()
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
                log.error("worker %d did not leave in time and is killed; its run is queued again when its lease ends", process.pid)
                process.kill()
                process.wait()

    def _start_one(self, slot: int) -> "subprocess.Popen[bytes]":
        arguments = ["--slot", str(slot), "--slots", str(self._count), "--parent-pid", str(os.getpid())]
        return subprocess.Popen([sys.executable, "-m", "worker", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
