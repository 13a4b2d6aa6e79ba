"""The load generator flatters nobody: what waits counts from the moment planned for it, and what fails is an error."""

import itertools
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.load.generator import carry_out
from benchmarks.load.parts import quantile, statistics_of
from benchmarks.load.report import Requirement, ratios, requirements

TAKES = 0.05


class OneAtATime(BaseHTTPRequestHandler):
    """Answers `/` after a while during which nobody else is answered, and hangs up on everything else."""

    protocol_version = "HTTP/1.1"
    turn = threading.Lock()

    def do_GET(self) -> None:
        if self.path != "/":
            self.close_connection = True
            return
        with self.turn:
            time.sleep(TAKES)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OneAtATime) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def seconds_of(url: str, moments: list[float], path: str = "/", **plan: Any) -> list[list[Any]]:
    timed = [(at, {"route": "it", "method": "GET", "path": path}) for at in moments]
    return carry_out({"kind": "schedule", "url": url, "requests": timed, **plan})["samples"]


def test_at_once_means_at_once_and_each_counts_from_then(url: str) -> None:
    taken = sorted(sample[3] for sample in seconds_of(url, [0.0] * 8))
    assert taken[-1] >= 8 * TAKES
    assert all(after - before >= TAKES * 0.9 for before, after in itertools.pairwise(taken))


def test_requests_at_a_rate_that_is_too_high_are_sent_all_the_same_and_wait_longer_and_longer(
    url: str,
) -> None:
    samples = sorted(
        seconds_of(url, [number * TAKES / 2 for number in range(10)]), key=lambda sample: sample[2]
    )
    assert [sample[2] for sample in samples] == pytest.approx(
        [number * TAKES / 2 for number in range(10)]
    )
    assert sum(sample[2] + sample[3] >= 10 * TAKES for sample in samples) >= 1
    assert max(sample[3] for sample in samples) >= 5 * TAKES, (
        "a generator that waited for answers would say one turn for each"
    )


def test_a_connection_that_is_closed_and_an_answer_that_does_not_come_are_errors_with_their_time(
    url: str,
) -> None:
    (closed,) = seconds_of(url, [0.0], path="/else")
    assert (closed[1], closed[4]) == (0, "Broken")
    late = seconds_of(url, [0.0] * 4, timeout=2.5 * TAKES)
    statistics = statistics_of(late)
    assert statistics["requests"] == 4
    assert statistics["errors"], (
        "those that were given up count as requests, with the time until then"
    )
    assert statistics["worst"] >= 2.5 * TAKES


def test_a_steady_load_sends_what_was_asked_for_over_few_connections(url: str) -> None:
    out = carry_out(
        {
            "kind": "steady",
            "url": url,
            "requests": [{"route": "it", "method": "GET", "path": "/"}],
            "count": 7,
            "connections": 2,
        }
    )
    assert [sample[1] for sample in out["samples"]] == [200] * 7


def test_quantiles_are_values_that_were_measured() -> None:
    ordered = [float(number) for number in range(1, 101)]
    assert (quantile(ordered, 0.5), quantile(ordered, 0.99), quantile(ordered, 1.0)) == (
        50.0,
        99.0,
        100.0,
    )
    assert quantile([3.0], 0.99) == quantile([1.0, 3.0], 0.99) == 3.0


def measured(
    name: str, stack: str, route: str, seconds: float, status: int = 200
) -> dict[str, Any]:
    rows = {route: statistics_of([[route, status, 0.0, seconds, ""]])}
    return {
        "name": name,
        "stack": stack,
        "beside": "sqlite",
        "routes": rows,
        "api": {"cores": 0.1, "cpu_seconds_per_request": seconds / 10},
    }


def test_a_number_that_must_be_reached_is_met_missed_or_not_measured() -> None:
    found = [
        measured("POST at 20/s", "sqlite", "POST /experiments", 0.3),
        measured("200 mixed requests at once", "sqlite", "GET /readyz", 0.1, status=503),
    ]
    verdicts = {
        requirement.what: requirement.is_met for requirement in requirements(found, "sqlite")
    }
    assert verdicts["POST /experiments at 20/s, p99"] is False
    assert verdicts["a burst of 200 mixed requests: answers other than 2xx"] is False
    assert verdicts["training lost to a class of forty"] is None
    assert not any(requirements(found, "postgresql")[number].is_met for number in range(9)), (
        "another stack's numbers are not taken for this one's"
    )
    assert Requirement("as much as is allowed", "ms", 50.0, 50.0).is_met is True


def test_ours_is_compared_with_the_yardstick_that_was_measured_beside_it() -> None:
    theirs = measured("yardstick: POST at 20/s", "yardstick", "POST /rows", 0.1)
    ours = [
        measured("POST at 20/s", stack, "POST /experiments", 0.3)
        for stack in ("sqlite", "postgresql")
    ]
    (row,) = ratios([*ours, theirs])
    assert (row["stack"], round(row["p99"], 6), round(row["cpu_seconds_per_request"], 6)) == (
        "sqlite",
        3.0,
        3.0,
    )
