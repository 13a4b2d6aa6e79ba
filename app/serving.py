"""Starting processes: the API in this one, workers beside it."""

import asyncio
import ctypes
import errno
import gc
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from app.api.http.connection_bounds import DESCRIPTORS_OF_A_CONNECTION, RESERVED_DESCRIPTORS
from app.api.http.gate import is_loopback
from app.api.http.server import BACKLOG, Server
from app.home import keep_to_oneself, others_may_look
from app.logging import set_up_logging
from app.main import create_app
from app.services.owners import keys
from app.settings import Settings
from app.storage.db import open_database

RESTART_SECONDS = 1.0
M_ARENA_MAX, MOST_ARENAS = -8, 2
WATCH_SECONDS = 0.2
EXIT_FAILED, EXIT_NOT_LISTENING, EXIT_INTERRUPTED = 1, 3, 130

log = logging.getLogger("lab.serve")


class CannotListen(Exception):
    """Nothing can be served at this address."""


def serve_everything(settings: Settings, host: str, port: int, num_workers: int) -> int:
    """API and workers until Ctrl-C or SIGTERM; then the running epochs' progress is saved and the runs are queued
    again.
    """
    _set_up(settings)
    ending = Ending()
    try:
        with listening(
            host, port
        ) as sockets:  # before anything is started or migrated: the address may be taken
            needs_keys = check_door(settings, host)
            workers = Workers(settings, num_workers)
            workers.start()
            try:
                return _serve(settings, host, sockets, needs_keys, ending, workers)
            finally:
                workers.stop()
    except CannotListen as error:
        log.error("%s", error)
        return EXIT_NOT_LISTENING


def serve_api(settings: Settings, host: str, port: int) -> int:
    """The API until Ctrl-C or SIGTERM."""
    _set_up(settings)
    ending = Ending()
    try:
        with listening(host, port) as sockets:
            return _serve(settings, host, sockets, check_door(settings, host), ending)
    except CannotListen as error:
        log.error("%s", error)
        return EXIT_NOT_LISTENING


def leave(status: int) -> int:
    """End the process at once: no thread that is busy for a request which was cut off is waited for."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _serve(
    settings: Settings,
    host: str,
    sockets: list[socket.socket],
    needs_keys: bool,
    ending: "Ending",
    workers: "Workers | None" = None,
) -> int:
    if needs_keys:
        log.info("requests need a key: `lab keys create` makes one")
    elif not is_loopback(host):
        log.warning(
            "listening on %s without keys: everybody who reaches this machine can start and cancel experiments",
            host,
        )
    keep_memory_together()
    app = create_app(settings, host)
    app.state.connections.fit(
        raise_descriptor_limit(
            RESERVED_DESCRIPTORS + DESCRIPTORS_OF_A_CONNECTION * settings.max_connections
        )
    )
    server = Server(
        app,
        app.state.connections,
        list(settings.proxies),
        *([] if workers is None else [workers.ask_to_leave]),
    )
    ending.tell(server)
    log.info(
        "serving at %s; Ctrl-C stops it", ", ".join(f"http://{_named(one)}" for one in sockets)
    )
    gc.collect()
    # what is loaded by now stays: to look through it again would hold up every answer for a tenth of a second, now and
    # then
    gc.freeze()
    asyncio.new_event_loop().run_until_complete(
        server.serve(sockets)
    )  # not `asyncio.run`, which waits for threads
    if workers is not None:
        log.info("stopping: the workers save their runs; Ctrl-C again ends them at once")
    return 0 if server.started else EXIT_FAILED


def keep_memory_together() -> None:
    """Let all threads share two of glibc's arenas: with eight for each core, what one thread frees is of no use to the
    others, and the API grows by a fifth.

    https://man7.org/linux/man-pages/man3/mallopt.3.html; other C libraries have no such thing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MOST_ARENAS)


def _set_up(settings: Settings) -> None:
    """What every process of the service does first."""
    set_up_logging(settings.log_level, settings.log_format)
    keep_to_oneself(settings.home)
    if others_may_look(settings.home):
        log.warning(
            "other users of this machine may read what is in %s (LAB_HOME): `chmod 700 %s` keeps them out",
            settings.home,
            settings.home,
        )


class Ending:
    """SIGINT and SIGTERM: the first asks for an end in good order, a Ctrl-C after it ends the process at once, and with
    it what it has started.
    """

    def __init__(self) -> None:
        self.is_asked_for = False
        self._server: Server | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._heard)

    def tell(self, server: Server) -> None:
        """Let the server know when it is asked for, or at once if it was already."""
        self._server = server
        server.should_exit = server.should_exit or self.is_asked_for

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self.is_asked_for and number == signal.SIGINT:
            os._exit(EXIT_INTERRUPTED)
        self.is_asked_for = True
        if self._server is not None:
            self._server.should_exit = True


@contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets that listen at every address of this name. Raises CannotListen."""
    sockets: list[socket.socket] = []
    try:
        try:
            found = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                sockets.append(_listening_at(family, kind, protocol, address))
        except OSError as error:
            hint = (
                "; another service runs there: stop it, or take another port with --port"
                if error.errno == errno.EADDRINUSE
                else ""
            )
            raise CannotListen(
                f"cannot listen on {host}:{port}: {error.strerror or error}{hint}"
            ) from error
        yield sockets
    finally:
        for one in sockets:
            one.close()


def _listening_at(
    family: int, kind: int, protocol: int, address: tuple[object, ...]
) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _named(one: socket.socket) -> str:
    address, port = one.getsockname()[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def raise_descriptor_limit(wanted: int) -> int:
    """Let this process open so many files and connections, or as many as the system lets it; returns how many that
    are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def check_door(settings: Settings, host: str) -> bool:
    """Bring the database up to date; returns whether requests need a key. Raises Misconfigured where everybody could
    come in, or nobody.
    """
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
    _set_up(settings)
    ending = Ending()
    open_database(settings).close()
    workers = Workers(settings, num_workers)
    workers.start()
    while not ending.is_asked_for:
        time.sleep(WATCH_SECONDS)
    workers.stop()
    return 0


class Workers:
    """Worker processes, started again when they die. They run in sessions of their own, so that Ctrl-C reaches them
    through here only.

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
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
