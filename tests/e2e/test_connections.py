"""Slow, silent and greedy clients, and a stop while they are there: real sockets to a real `lab api`, whose limits are
small.
"""

import json
import re
import resource
import signal
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.services import lifecycle
from app.settings import Settings
from app.storage.db import open_database
from tests.e2e.service import Service, wait_until
from worker.identity import identify

MOST, MOST_PER_ADDRESS = 20, 8
MOST_HELD_PER_ADDRESS = 500_000
DEADLINE = 0.5
PATIENCE = 10.0
HOST = b"Host: localhost\r\n"
BUSY = 15.0
"""Seconds that a busy machine may take for what takes milliseconds."""
STOP_SECONDS = 3.0
"""One, and what a busy machine adds."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with small bounds, which every test leaves without a connection."""
    service = Service(
        tmp_path_factory.mktemp("home"),
        max_connections=MOST,
        max_connections_per_address=MOST_PER_ADDRESS,
        header_seconds=DEADLINE,
        body_seconds=DEADLINE,
        send_seconds=DEADLINE,
        max_held_bytes=2 * MOST_HELD_PER_ADDRESS,
        max_image_bytes=MOST_HELD_PER_ADDRESS,
        max_body_bytes=MOST_HELD_PER_ADDRESS,
        access_log="all",
    )
    service.api()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for keys, believes a proxy, and whose home others may enter."""
    home = tmp_path_factory.mktemp("wide")
    home.chmod(0o755)
    service = Service(
        home, api_keys="on", max_requests_per_minute=30, trusted_proxies="10.0.0.0/8, 127.0.0.9"
    )
    service.api()
    yield service
    service.stop()


@contextmanager
def connection(
    service: Service,
    sent: bytes = b"",
    source: str = "127.0.0.1",
    receive_buffer: int | None = None,
) -> Iterator[socket.socket]:
    """A connection on which this has been sent."""
    with socket.socket() as one:
        if receive_buffer is not None:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(BUSY)
        one.bind((source, 0))
        one.connect(("127.0.0.1", service.port))
        one.sendall(sent)
        yield one


def read_to_end(one: socket.socket) -> bytes:
    """Everything until the service closes the connection."""
    received = b""
    try:
        while chunk := one.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def problem_of(answer: bytes, status: int, code: str) -> dict[str, Any]:
    """The problem in an answer as it came over the wire."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    document: dict[str, Any] = json.loads(body)
    assert (document["status"], document["code"]) == (status, code)
    return document


def counts(service: Service, name: str) -> dict[str, float]:
    """A metric by its only label's value."""
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=BUSY) as http:
        text = http.get("/metrics").text
    samples = next(
        family.samples for family in text_string_to_metric_families(text) if family.name == name
    )
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for sample in samples
        if not sample.name.endswith("_created")
    }


def wait_until_nobody_is_connected(service: Service) -> None:
    service.http.close()
    service.http = httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=BUSY)
    wait_until(
        lambda: counts(service, "lab_http_connections") == {"": 1},
        PATIENCE,
        "all connections but the one that asks are closed",
    )


def test_silent_connections_of_one_address_take_no_place_from_others_and_are_closed_soon(
    api: Service,
) -> None:
    wait_until_nobody_is_connected(api)
    slow, refused = (
        counts(api, "lab_http_too_slow")["headers"],
        counts(api, "lab_http_connections_refused")["address"],
    )
    with ExitStack() as stack:
        silent = [stack.enter_context(connection(api)) for _ in range(50)]
        with connection(
            api,
            b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n",
            source="127.0.0.2",
        ) as other:
            assert read_to_end(other).startswith(b"HTTP/1.1 200 ")
        answers = [read_to_end(one) for one in silent]
    told = [problem_of(answer, 503, "busy") for answer in answers if answer]
    # a few of the first may have been closed before the last came
    assert len(told) >= 50 - MOST_PER_ADDRESS
    assert "(LAB_MAX_CONNECTIONS_PER_ADDRESS)" in told[0]["detail"]
    assert b"Retry-After: " in next(filter(None, answers))
    assert api.http.get("/healthz").status_code == 200
    assert counts(api, "lab_http_connections_refused")["address"] - refused == len(told)
    assert counts(api, "lab_http_too_slow")["headers"] - slow == 50 - len(told)
    assert api.log.read_text().count("too many connections from 127.0.0.1") == 1


