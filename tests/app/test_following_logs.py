"""A run's log, followed: every line once, whatever is cut, over all attempts; one reader for all who follow it."""

import asyncio
import gc
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from app.api.watching import hub as hubs
from app.api.watching import log_events, looking, streams
from app.api.watching.log_events import Piece
from app.services import lifecycle
from app.services.experiments import deletion, experiments
from app.services.experiments.logs import shown
from app.services.lifecycle import Lease
from app.services.owners import keys
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import StatusReason
from app.storage.tables import ChangeCounter, Experiment
from tests.app.people import make_key
from tests.app.rows import create
from tests.app.watching import Client, parsed, service, watching
from worker.identity import identify

WORKER = identify("cpu", threads=1, slot=0).id


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LOOK_SECONDS", 0.01)


def submit(database: Database, owner: str = "local", **fields: object) -> Experiment:
    with database.writing() as session:
        return create(session, {"dataset": "digits", "epochs": 9, **fields}, owner)


def claim(database: Database, worker: str = WORKER) -> Lease:
    with database.writing() as session:
        lease = lifecycle.claim(session, worker)
    assert lease is not None
    return lease


def release(database: Database, lease: Lease) -> None:
    with database.writing() as session:
        lifecycle.release(session, lease, StatusReason.WORKER_SHUTDOWN)


def succeed(database: Database, lease: Lease) -> None:
    with database.writing() as session:
        lifecycle.succeed(session, lease, best={"epoch": 1, "val": {}}, test={"accuracy": 0.5})


def write(settings: Settings, lease: Lease, text: str, attempt: int = 1) -> Path:
    """Add to the log."""
    path = settings.runs_folder / lease.run_id / f"attempt-{attempt}" / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        file.write(text)
    return path


def address(lease: Lease, more: str = "") -> str:
    return f"/runs/{lease.run_id}/log/events{more}"


def lines(client: Client) -> list[tuple[int, str]]:
    """What has been told of which attempt."""
    return [
        (one.data["attempt"], line)
        for one in client.said
        if one.name == "lines"
        for line in one.data["lines"]
    ]


def names(client: Client) -> list[str]:
    return [one.name for one in client.said]


