"""How a worker notices that there is something to do, at what price, and how it leaves."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection
from sqlalchemy import event

from app.doorbell import QUEUE
from app.services.lifecycle.workers import online
from app.settings import Settings
from app.storage.db import open_database
from tests.worker.conftest import Stage
from worker.celery import make_celery
from worker.identity import Identity, identify
from worker.inner_bell import WaitingTransport
from worker.poller import BROKER_POLL_SECONDS, EMBEDDED_POLL_SECONDS, QUIET_AFTER_SECONDS, Poller
from worker.probing import Fitness

MakeStage = Callable[..., Stage]

SOON = 10.0
"""Of a machine that is very busy."""


class Watched:
    """A poller beside a stage, whose rings go to the broker in memory."""

    def __init__(self, stage: Stage, celery: Celery) -> None:
        self.stage = stage
        self.connection: Connection = celery.connection()
        assert isinstance(self.connection.transport, WaitingTransport)
        self.channel = self.connection.default_channel
        self.channel.queue_declare(QUEUE)
        self.channel.queue_purge(QUEUE)
        self.fitness: Fitness | None = Fitness("cpu")
        self.is_stopping = self.is_working = False
        self.has_ended = threading.Event()
        self.identity: Identity = identify("cpu", 1, 0)

        @celery.task(name="lab.test", ignore_result=True)  # type: ignore[untyped-decorator]
        def work() -> None:
            """Never carried out."""

        self.poller = Poller(
            stage.settings,
            self.identity,
            lambda: self.fitness,
            lambda: None,
            work,
            lambda: self.is_stopping,
            lambda: self.is_working,
            self.has_ended.set,
        )

    @property
    def rings(self) -> int:
        return int(self.channel._size(QUEUE))

    def is_online(self) -> bool:
        with self.stage.database.reading() as session:
            return self.identity.id in [worker.id for worker in online(session)]


@pytest.fixture
def watched(make_stage: MakeStage) -> Iterator[Watched]:
    stage = make_stage(lease_seconds=30.0)
    celery = make_celery(stage.settings)
    yield Watched(stage, celery)
    celery.close()


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_a_poller_signs_on_rings_for_what_is_submitted_and_signs_off(watched: Watched) -> None:
    watched.poller.start()
    until(watched.is_online, "it signs on")
    assert watched.rings == 0
    watched.stage.submit()
    until(lambda: watched.rings, "it rings")
    watched.poller.stop()
    assert not watched.is_online()
    assert not watched.has_ended.is_set(), "nobody has asked the worker to stop"


def test_a_worker_asked_to_stop_leaves_at_once_and_waits_for_what_it_trains(
    watched: Watched,
) -> None:
    watched.is_working = True
    watched.poller.start()
    until(watched.is_online, "it signs on")
    watched.is_stopping = True
    watched.poller.hurry()
    until(lambda: not watched.is_online(), "it signs off")
    assert not watched.has_ended.wait(3 * EMBEDDED_POLL_SECONDS), "its run is being saved"
    watched.is_working = False
    assert watched.has_ended.wait(SOON)


@pytest.mark.sqlite
def test_tables_that_nobody_has_written_to_are_not_read_again(watched: Watched) -> None:
    poller, statements = watched.poller, []
    poller._database = open_database(watched.stage.settings)
    poller._look_every = 1e9
    event.listen(
        poller._database.engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_: statements.append(statement),
    )
    poller._look()
    poller._look()  # what the first has written itself
    seen = len(statements)
    for _ in range(20):
        poller._look()
    assert statements[seen:] == []
    watched.stage.submit()
    poller._look()
    assert len(statements) > seen
    assert watched.rings == 1
    poller._look()
    assert watched.rings == 2, "as long as it waits and the worker is idle"
    poller._database.close()


@pytest.mark.sqlite
def test_a_file_is_looked_at_as_often_after_a_quiet_hour(watched: Watched) -> None:
    watched.poller._database = watched.stage.database
    watched.poller._last_waiting -= 3600
    assert watched.poller._pause() == EMBEDDED_POLL_SECONDS


@pytest.mark.postgresql
def test_a_server_is_asked_less_often_after_a_quiet_minute(watched: Watched) -> None:
    watched.poller._database = watched.stage.database
    assert watched.poller._pause() == EMBEDDED_POLL_SECONDS
    watched.poller._last_waiting -= QUIET_AFTER_SECONDS + 1
    assert EMBEDDED_POLL_SECONDS < watched.poller._pause() <= 0.3


def test_on_redis_a_short_lease_is_watched_as_closely_after_a_quiet_minute(tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path, broker_url="redis://127.0.0.1:1", lease_seconds=2.0, _env_file=None
    )
    database = open_database(settings)
    poller = Poller(
        settings,
        identify("cpu", 1, 0),
        lambda: None,
        lambda: None,
        None,
        lambda: False,
        lambda: False,
        lambda: None,
    )
    poller._database = database
    poller._last_waiting -= QUIET_AFTER_SECONDS + 1
    assert poller._pause() == BROKER_POLL_SECONDS
    database.close()


def test_the_bell_in_memory_wakes_up_who_waits_and_lets_go_who_waited_in_vain() -> None:
    make_celery(Settings(broker_url="", _env_file=None))
    with Connection("memory://") as listener, Connection("memory://") as ringer:
        heard = []
        queue = listener.SimpleQueue("bell-test")
        queue.consumer.register_callback(lambda body, _: heard.append(body))
        queue.consumer.consume()
        with pytest.raises(TimeoutError):
            listener.drain_events(timeout=0.01)
        outgoing = ringer.SimpleQueue("bell-test")
        timer = threading.Timer(0.05, outgoing.put, ["ding"])
        timer.start()
        began = time.monotonic()
        while not heard and time.monotonic() < began + SOON:
            try:
                listener.drain_events(timeout=SOON)
            except TimeoutError:
                continue
        timer.join()
        assert heard == ["ding"]
        assert time.monotonic() - began < SOON / 2, "it was woken up"
