"""Streams of events from real processes: two APIs and a worker on one database, and an API that is killed under its
watchers.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from app.services.experiments import changes
from app.settings import Settings
from app.storage.db import open_database
from tests.app.watching import Said, parsed
from tests.e2e.service import Service, wait_until
from tests.e2e.test_faults import STEADY
from tests.postgres import Cluster

LATE = 5.0
"""Seconds after a commit at which nothing can still be on its way but on a machine that stands still."""
PATIENCE = 120.0


class Reader(threading.Thread):
    """Follows a stream to its end, and comes again with the last `id` whenever it is cut off."""

    def __init__(self, service: Service, path: str) -> None:
        super().__init__(daemon=True)
        self.whole: list[tuple[float, Said]] = []
        """What was told and is not told again, and when it came."""
        self.said: list[tuple[float, Said]] = []
        self.num_cuts = 0
        self._address = f"http://127.0.0.1:{service.port}{path}"
        self.start()

    def run(self) -> None:
        last: dict[str, str] = {}
        while not self.has_ended:
            content, begun = b"", len(self.said)
            try:
                with httpx.stream("GET", self._address, headers=last, timeout=20) as answer:
                    assert answer.status_code == 200, answer.read()
                    for chunk in answer.iter_raw():
                        content += chunk
                        place = content.rfind(b"\n\n") + 2
                        now = time.monotonic()
                        self.said += [(now, one) for one in parsed(content[:place])]
                        content = content[place:]
            except httpx.TransportError:
                time.sleep(0.05)
            told = self.said[begun:]
            if told and not self.has_ended:
                self.num_cuts += 1
            known = [place for place, (_, one) in enumerate(told, 1) if one.position is not None]
            self.whole += told if self.has_ended else told[: max(known, default=0)]
            if known:
                last = {"Last-Event-ID": str(told[known[-1] - 1][1].position)}

    @property
    def has_ended(self) -> bool:
        return bool(self.said) and self.said[-1][1].name == "end"

    def state(self) -> str | None:
        """The status of the experiment that was told last."""
        found = [one.data["status"] for _, one in self.said.copy() if one.name == "experiment"]
        return found[-1] if found else None

    def ends(self) -> list[Said]:
        """All that was told, once the stream has ended."""
        self.join(PATIENCE)
        assert self.has_ended, self.said[-3:]
        assert self.said[-1][1].data == {"reason": "terminal"}
        return [one for _, one in self.whole]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of an empty PostgreSQL database, or nothing: of the home's own."""
    if request.param == "sqlite":
        yield ""
        return
    cluster: Cluster = request.getfixturevalue("postgresql")
    name = cluster.create()
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def apis(
    database_url: str, make_service: Callable[..., Service]
) -> Iterator[tuple[Service, Service, Settings]]:
    """Two APIs and one worker on one home and database; the settings that lead there."""
    first = make_service(database_url=database_url)
    second = Service(first.home, database_url=database_url)
    first.api()
    second.api()
    first.start("worker", "--workers", "1")
    first.wait_for_workers(1)
    yield first, second, Settings(home=first.home, database_url=database_url, _env_file=None)
    first.stop()
    second.stop()


def commits(settings: Settings, over: threading.Event, seen: dict[int, float]) -> None:
    """Note when each change could be seen by others, by its number."""
    database = open_database(settings)
    try:
        while not over.is_set():
            with database.reading() as session:
                number = changes.latest(session)
            seen.setdefault(number, time.monotonic())
            time.sleep(0.002)
    finally:
        database.close()


@pytest.mark.slow
def test_what_a_worker_and_another_api_write_is_told_at_once_by_this_one(
    apis: tuple[Service, Service, Settings],
) -> None:
    """L2: half a second is what a machine with time needs; it is measured and printed."""
    first, second, settings = apis
    over, seen = threading.Event(), dict[int, float]()
    witness = threading.Thread(target=commits, args=(settings, over, seen))
    witness.start()
    try:
        experiment = first.submit({**STEADY, "epochs": 1000})
        reader = Reader(first, f"/experiments/{experiment['id']}/events")
        second.wait_for_epoch(experiment, 4)
        address = f"/experiments/{experiment['id']}"
        second.http.patch(address, json={"name": "another"}).raise_for_status()
        for verb, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
            second.post(f"{address}/{verb}")
            wait_until(lambda status=status: reader.state() == status, 60, f"{status} is told")
        told = reader.ends()
    finally:
        over.set()
        witness.join()
    assert [one.data["name"] for one in told if one.name == "experiment"][-1] == "another"
    arrived = [(at, one.id) for at, one in reader.said if one.id is not None]
    late = [
        next(at for at, upto in arrived if upto >= number) - since
        for number, since in seen.items()
        if arrived[0][1] < number <= arrived[-1][1]
    ]
    assert len(late) > 8
    late.sort()
    print(f"{len(late)} changes: half within {late[len(late) // 2]:.3f} s, all in {late[-1]:.3f} s")
    assert late[-1] < LATE


@pytest.mark.slow
def test_an_api_that_is_killed_loses_its_watchers_nothing(
    apis: tuple[Service, Service, Settings],
) -> None:
    """L3: the last state of each run, no epoch twice, and every line of a log once."""
    first, second, _ = apis
    experiment = second.submit({**STEADY, "seeds": 2, "epochs": 30})
    run_id = experiment["runs"][0]["id"]
    events = Reader(first, f"/experiments/{experiment['id']}/events")
    lines = Reader(first, f"/runs/{run_id}/log/events?after=0:0")

    def is_under_way() -> bool:
        states = [one.data for _, one in events.said.copy() if one.name == "run"]
        return any(one["epochs_done"] >= 5 for one in states)

    wait_until(is_under_way, 60, "five epochs are told")
    first.processes[0].kill()
    first.api()
    told = events.ends()
    assert events.num_cuts == 1
    numbers = [one.id for one in told if one.id is not None and one.name != "ping"]
    assert numbers == sorted(set(numbers)), "a change is told twice"
    states: dict[str, list[Any]] = {run["id"]: [] for run in experiment["runs"]}
    for one in told:
        if one.name == "run":
            states[one.data["id"]].append(one.data)
    for run in second.record(experiment)["runs"]:
        epochs = [one["epochs_done"] for one in states[run["id"]]]
        assert epochs == sorted(epochs)
        assert (states[run["id"]][-1]["status"], epochs[-1]) == ("succeeded", 30)
    written = (first.home / "runs" / run_id / "attempt-1" / "log.txt").read_text().splitlines()
    told_lines = [line for one in lines.ends() if one.name == "lines" for line in one.data["lines"]]
    assert told_lines == written
    assert len(written) >= 30
    assert lines.num_cuts == 1
