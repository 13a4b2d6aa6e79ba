"""A broker that loses, doubles and forges messages, drops connections, or lets them die without a word: each run is
done once all the same.
"""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from redis import Redis as Client

from app.doorbell import CELERY_SETTINGS, QUEUE, REDIS_TRANSPORT, TASK
from tests.e2e.service import Redis, Service, free_port, wait_until
from tests.e2e.test_faults import QUICK, require_same_run
from tests.e2e.test_process_faults import LIGHT

pytestmark = [pytest.mark.redis, pytest.mark.slow]

MakeService = Callable[..., Service]
QUEUE_KEY = REDIS_TRANSPORT["global_keyprefix"] + QUEUE
NOTICED_SECONDS = 90.0
"""A connection that died without a word is dropped within twice the transport's health check; the rest is for a busy
machine.
"""


def _forged(**changes: Any) -> bytes:
    return json.dumps({**_message("W10=", "application/json"), **changes}).encode()


def _message(body: str, content_type: str) -> dict[str, Any]:
    """A task message as Celery's protocol 2 writes it, with a body of the sender's choice."""
    delivery = {"exchange": "", "routing_key": QUEUE}
    properties = {
        "correlation_id": "1",
        "delivery_mode": 2,
        "delivery_info": delivery,
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": "1",
    }
    headers = {
        "lang": "py",
        "task": TASK,
        "id": "1",
        "root_id": "1",
        "parent_id": None,
        "group": None,
    }
    return {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": content_type,
        "headers": headers,
        "properties": properties,
    }


JUNK = [
    b"not json",
    b"[]",
    b"3",
    b"\xff\xfe\x00",
    b"",
    b"[" * 100_000,
    b"{}",
    b'{"properties": []}',
    b'{"properties": {}}',
    b'{"__type__": "nothing", "__value__": 1}',
    b'{"__type__": "uuid", "__value__": {"hex": "zz"}}',
    _forged(body="not base64"),
    _forged(body=5),
    _forged(headers=None),
    _forged(headers=[]),
    _forged(headers={}),
    _forged(headers={"task": TASK}),
    _forged(headers={"task": []}),
    _forged(headers={"task": TASK, "id": {}, "eta": 5, "expires": []}),
    _forged(
        properties={"delivery_tag": {}, "delivery_info": {"exchange": "", "routing_key": QUEUE}}
    ),
    _forged(properties={"delivery_tag": "1", "delivery_info": None}),
    _forged(
        properties={
            "delivery_tag": "1",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "body_encoding": "rot13",
        }
    ),
]
"""What no message is, or only the form of one."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def client(broker: Redis) -> Iterator[Client]:
    with Client(port=broker.port, decode_responses=False) as connection:
        yield connection


@pytest.fixture(scope="module")
def service(broker: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An API and two workers on Redis."""
    running = Service(tmp_path_factory.mktemp("home"), broker_url=broker.url)
    try:
        running.api()
        running.start("worker", "--workers", "2")
        running.wait_for_workers(2)
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def bell(broker: Redis) -> Iterator[Celery]:
    """Anybody who can reach the broker."""
    celery = Celery("stranger", broker=broker.url, set_as_current=False)
    celery.conf.update(**CELERY_SETTINGS, broker_transport_options=REDIS_TRANSPORT)
    yield celery
    celery.close()


def require_once(service: Service, experiment: Any) -> None:
    """Every run has succeeded in its first and only attempt."""
    service.wait_for(experiment, "succeeded", 90)
    for number in range(len(experiment["runs"])):
        run = service.run(experiment, number)
        assert (run["attempt"], [attempt["outcome"] for attempt in run["attempts"]]) == (
            1,
            ["completed"],
        )


def test_connections_cut_again_and_again_execute_nothing_twice(
    service: Service, client: Client
) -> None:
    undisturbed = service.submit(LIGHT)
    disturbed = service.submit(LIGHT)
    waiting = service.submit(QUICK)
    cuts = 0
    while not service.record(disturbed)["is_terminal"]:
        cuts += client.client_kill_filter(_type="normal", skipme=True)
        threading.Event().wait(0.5)
    assert cuts > 5
    for experiment in (undisturbed, disturbed, waiting):
        require_once(service, experiment)
    require_same_run(service, disturbed, undisturbed)


def test_a_broker_that_forgets_everything_loses_no_run(service: Service, client: Client) -> None:
    running = service.submit({**LIGHT, "seeds": 2})
    service.wait_for_epoch(running, 1)
    waiting = [service.submit(QUICK) for _ in range(4)]
    client.flushall()
    for experiment in (running, *waiting):
        require_once(service, experiment)


