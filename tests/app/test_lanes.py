"""Lines in the event loop: slots are never more than there are, clients take turns, and a full line refuses whoever has
asked for most.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.http.lanes import Lane
from app.errors import Overloaded


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


async def pass_through(lane: Lane, client: str, order: list[str], ended: asyncio.Event) -> None:
    async with lane.turn(client):
        order.append(client)
        await ended.wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_client_leaves_a_slot_to_the_others() -> None:
    async def work() -> None:
        lane, order, ended = Lane("reading", slots=3, most_waiting=10), [], asyncio.Event()
        greedy = [asyncio.create_task(pass_through(lane, "greedy", order, ended)) for _ in range(5)]
        await settle()
        assert lane.num_passing == 2
        assert lane.num_waiting == 3
        other = asyncio.create_task(pass_through(lane, "other", order, ended))
        await settle()
        assert order == ["greedy", "greedy", "other"]
        ended.set()
        await asyncio.gather(*greedy, other)

    run(work)


def test_clients_in_line_take_turns() -> None:
    async def work() -> None:
        lane, order = Lane("writing", slots=1, most_waiting=100), []
        async with lane.turn("first"):
            done = asyncio.Event()
            done.set()
            tasks = [
                asyncio.create_task(pass_through(lane, "greedy", order, done)) for _ in range(5)
            ]
            await settle()
            tasks += [
                asyncio.create_task(pass_through(lane, name, order, done))
                for name in ("anna", "ben")
            ]
            await settle()
        await asyncio.gather(*tasks)
        assert order == ["greedy", "anna", "ben", "greedy", "greedy", "greedy", "greedy"]

    run(work)


def test_a_full_line_refuses_the_newest_of_whoever_has_most_and_at_once() -> None:
    async def work() -> None:
        lane, order, ended = Lane("writing", slots=1, most_waiting=3), [], asyncio.Event()
        passing = asyncio.create_task(pass_through(lane, "greedy", order, ended))
        await settle()
        waiting = [
            asyncio.create_task(pass_through(lane, "greedy", order, ended)) for _ in range(3)
        ]
        await settle()
        with pytest.raises(Overloaded) as refused:  # the newcomer is itself the one with most
            await pass_through(lane, "greedy", order, ended)
        assert refused.value.headers["Retry-After"].isdecimal()
        newcomer = asyncio.create_task(pass_through(lane, "anna", order, ended))
        await settle()
        assert isinstance(waiting[-1].exception(), Overloaded)  # gave its place to anna
        ended.set()
        await asyncio.gather(passing, newcomer, *waiting[:-1])
        assert order == ["greedy", "greedy", "anna", "greedy"] or order == [
            "greedy",
            "anna",
            "greedy",
            "greedy",
        ]
        assert lane.num_refused == 2

    run(work)


def test_a_slot_rests_after_a_pass_while_others_wait() -> None:
    async def work() -> None:
        lane, loop = Lane("writing", slots=1, most_waiting=10, rest=1.0), asyncio.get_running_loop()
        began: list[float] = []

        async def write() -> None:
            async with lane.turn("anna"):
                began.append(loop.time())
                await asyncio.sleep(0.05)

        await asyncio.gather(write(), write())
        assert began[1] - began[0] >= 0.1
        await asyncio.wait_for(write(), 1.0)  # alone again, at once

    run(work)


def test_a_slot_rests_as_long_as_whoever_held_it_says_though_nobody_waits() -> None:
    async def work() -> None:
        lane, loop = Lane("drawing", slots=1, most_waiting=10), asyncio.get_running_loop()
        async with lane.turn("anna") as turn:
            turn.rest_seconds = 0.1
        began = loop.time()
        async with lane.turn("ben"):
            assert loop.time() - began >= 0.09

    run(work)


@settings(max_examples=200, deadline=None)
@given(
    slots=st.integers(1, 4),
    most=st.integers(1, 6),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["come", "come", "end", "cancel"]),
            st.sampled_from("abc"),
            st.integers(0, 30),
        ),
        max_size=60,
    ),
)
def test_whatever_comes_ends_and_is_cancelled_no_slot_is_lost_or_given_twice(
    slots: int, most: int, steps: list[tuple[str, str, int]]
) -> None:
    async def work() -> None:
        lane = Lane("reading", slots, most)
        passing: list[asyncio.Event] = []

        async def one(client: str) -> None:
            ended = asyncio.Event()
            async with lane.turn(client):
                passing.append(ended)
                try:
                    await ended.wait()
                finally:
                    passing.remove(ended)

        tasks: list[asyncio.Task[None]] = []
        for what, client, number in steps:
            if what == "come":
                tasks.append(asyncio.create_task(one(client)))
            elif what == "end" and passing:
                passing[number % len(passing)].set()
            elif what == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
                if number % 2:  # several things within one turn of the loop as well
                    continue
            await settle()
            assert lane.num_passing <= slots
            assert lane.num_waiting <= most
            assert lane.num_waiting == 0 or lane.num_passing >= min(1, slots)
        for _ in range(len(tasks) + 1):
            for ended in passing:
                ended.set()
            await settle()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = Counter(type(result) for result in results)
        assert set(kinds) <= {type(None), Overloaded, asyncio.CancelledError}
        assert lane.num_passing == lane.num_waiting == 0
        assert lane._free == slots

    run(work)
