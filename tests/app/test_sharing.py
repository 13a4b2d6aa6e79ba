"""One look for all who wait, one answer for all who ask within a moment."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from app.api.http import sharing
from app.api.http.sharing import Shared, Watch
from app.errors import Busy
from app.storage.states import RunStatus


class Client:
    """A request whose client leaves when told to."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    @property
    def request(self) -> Request:
        async def receive() -> dict[str, Any]:
            await self.left.wait()
            return {"type": "http.disconnect"}

        return Request({"type": "http", "method": "GET", "headers": []}, receive)


class Looks:
    """What the database says, and how often it was asked."""

    def __init__(self) -> None:
        self.statuses = {f"exp_{number}": RunStatus.QUEUED for number in range(3)}
        self.asked: list[set[str]] = []
        self.fails = False

    async def __call__(self, ids: Collection[str]) -> dict[str, RunStatus]:
        self.asked.append(set(ids))
        if self.fails:
            raise Busy("not now")
        return {name: status for name, status in self.statuses.items() if name in ids}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LOOK_SECONDS", 0.02)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


def test_a_hundred_who_wait_cost_one_look_at_a_time_and_each_wakes_for_its_own_experiment() -> None:
    async def work() -> None:
        looks, watch = Looks(), None
        watch = Watch(looks)
        woken: list[str] = []

        async def wait(name: str) -> None:
            await watch.change(Client().request, name, RunStatus.QUEUED, 10)
            woken.append(name)

        began = time.monotonic()
        tasks = [asyncio.create_task(wait(f"exp_{number % 3}")) for number in range(99)]
        await until(lambda: len(looks.asked) >= 3)
        assert len(looks.asked) <= (time.monotonic() - began) / sharing.LOOK_SECONDS + 1
        assert looks.asked[0] == {"exp_0", "exp_1", "exp_2"}
        looks.fails = True  # a database that does not answer for a moment wakes nobody
        count = len(looks.asked)
        await until(lambda: len(looks.asked) >= count + 2)
        looks.fails = False
        assert woken == []
        looks.statuses["exp_1"] = RunStatus.RUNNING
        del looks.statuses["exp_2"]  # deleted
        await until(lambda: len(woken) >= 66)
        assert sorted(woken) == ["exp_1"] * 33 + ["exp_2"] * 33
        watch.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert watch.num_waiting == 0
        count = len(looks.asked)
        await asyncio.sleep(0.06)
        assert len(looks.asked) <= count + 1  # nobody waits, nobody looks

    asyncio.run(work())


def test_whoever_leaves_or_has_waited_long_enough_is_not_waited_for() -> None:
    async def work() -> None:
        watch, client = Watch(Looks()), Client()
        began = time.monotonic()
        await watch.change(Client().request, "exp_0", RunStatus.QUEUED, 0.05)
        assert 0.04 < time.monotonic() - began < 5
        leaving = asyncio.create_task(watch.change(client.request, "exp_0", RunStatus.QUEUED, 60))
        await asyncio.sleep(0.03)
        client.left.set()
        await asyncio.wait_for(leaving, 10)
        assert watch.num_waiting == 0
        watch.close()
        # stopping: nobody waits any more
        await asyncio.wait_for(watch.change(Client().request, "exp_0", RunStatus.QUEUED, 60), 10)

    asyncio.run(work())


def test_all_who_ask_within_a_moment_share_an_answer_and_a_failure_is_not_kept() -> None:
    async def work() -> None:
        made: list[int] = []
        shared: Shared[int] = Shared(1.0)

        async def make() -> int:
            made.append(len(made))
            await asyncio.sleep(0.02)
            if len(made) == 1:
                raise Busy("the first fails")
            return len(made)

        first = await asyncio.gather(*(shared.get(make) for _ in range(50)), return_exceptions=True)
        assert all(isinstance(result, Busy) for result in first)
        assert await asyncio.gather(*(shared.get(make) for _ in range(50))) == [2] * 50
        assert await shared.get(make) == 2
        await asyncio.sleep(1.05)
        assert await shared.get(make) == 3
        shared.forget()
        assert await shared.get(make) == 4

    asyncio.run(work())


def test_readiness_is_looked_at_once_for_all_who_ask_within_a_second(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.api.operations import operations

    looked: list[int] = []
    look = operations._readiness
    monkeypatch.setattr(
        operations, "_readiness", lambda *arguments: looked.append(1) or look(*arguments)
    )  # type: ignore[func-returns-value]
    answers = [api.get("/readyz") for _ in range(20)]
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len(looked) <= 3
