"""What `lab serve`, `lab api` and `lab worker` start: the API in this process, workers beside it, or either alone."""

import asyncio
import ctypes
import gc
import logging
import math
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from fastapi import FastAPI
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from app.api.http.connection_bounds import DESCRIPTORS_OF_A_CONNECTION, RESERVED_DESCRIPTORS
from app.api.http.hosts import is_loopback
from app.api.http.server import Server
from app.devices import Dealt, deal
from app.home import keep_to_oneself, others_may_look
from app.logging import set_up_logging
from app.main import create_app
from app.services.owners import keys
from app.services.upkeep import installation
from app.services.upkeep.holdings import holdings_of
from app.services.webhooks import webhooks
from app.serving.banner import Banner
from app.serving.companion import Companion
from app.serving.ending import EXIT_FAILED, Ending
from app.serving.shift import Shift
from app.serving.sockets import listening, raise_descriptor_limit
from app.serving.trackers import refuse_unknown, tracker_companions
from app.serving.workers import WATCH_SECONDS, Workers
from app.settings import Settings
from app.storage.db import Database, open_database
from app.storage.files.places import file_store

M_ARENA_MAX, MOST_ARENAS = -8, 2

log = logging.getLogger("lab.serve")


class AnnouncedServer(Server):
    """Says that it listens, once it does."""

    announce: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            self.announce()


def serve_everything(
    settings: Settings, host: str, port: int, num_workers: int | None = None
) -> int:
    """API and as many workers as asked for, or as the machine is good for, until Ctrl-C or SIGTERM; then the running
    epochs' progress is saved and the runs are queued again. Raises CannotListen.
    """
    # before anything is made, started or migrated: the address may be taken
    with listening(host, port) as sockets:
        _set_up(settings)
        ending = Ending()
        dealt = _dealt(settings)
        num_workers = num_workers or dealt.slots
        banner = look_in(settings, host, sockets, dealt.of_slots(num_workers))
        workers = Workers(settings, num_workers, dealt)
        workers.start()
        try:
            return _serve(settings, host, banner, ending, workers)
        finally:
            workers.stop()


def serve_api(settings: Settings, host: str, port: int) -> int:
    """The API until Ctrl-C or SIGTERM. Raises CannotListen."""
    with listening(host, port) as sockets:
        _set_up(settings)
        ending = Ending()
        return _serve(settings, host, look_in(settings, host, sockets, []), ending)


def _serve(
    settings: Settings, host: str, banner: Banner, ending: Ending, workers: Workers | None = None
) -> int:
    if not banner.needs_keys and not is_loopback(host):
        log.warning(
            "listening on %s without keys: everybody who reaches this machine can start and cancel experiments",
            host,
        )
    keep_memory_together()
    app = create_app(settings, host, None if workers is None else workers.fate)
    app.state.connections.fit(
        raise_descriptor_limit(
            RESERVED_DESCRIPTORS + DESCRIPTORS_OF_A_CONNECTION * settings.max_connections
        )
    )
    server = AnnouncedServer(
        app,
        app.state.connections,
        list(settings.proxies),
        *([] if workers is None else [workers.ask_to_leave]),
    )
    server.announce = lambda: banner.announce(settings.log_format)
    sender = Companion("app.sender", lambda: _is_anybody_to_tell(app, settings))
    ending.tell(server)
    gc.collect()
    # what is loaded by now stays: to look through it again would hold up every answer for a tenth of a second, now and
    # then
    gc.freeze()
    # not `asyncio.run`, which waits for threads
    sender.start()
    try:
        with tracker_companions(settings, banner.url):
            asyncio.new_event_loop().run_until_complete(server.serve(list(banner.sockets)))
    finally:
        sender.stop()
    return 0 if server.started else EXIT_FAILED


def _is_anybody_to_tell(app: FastAPI, settings: Settings) -> bool:
    """Whether there are webhooks; not known before the database is open, or while it does not answer."""
    database: Database | None = getattr(app.state, "database", None)
    if database is None or settings.max_webhooks_per_owner == 0:
        return False
    try:
        with database.looking() as session:
            return webhooks.are_any_to_tell(session)
    except SQLAlchemyError:
        return False


def _dealt(settings: Settings) -> Dealt:
    """The devices of the workers, the driver asked once for all. Raises Misconfigured."""
    dealt = deal(settings.devices)
    if dealt.caution:
        log.warning("%s", dealt.caution)
    return dealt


def keep_memory_together() -> None:
    """Let all threads share two of glibc's arenas: with eight for each core, what one thread frees is of no use to the
    others, and the API grows by a fifth.

    https://man7.org/linux/man-pages/man3/mallopt.3.html; other C libraries have no such thing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, MOST_ARENAS)


def _set_up(settings: Settings) -> None:
    """What every process of the service does first. Raises Misconfigured where files could be put nowhere, and for a
    tracker that nobody knows.
    """
    set_up_logging(settings.log_level, settings.log_format)
    refuse_unknown(settings)
    keep_to_oneself(settings.home)
    file_store(settings)
    if others_may_look(settings.home):
        log.warning(
            "other users of this machine may read what is in %s (LAB_HOME): `chmod 700 %s` keeps them out",
            settings.home,
            settings.home,
        )


def look_in(
    settings: Settings, host: str, sockets: list[socket.socket], devices: list[str]
) -> Banner:
    """Bring the database up to date, and see what is in it. Raises Misconfigured where everybody could come in, or
    nobody, and where the files of its runs lie in another home.
    """
    database = open_database(settings)
    try:
        with database.writing() as session:
            installation.note(session, settings)
        with database.reading() as session:
            if not is_loopback(host):
                keys.refuse_open_door(session, settings, host)
            return Banner(
                sockets,
                settings.home.absolute(),
                holdings_of(session),
                devices,
                keys.are_asked_for(session, settings),
            )
    finally:
        database.close()


def check_sharing(settings: Settings) -> None:
    """Bring the database up to date, and say what workers share with the API. Raises Misconfigured where they do
    not.
    """
    database = open_database(settings)
    try:
        with database.reading() as session:
            installation.compare(session, settings)
    finally:
        database.close()
    log.info(
        "workers for the database %s, broker %s, files in %s",
        settings.database_name,
        "embedded" if settings.embedded else make_url(settings.broker_url).render_as_string(),
        settings.store or settings.home.absolute(),
    )


def run_workers(
    settings: Settings,
    num_workers: int | None = None,
    *,
    until_empty: bool = False,
    max_seconds: float = math.inf,
) -> int:
    """Workers until Ctrl-C, SIGTERM or SIGUSR1, which batch systems send some time before a job's end; or until there
    is nothing that they could do; or for so long.
    """
    began = time.monotonic()
    _set_up(settings)
    ending = Ending(signal.SIGUSR1)
    dealt = _dealt(settings)
    num_workers = num_workers or dealt.slots
    check_sharing(settings)
    log.info(
        "%d worker%s on %s; Ctrl-C stops them",
        num_workers,
        "s" if num_workers > 1 else "",
        ", ".join(dict.fromkeys(dealt.of_slots(num_workers))),
    )
    workers = Workers(settings, num_workers, dealt)
    with Shift(settings, workers, began, until_empty, max_seconds) as shift:
        workers.start()
        while not (ending.is_asked_for or shift.is_over):
            time.sleep(WATCH_SECONDS)
        workers.stop()
        return EXIT_FAILED if shift.has_failed else 0
