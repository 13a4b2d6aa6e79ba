"""Many requests at the same moment to a real API: everybody is answered, and nobody has to wait for a timeout. `make
load` has the whole of it.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from app.roles import Role
from app.services.owners.keys import create_key
from app.settings import Settings
from app.storage.db import open_database
from benchmarks.load.sending import Request, Sample
from tests.e2e.service import Service
from tests.postgres import Cluster

SPEC = {"dataset": "digits", "model": {"hidden": [8]}, "epochs": 1}
ROOT = Path(__file__).parents[2]
GENERATOR = [sys.executable, "-m", "benchmarks.load.generator"]
PROBE = "GET /healthz"
PROBE_EVERY = 0.05
PATIENCE = 30.0
AT_MOST = 1.0
WITHOUT_A_TIMEOUT = 3.0
"""Far from the timeouts that such a wait once ended with, 10 and 30 s, also on a machine that others use."""


@dataclass(frozen=True)
class Api:
    """A running API that asks for keys, and an owner's key."""

    service: Service
    key: str

    def meet(self, requests: list[tuple[float, Request]]) -> list[Sample]:
        """Send each request at its moment, from another process, and probe /healthz all the time; what became of all of
        them.
        """
        timed = [(at, asdict(request)) for at, request in requests]
        url = f"http://127.0.0.1:{self.service.port}"
        plan = {
            "kind": "schedule",
            "url": url,
            "timeout": PATIENCE,
            "requests": timed,
            "probe_every": PROBE_EVERY,
        }
        ended = subprocess.run(
            GENERATOR,
            cwd=ROOT,
            input=json.dumps(plan),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return [Sample(*sample) for sample in json.loads(ended.stdout)["samples"]]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def api(request: pytest.FixtureRequest, make_service: Callable[..., Service]) -> Iterator[Api]:
    cluster: Cluster | None = (
        request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    )
    name = "" if cluster is None else cluster.create()
    url = "" if cluster is None else cluster.url(name)
    service = make_service(database_url=url, max_requests_per_minute=0)
    database = open_database(Settings(home=service.home, database_url=url, _env_file=None))
    with database.writing() as session:
        _, key = create_key(session, "anna", Role.SUBMIT)
    database.close()
    service.http.headers["Authorization"] = f"Bearer {key}"
    service.api()
    assert service.get("/experiments")["data"] == [], (
        "what is loaded at a first request is loaded before the crowd comes"
    )
    yield Api(service, key)
    service.stop()
    if cluster is not None:
        cluster.drop(name)


def of(samples: list[Sample], route: str) -> list[Sample]:
    found = [sample for sample in samples if sample.route == route]
    assert found, route
    return found


def statuses(samples: list[Sample], route: str) -> dict[int, int]:
    return dict(Counter(sample.status for sample in of(samples, route)))


def longest(samples: list[Sample], route: str) -> float:
    return max(sample.seconds for sample in of(samples, route))


def test_two_hundred_submits_and_two_hundred_reads_at_once_are_all_answered_and_health_checks_meanwhile(
    api: Api,
) -> None:
    known = api.service.submit(SPEC)
    post = Request("submit", "POST", "/experiments", SPEC, api.key)
    record = Request("record", "GET", f"/experiments/{known['id']}", key=api.key)
    listed = Request("list", "GET", "/experiments?limit=20", key=api.key)
    samples = api.meet([(0.0, request) for request in [post, record, post, listed] * 100])
    assert statuses(samples, "submit") == {201: 200}
    assert statuses(samples, "record") == statuses(samples, "list") == {200: 100}
    assert statuses(samples, PROBE) == {200: len(of(samples, PROBE))}
    assert longest(samples, PROBE) < AT_MOST
    stored = api.service.get("/experiments?limit=500")["data"]
    assert len({row["id"] for row in stored}) == 201, "each that was answered is there, once"
    assert "Traceback" not in api.service.log.read_text()


@pytest.mark.parametrize("number", [70, 200])
def test_strangers_who_ask_whether_it_is_ready_keep_no_owner_waiting(api: Api, number: int) -> None:
    ready = Request("ready", "GET", "/readyz")
    owner = Request("list", "GET", "/experiments", key=api.key)
    samples = api.meet(
        [(0.0, owner), *[(0.0, ready)] * number, *[(turn / 10, owner) for turn in range(1, 6)]]
    )
    assert statuses(samples, "ready") == {200: number}
    assert statuses(samples, "list") == {200: 6}
    assert longest(samples, "list") < WITHOUT_A_TIMEOUT
    assert longest(samples, PROBE) < AT_MOST