def test_a_log_is_followed_from_its_last_lines_over_all_attempts_to_the_end_of_its_run(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            submit(database)
            lease = claim(database)
            write(settings, lease, "one\ntwo\nthree\n")
            async with watching(app, address(lease, "?tail=2")) as client:
                await client.until(lambda one: len(lines(one)) == 2)
                assert names(client) == ["run", "attempt", "lines"]
                run, attempt, told = client.said
                assert (run.data["status"], run.id) == ("running", None)
                assert attempt.data["number"] == 1
                assert attempt.data["missing"] is None
                assert (attempt.position, told.position) == ("1:4", "1:14")
                write(settings, lease, "four\r\n\x1b[1mfi")
                await client.until(lambda one: (1, "four") in lines(one))
                write(settings, lease, "ve\n")
                await client.until(lambda one: (1, "?[1mfive") in lines(one))
                write(settings, lease, "cut o")  # as its trainer was
                release(database, lease)
                again = claim(database)
                write(settings, again, "anew\n", attempt=2)
                await client.until(lambda one: (2, "anew") in lines(one))
                write(settings, again, "last, and no end of line", attempt=2)
                succeed(database, again)
                await client.until(lambda one: one.is_whole)
                assert [line for _, line in lines(client)] == [
                    *("two", "three", "four", "", "?[1mfive"),
                    *("cut o", "anew", "last, and no end of line"),
                ]
                assert client.last("run")["status"] == "succeeded"
                assert client.said[-1].data == {"reason": "terminal"}
                begun = [one for one in client.said if one.name == "attempt"]
                assert [(one.data["number"], one.position) for one in begun][1:] == [(2, "2:0")]
            assert await whole(app, address(lease, "?after=0:0")) == [
                *((1, line) for line in ("one", "two", "three", "four", "", "?[1mfive", "cut o")),
                *((2, line) for line in ("anew", "last, and no end of line")),
            ]
            assert app.state.hub.num_watchers == 0

    asyncio.run(work())


def test_wherever_it_is_cut_its_sequel_tells_the_rest_and_no_line_twice(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_events, "BLOCK", 60)
    monkeypatch.setattr(log_events, "LONGEST_LINE", 20)

    async def work() -> None:
        async with service(settings) as app:
            submit(database)
            lease = claim(database)
            write(settings, lease, "".join(f"epoch {n}\n" for n in range(20)) + "ä" * 25)
            release(database, lease)
            again = claim(database)
            write(settings, again, "".join(f"again {n}\n" for n in range(20)), attempt=2)
            succeed(database, again)
            async with watching(app, address(lease, "?after=0:0")) as client:
                await client.until(lambda one: one.is_whole)
                content, expected = bytes(client.content), lines(client)
            assert len(expected) == 43, "20 of each, and a long one in three pieces"
            sequels: dict[str, list[tuple[int, str]]] = {}
            for cut in range(len(content)):
                before = parsed(content[:cut])
                seen = next((one.position for one in reversed(before) if one.position), "0:0")
                if seen not in sequels:
                    sequels[seen] = await whole(app, address(lease), last_event_id=seen)
                known = [
                    (one.data["attempt"], line)
                    for one in before
                    if one.name == "lines"
                    for line in one.data["lines"]
                ]
                assert known + sequels[seen] == expected, cut
            assert len(sequels) > 8

    asyncio.run(work())


def test_forty_who_follow_ten_logs_cost_the_reads_of_ten_and_nobody_those_of_none(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            reader = app.state.hub.logs
            submit(database, seeds=10)
            leases = [claim(database) for _ in range(10)]
            for lease in leases:
                write(settings, lease, "begun\n")
            async with AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(watching(app, address(lease)))
                    for lease in leases
                    for _ in range(4)
                ]
                for client in clients:
                    await client.until(lines)
                before = reader.num_pieces
                for number in range(5):
                    for lease in leases:
                        write(settings, lease, f"line {number}\n")
                    for client in clients:
                        await client.until(
                            lambda one, number=number: lines(one)[-1] == (1, f"line {number}")
                        )
                assert reader.num_pieces - before <= 60, "five of each log, and not of each reader"
                gc.collect()
                kept = [one for one in gc.get_objects() if type(one) is Piece]
                assert len(kept) <= 10, "of each log only the last piece is kept"
            await until_it_rests(app)
            looks = reader.num_looks
            await asyncio.sleep(0.1)
            assert reader.num_looks == looks

    asyncio.run(work())


def test_who_reads_nothing_holds_a_piece_and_holds_up_nobody(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            submit(database)
            lease = claim(database)
            path = write(settings, lease, "begun\n")
            async with (
                watching(app, address(lease)) as slow,
                watching(app, address(lease)) as quick,
            ):
                for client in (slow, quick):
                    assert client.asked == [streams.PATIENCE_SECONDS]
                    await client.until(lines)
                slow.may_read.clear()
                for number in range(200):
                    write(settings, lease, f"{number} {'x' * 2000}\n")
                await quick.until(lambda one: len(lines(one)) == 201)
                gc.collect()
                kept = [one for one in gc.get_objects() if type(one) is Piece]
                assert sum(len(one.content) for one in kept) < path.stat().st_size / 2
                slow.may_read.set()
                await slow.until(lambda one: len(lines(one)) == 201)
                assert lines(slow) == lines(quick)
                assert max(map(len, slow.pieces)) < 70_000

    asyncio.run(work())


def test_a_run_that_has_not_begun_is_waited_for_and_a_log_elsewhere_is_told(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            submitted = submit(database)
            with database.reading() as session:
                run_id = experiments.its_runs(session, submitted.id)[0].id
            async with watching(app, f"/runs/{run_id}/log/events") as client:
                await client.until(lambda one: one.last("run"))
                assert client.last("run")["status"] == "queued"
                lease = claim(database, "gpu-box-17-abcd")
                attempt = await client.until(lambda one: one.last("attempt"))
                assert attempt["worker"] == "gpu-box-17-abcd"
                assert "lies on the machine that trained it, gpu-box, below" in attempt["missing"]
                write(settings, lease, "its home is ours\n")  # as on a disk that both see
                await client.until(lambda one: lines(one) == [(1, "its home is ours")])
            write(settings, lease, "").unlink()
            succeed(database, lease)
            refused = Client(app, address(lease))
            await refused.task
            assert refused.status == 404
            assert b"log_elsewhere" in refused.content

    asyncio.run(work())


def test_only_who_sees_the_run_follows_it_until_the_key_the_run_or_the_service_ends(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "KEY_SECONDS", 0.0)
    monkeypatch.setattr(streams, "PING_SECONDS", 0.05)
    settings = settings.model_copy(update={"max_watchers_per_key": 2})
    secrets = {name: make_key(database, name) for name in ("ada", "bob")}
    ada, bob = ({"authorization": f"Bearer {secrets[name]}"} for name in ("ada", "bob"))
    submit(database, "ada")
    ours = claim(database)
    foreign = submit(database, "bob")
    theirs = claim(database)

    async def work() -> None:
        async with service(settings) as app:
            for path, status in (
                (address(theirs), 404),
                ("/runs/run_none/log/events", 404),
                (address(ours, "?after=1"), 422),
                (address(ours, "?tail=-1"), 422),
            ):
                refused = Client(app, path, **ada)
                await refused.task
                assert refused.status == status, path
            write(settings, ours, "begun\n")
            async with (
                watching(app, address(ours), **ada) as first,
                watching(app, "/events", **ada),
                watching(app, address(theirs), **bob) as other,
                watching(app, address(theirs), **bob) as last,
            ):
                refused = Client(app, address(ours), **ada)
                await refused.task
                assert refused.status == 503, "it is one stream among others"
                ping = await first.until(lambda one: one.last("ping"))
                assert list(ping) == ["at"]
                assert next(one for one in first.said if one.name == "ping").position is None
                with database.writing() as session:
                    keys.revoke_keys_of(session, "ada")
                write(settings, ours, "after\n")
                await first.until(lambda one: one.is_whole)
                assert first.said[-1].data == {"reason": "revoked"}
                with database.writing() as session:
                    lifecycle.cancel(session, [theirs.run_id])
                    lifecycle.confirm_cancel(session, theirs)
                    deletion.delete(session, session.get_one(Experiment, foreign.id))
                await other.until(lambda one: one.is_whole)
                assert [name for name in names(other) if name != "ping"][-2:] == ["deleted", "end"]
                assert other.said[-1].data == {"reason": "terminal"}
                await last.until(lambda one: one.is_whole)
            submit(database, "bob")
            next_one = claim(database)
            async with watching(app, address(next_one), **bob) as client:
                app.state.stopping.set()
                await client.until(lambda one: one.is_whole)
                assert client.said[-1].data == {"reason": "shutdown"}

    asyncio.run(work())


def test_a_position_that_is_not_there_any_more_begins_anew(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            submit(database)
            lease = claim(database)
            write(settings, lease, "one\ntwo\n")
            for position in ("1:9", "2:0", "7:100"):
                async with watching(
                    app, address(lease, "?tail=1"), last_event_id=position
                ) as client:
                    await client.until(lines)
                    assert names(client) == ["run", "reset", "attempt", "lines"]
                    assert lines(client) == [(1, "two")]
            async with watching(app, address(lease), last_event_id="1:8") as client:
                await client.until(lambda one: one.said)
                with database.writing() as session:  # as a backup that is put back
                    session.execute(update(ChangeCounter).values(value=1))
                await client.until(lines)
                assert names(client) == ["run", "reset", "run", "attempt", "lines"]
                assert lines(client) == [(1, "one"), (1, "two")]

    asyncio.run(work())


@given(st.text("ab\u00e4\u20ac\U0001f600\n", max_size=60), st.lists(st.integers(1, 30)))
def test_lines_are_cut_only_where_they_are_too_long_and_no_character_is(
    text: str, sizes: list[int]
) -> None:
    """However a log is read, piece by piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_events, "LONGEST_LINE", 8)
        content, told, place = shown(text.encode()), [], 0
        for size in [*sizes, len(content) + 1, len(content) + 1]:
            is_all = size > len(content)
            found, taken = log_events.split(content[place : place + size], is_all=is_all)
            told += found
            place += taken
        assert place == len(content)
        assert all(len(line.encode()) <= 8 for line in told)
        rest = text
        for line in told:
            assert rest.startswith(line)
            rest = rest.removeprefix(line)
            if len(line.encode()) <= 5 or rest.startswith("\n"):
                rest = rest.removeprefix("\n")
        assert rest == ""


async def whole(app: FastAPI, path: str, **headers: str) -> list[tuple[int, str]]:
    """All lines of a stream that ends."""
    async with watching(app, path, **headers) as client:
        await client.until(lambda one: one.is_whole)
        return lines(client)


async def until_it_rests(app: FastAPI) -> None:
    async with asyncio.timeout(10):
        while app.state.hub.logs.looking.is_on:
            await asyncio.sleep(0.005)