def test_fifty_doubled_doorbells_execute_each_run_once(service: Service, bell: Celery) -> None:
    experiment = service.submit({**QUICK, "epochs": 10, "seeds": 6})
    for _ in range(50):
        bell.send_task(TASK, queue=QUEUE)
    require_once(service, experiment)


def test_forged_doorbells_are_ignored_and_stop_no_worker(
    service: Service, bell: Celery, client: Client
) -> None:
    workers = service.worker_pids()
    running = service.submit({**LIGHT, "seeds": 2})
    service.wait_for_epoch(running, 1)
    bell.send_task("os.system", args=["touch /tmp/owned"], queue=QUEUE)
    bell.send_task(
        TASK, args=["run_unknown", {"status": "succeeded"}], kwargs={"force": True}, queue=QUEUE
    )
    for body in ("bm90IGpzb24=", "gASVIQAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAZ0b3VjaCB4lIWUUpQu"):
        for content_type in ("application/json", "application/x-python-serialize"):
            client.lpush(QUEUE_KEY, json.dumps(_message(body, content_type)))
    after = service.submit(QUICK)
    for experiment in (running, after):
        require_once(service, experiment)
    wait_until(lambda: client.llen(QUEUE_KEY) == 0, 30, "every message is taken")
    assert service.worker_pids() == workers, "a worker was taken down by a message"


def test_what_is_no_message_at_all_costs_no_run(service: Service, client: Client) -> None:
    """Neither Celery nor kombu reads it, and no worker ends by it; nor does a flood of it keep one from working."""
    workers = service.worker_pids()
    running = service.submit({**QUICK, "epochs": 5})
    client.lpush(QUEUE_KEY, *JUNK)
    require_once(service, running)
    wait_until(lambda: client.llen(QUEUE_KEY) == 0, 90, "it is taken")
    enough = threading.Event()

    def flood() -> None:
        with Client(port=client.connection_pool.connection_kwargs["port"]) as stranger:
            while not enough.wait(0.02):
                if stranger.llen(QUEUE_KEY) < 1000:
                    stranger.lpush(QUEUE_KEY, *JUNK)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        require_once(service, service.submit({**QUICK, "seeds": 2}))
    finally:
        enough.set()
        thread.join()
    wait_until(lambda: client.llen(QUEUE_KEY) == 0, 90, "it is taken")
    assert service.worker_pids() == workers, "a worker was taken down by what is no message"


def test_a_run_cancelled_with_its_doorbell_in_flight_never_starts(
    service: Service, client: Client
) -> None:
    workers = service.worker_pids()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(
            lambda: client.info("clients")["blocked_clients"] == 0,
            20,
            "no stopped worker still waits for a message, which Redis would hand to it",
        )
        experiment = service.submit({**QUICK, "seeds": 2})
        wait_until(lambda: client.llen(QUEUE_KEY) > 0, 20, "the doorbell is in the broker")
        assert service.post(f"/experiments/{experiment['id']}/cancel")["status"] == "cancelled"
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    service.wait_for(service.submit(QUICK), "succeeded")
    wait_until(lambda: client.llen(QUEUE_KEY) == 0, 30, "the old doorbell is answered")
    assert [run["attempt"] for run in service.record(experiment)["runs"]] == [0, 0]


class Proxy:
    """A TCP proxy that can stop forwarding without closing anything: the other side sees a connection that is open and
    silent.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._live: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._is_up.wait(10)

    def blackhole(self) -> int:
        """From now on nothing passes on the connections that there are; new ones work. Returns how many there were."""

        async def stop() -> int:
            count = len(self._live)
            for pump in self._live:
                pump.cancel()
            await asyncio.gather(*self._live, return_exceptions=True)
            self._live.clear()
            return count // 2

        return asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self._is_up.set()
        await self._ended.wait()
        server.close()
        for pump in self._live:
            pump.cancel()
        await asyncio.gather(*self._live, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for writer in self._writers), return_exceptions=True
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._live.add(asyncio.create_task(self._pump(source, sink)))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        sink.close()


def test_connections_that_die_without_a_word_are_noticed_and_the_worker_listens_again(
    make_service: MakeService, broker: Redis, tmp_path: Path
) -> None:
    proxy = Proxy(broker.port)
    service = make_service(broker_url=f"redis://127.0.0.1:{proxy.port}/1")
    try:
        service.api()
        service.start("worker", "--workers", "1")
        service.wait_for_workers(1)
        require_once(service, service.submit(QUICK))
        assert proxy.blackhole() >= 2
        experiment = service.submit(QUICK)
        service.wait_for(experiment, "succeeded", NOTICED_SECONDS)
        require_once(service, experiment)
    finally:
        service.stop()
        proxy.close()
