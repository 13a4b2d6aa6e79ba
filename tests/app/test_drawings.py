"""A picture that many ask for at once is drawn once, and not for nobody; the latest are kept."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from app.api.http.drawings import Budget, Draw, Drawings
from app.api.http.lanes import Lane
from app.errors import Overloaded
from app.plots.appearance import USUAL, Appearance
from app.plots.artists import Artists, Drawn

PICTURE = b"picture"


class Slow(Artists):
    """Draws when it is told to, and counts."""

    def __init__(self, picture: bytes = PICTURE) -> None:
        super().__init__(1)
        self.picture, self.asked = picture, []

    def draw(self, figure: Any, extension: str, appearance: Appearance = USUAL) -> "Future[Drawn]":
        self.asked.append(figure)
        self.latest: Future[Drawn] = Future()
        return self.latest

    def end(self, seconds: float = 0.0) -> None:
        self.latest.set_result(Drawn(self.picture, seconds))


def wanted(name: str) -> Draw:
    return Draw(name, "png", name, lambda picture: picture)


def stays() -> bool:
    return False


def leaves() -> bool:
    return True


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_forty_who_ask_for_the_same_picture_at_once_cost_one_drawing_and_it_is_kept() -> None:
    async def work() -> None:
        artists = Slow()
        drawings = Drawings(Lane("drawing", 1, 10), artists)  # a line of ten
        asking = [
            asyncio.create_task(drawings.get(f"student {number}", wanted("same"), stays))
            for number in range(40)
        ]
        await settle()
        artists.end()
        assert await asyncio.gather(*asking) == [PICTURE] * 40
        assert await drawings.get("late", wanted("same"), stays) == PICTURE
        assert artists.asked == ["same"]

    run(work)


def test_what_all_have_left_is_not_drawn_and_what_one_still_waits_for_is() -> None:
    async def work() -> None:
        artists = Slow()
        drawings = Drawings(Lane("drawing", 1, 10), artists)
        first = asyncio.create_task(drawings.get("anna", wanted("first"), stays))
        await settle()
        nobodys = asyncio.create_task(drawings.get("ben", wanted("nobody's"), leaves))
        somebodys = [
            asyncio.create_task(drawings.get("carl", wanted("somebody's"), has_left))
            for has_left in (leaves, stays)
        ]
        cancelled = asyncio.create_task(drawings.get("dora", wanted("cancelled"), stays))
        await settle()
        cancelled.cancel()
        artists.end()
        await settle()
        artists.end()
        assert await asyncio.gather(first, *somebodys) == [PICTURE] * 3
        with pytest.raises(ClientDisconnect):
            await nobodys
        await settle()
        assert artists.asked == ["first", "somebody's"]

    run(work)


def test_a_full_line_refuses_and_the_same_picture_can_be_asked_for_again() -> None:
    async def work() -> None:
        artists = Slow()
        drawings = Drawings(Lane("drawing", 1, 1), artists)
        first, second = (
            asyncio.create_task(drawings.get("anna", wanted(name), stays))
            for name in ("first", "second")
        )
        await settle()
        with pytest.raises(Overloaded):
            await drawings.get("anna", wanted("third"), stays)
        artists.end()
        await settle()
        artists.end()
        assert await asyncio.gather(first, second) == [PICTURE] * 2
        third = asyncio.create_task(drawings.get("anna", wanted("third"), stays))
        await settle()
        artists.end()
        assert await third == PICTURE

    run(work)


def test_the_oldest_go_and_a_large_one_is_not_kept() -> None:
    async def work() -> None:
        artists = Slow(b"0123456789")
        drawings = Drawings(Lane("drawing", 1, 10), artists, most_bytes=80)

        async def get(name: str) -> None:
            asking = asyncio.create_task(drawings.get("anna", wanted(name), stays))
            await settle()
            if not asking.done():
                artists.end()
            await asking

        # the ninth takes the place of b, which was asked for before all but a
        for name in [*"abcdefgh", "a", "i", "a", "b"]:
            await get(name)
        assert "".join(artists.asked) == "abcdefghib"
        artists.picture = b"more than an eighth"
        for _ in range(2):
            await get("large")
        assert artists.asked[-2:] == ["large", "large"]

    run(work)


def test_when_the_budget_is_spent_pictures_come_as_fast_as_it_comes_in() -> None:
    async def work() -> None:
        artists, began = Slow(), asyncio.get_running_loop().time()
        drawings = Drawings(Lane("drawing", 1, 10), artists, Budget(cores=0.5, most_seconds=1.0))
        asking = [asyncio.create_task(drawings.get("anna", wanted(name), stays)) for name in "abc"]
        for number in range(3):
            while len(artists.asked) <= number:
                await asyncio.sleep(0.001)
            took = asyncio.get_running_loop().time() - began
            assert took < 0.1 if number < 2 else took > 0.15
            artists.end(seconds=0.3)  # the second goes 0.1 beyond
        await asyncio.gather(*asking)

    run(work)


def test_no_more_is_saved_than_what_may_be_spent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("app.api.http.drawings.time.monotonic", lambda: now)
    budget = Budget(cores=0.2, most_seconds=50)
    now = 1000.0
    assert budget.spend(10) == 0
    assert budget.spend(1) == pytest.approx(5)
    now += 3
    assert budget.spend(1) == pytest.approx(7)
    now += 7
    assert budget.spend(0) == pytest.approx(0)