def test_so_many_connections_in_all_and_no_more(api: Service) -> None:
    wait_until_nobody_is_connected(api)
    with ExitStack() as stack:
        for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            opened = [
                stack.enter_context(connection(api, source=source)) for _ in range(MOST_PER_ADDRESS)
            ]
        assert "(LAB_MAX_CONNECTIONS)" in problem_of(read_to_end(opened[-1]), 503, "busy")["detail"]
    wait_until_nobody_is_connected(api)
    assert counts(api, "lab_http_connections_refused")["all"] >= 3


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"])
def test_headers_that_do_not_end_are_408_also_in_the_second_request(
    api: Service, before: bytes
) -> None:
    began = time.monotonic()
    with connection(api, before) as one:
        if before:
            answered = b""
            while not answered.endswith(b'{"status":"ok"}'):  # head and body may come apart
                answered += one.recv(65536)
            assert answered.startswith(b"HTTP/1.1 200 ")
        one.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-a: ")
        for _ in range(3):
            time.sleep(DEADLINE / 4)
            one.sendall(b"b")  # a byte now and then gains nothing
        problem_of(read_to_end(one), 408, "headers_too_slow")
        assert DEADLINE <= time.monotonic() - began < PATIENCE


def test_a_body_that_does_not_come_is_408(api: Service) -> None:
    slow = counts(api, "lab_http_too_slow")["body"]
    with connection(
        api, b"POST /experiments HTTP/1.1\r\nContent-Length: 1000\r\n" + HOST + b"\r\n{"
    ) as one:
        assert "after 0.5 s" in problem_of(read_to_end(one), 408, "body_too_slow")["detail"]
    assert counts(api, "lab_http_too_slow")["body"] == slow + 1
    assert api.get("/experiments")["data"] == []


def test_a_body_that_is_never_asked_for_holds_nothing_up(api: Service) -> None:
    """A GET whose body is announced and does not come waits no longer for a change of status, and is answered."""
    experiment = api.submit({"dataset": "digits"})
    line = f"GET /experiments/{experiment['id']}?wait=60 HTTP/1.1"
    head = f"{line}\r\nConnection: close\r\nContent-Length: 5\r\n".encode()
    with connection(api, head + HOST + b"\r\n") as one:
        assert read_to_end(one).startswith(b"HTTP/1.1 200 ")
    api.post(f"/experiments/{experiment['id']}/cancel")
    api.http.delete(f"/experiments/{experiment['id']}")


def test_an_upload_may_take_longer_than_other_bodies(api: Service) -> None:
    with connection(
        api, b"PUT /datasets/slow HTTP/1.1\r\nContent-Length: 1000\r\n" + HOST + b"\r\nPK"
    ) as one:
        one.settimeout(3 * DEADLINE)
        with pytest.raises(TimeoutError):
            one.recv(1)


def test_a_client_that_reads_nothing_is_cut_off(api: Service) -> None:
    slow = counts(api, "lab_http_too_slow")["answer"]
    with connection(api, receive_buffer=4096) as one:
        one.sendall((b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 200)
        wait_until(
            lambda: counts(api, "lab_http_too_slow")["answer"] == slow + 1,
            PATIENCE,
            "its connection is closed",
        )
    assert re.search(r"GET /openapi.json 499 ", api.log.read_text())


def test_who_reads_nothing_of_a_log_is_dropped_and_takes_no_memory_and_nothing_from_others(
    api: Service,
) -> None:
    """L4, with half a second for the 30 that people have."""
    wait_until_nobody_is_connected(api)
    experiment = api.submit({"dataset": "digits"})
    run_id = experiment["runs"][0]["id"]
    database = open_database(Settings(home=api.home, _env_file=None))
    with database.writing() as session:
        lease = lifecycle.claim(session, identify("cpu", threads=1, slot=0).id)
        assert lease is not None
    with database.writing() as session:
        lifecycle.succeed(session, lease, best={"epoch": 1, "val": {}}, test={"accuracy": 0.5})
    database.close()
    path = api.home / "runs" / run_id / "attempt-1" / "log.txt"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{number:7} {'x' * 991}\n" for number in range(8000)))
    address = f"/runs/{run_id}/log/events?after=0:0"
    slow = counts(api, "lab_http_too_slow")["answer"]
    follow = f"GET {address} HTTP/1.1\r\n".encode() + HOST + b"\r\n"
    [process] = api.processes

    def told() -> int:
        with api.http.stream("GET", address) as answer:
            return sum(line.count('xxx"') for line in answer.iter_lines())

    assert told() == 8000
    before = memory_of(process.pid)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connection(api, follow, source="127.0.0.2", receive_buffer=4096))
        assert told() == 8000
        wait_until(
            lambda: counts(api, "lab_http_too_slow")["answer"] == slow + 5,
            PATIENCE,
            "they are dropped",
        )
        assert memory_of(process.pid) - before < 10e6, "of 40 MB that they did not read"
    api.http.delete(f"/experiments/{experiment['id']}").raise_for_status()


def memory_of(pid: int) -> int:
    """Bytes of the process that lie in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_bodies_of_one_address_take_no_more_memory_than_there_is_room_for_and_no_other_address_s(
    api: Service,
) -> None:
    wait_until_nobody_is_connected(api)
    refused = counts(api, "lab_http_held_refused")[""]
    part = MOST_HELD_PER_ADDRESS // 5 * 2
    begun = (
        b"POST /experiments HTTP/1.1\r\nContent-Length: %d\r\n" % (2 * part)
        + HOST
        + b"\r\n"
        + b" " * part
    )
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connection(api, begun))
        wait_until(
            lambda: counts(api, "lab_http_held_bytes")[""] == 2 * part,
            PATIENCE,
            "two bodies are held",
        )
        with connection(api, begun) as third:
            answer = read_to_end(third)
            assert "(LAB_MAX_HELD_BYTES)" in problem_of(answer, 503, "busy")["detail"]
            assert b"retry-after: " in answer.lower()
        assert counts(api, "lab_http_held_refused")[""] > refused
        with connection(api, begun, source="127.0.0.2") as other:
            other.sendall(b" " * (part - 2) + b"{}")
            assert other.recv(100).startswith(b"HTTP/1.1 201 ")
    wait_until(
        lambda: counts(api, "lab_http_held_bytes")[""] == 0,
        PATIENCE,
        "nothing is held for those who have left",
    )


def test_answers_that_one_address_does_not_read_take_no_more_memory_than_there_is_room_for(
    api: Service,
) -> None:
    wait_until_nobody_is_connected(api)
    refused = counts(api, "lab_http_held_refused")[""]
    with ExitStack() as stack:
        # of different sizes, so that different parts of an answer are left over
        for number in range(MOST_PER_ADDRESS):
            stack.enter_context(
                connection(
                    api,
                    (b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 50,
                    "127.0.0.2",
                    receive_buffer=20_000 * (1 + number),
                )
            )
        wait_until(
            lambda: counts(api, "lab_http_held_refused")[""] > refused,
            PATIENCE,
            "connections are closed",
        )
        assert counts(api, "lab_http_held_bytes")[""] <= MOST_HELD_PER_ADDRESS
    wait_until(
        lambda: counts(api, "lab_http_held_bytes")[""] == 0,
        PATIENCE,
        "nothing is held for those who have left",
    )


def test_a_client_that_leaves_is_499_and_no_fault(api: Service) -> None:
    experiment = api.submit({"dataset": "digits"})
    address = f"/experiments/{experiment['id']}"
    with connection(
        api, b"POST /experiments HTTP/1.1\r\nContent-Length: 1000\r\n" + HOST + b"\r\n{"
    ):
        pass
    with connection(api, f"GET {address}?wait=60 HTTP/1.1\r\n".encode() + HOST + b"\r\n"):
        time.sleep(DEADLINE / 2)
    for line in ("POST /experiments 499 ", f"GET {address} 499 "):
        wait_until(
            lambda line=line: line in api.log.read_text(), PATIENCE, f"{line!r} is in the log"
        )
    assert "Traceback" not in api.log.read_text()
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", timeout=BUSY) as http:
        text = http.get("/metrics").text
    assert 'lab_http_requests_total{method="POST",route="/experiments",status="499"}' in text
    assert 'status="500"' not in text


def test_what_the_service_writes_only_its_user_can_read(api: Service) -> None:
    written = [path for path in api.home.rglob("*") if path.name != api.log.name]
    assert {"lab.sqlite3", ".in-use.lock"} <= {path.name for path in written}
    assert not [path for path in written if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]


def test_a_home_that_others_may_read_is_warned_of(api: Service, guarded: Service) -> None:
    assert f"`chmod 700 {guarded.home}` keeps them out" in guarded.log.read_text()
    assert "chmod" not in api.log.read_text()


def test_accepts_that_fail_are_told_once_and_not_for_ever(guarded: Service) -> None:
    [process] = guarded.processes
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (8, before[1]))  # fewer than are open
        for _ in range(5):
            stack.enter_context(connection(guarded))
        time.sleep(2.5)  # asyncio tries again each second
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
        assert guarded.log.read_text().count("a connection could not be accepted: [Errno 24]") == 1
        assert "Traceback" not in guarded.log.read_text()
        with connection(
            guarded, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
        ) as one:
            assert read_to_end(one).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("source", "last"), [("127.0.0.1", 429), ("127.0.0.9", 401)])
def test_made_up_addresses_of_senders_count_only_where_a_proxy_is_trusted(
    guarded: Service, source: str, last: int
) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{guarded.port}",
        timeout=BUSY,
        transport=httpx.HTTPTransport(local_address=source),
    ) as http:
        answers = [
            http.get("/experiments", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code
            for number in range(60)
        ]
    assert (answers[0], answers[-1]) == (401, last)


def test_a_stop_waits_neither_for_polls_nor_for_streams_nor_for_downloads_nor_for_uploads(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(access_log="all")
    process = service.api()
    service.http.get("/openapi.json")  # which is made at the first time
    experiment = service.submit({"dataset": "digits"})
    address = f"/experiments/{experiment['id']}"
    with ExitStack() as stack:
        polls = [
            stack.enter_context(
                connection(service, f"GET {address}?wait=60 HTTP/1.1\r\n".encode() + HOST + b"\r\n")
            )
            for _ in range(10)
        ]
        streams = [
            stack.enter_context(connection(service, b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n"))
            for _ in range(40)
        ]
        follow = f"GET /runs/{experiment['runs'][0]['id']}/log/events HTTP/1.1\r\n".encode()
        streams += [
            stack.enter_context(connection(service, follow + HOST + b"\r\n")) for _ in range(10)
        ]
        upload = stack.enter_context(
            connection(
                service,
                b"PUT /datasets/big HTTP/1.1\r\nContent-Length: 100000\r\n" + HOST + b"\r\nPK",
            )
        )
        unread = stack.enter_context(connection(service, receive_buffer=4096))
        unread.sendall((b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n") * 200)
        stack.enter_context(connection(service))
        for stream in streams:
            assert stream.recv(1), "it has begun"
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(BUSY) == 0
        seconds = time.monotonic() - began
        answers = [read_to_end(poll)[:13] for poll in polls]
        assert set(answers) <= {b"HTTP/1.1 200 ", b"HTTP/1.1 503 "}, answers
        # of a machine that is very busy there may be no time for all
        assert answers[0] == b"HTTP/1.1 200 "
        ended = [read_to_end(stream) for stream in streams]
        last = b'event: end\ndata: {"reason":"shutdown"}\n\n\r\n0\r\n\r\n'
        assert [stream.endswith(last) for stream in ended] == [True] * len(streams)
        assert read_to_end(upload) == b""
    log = service.log.read_text()
    assert seconds < STOP_SECONDS, log
    assert re.search(r"open requests \(.*PUT /datasets/big.*\) cut off", log), log
    assert "Traceback" not in log
    assert "PUT /datasets/big 503" in log
    assert list((service.home / "uploads").iterdir()) == []
