"""Streams of events: the newest state of what is watched, in the order of its changes, and nothing lost at a cut."""

import asyncio
import contextlib
import gc
import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from sqlmodel import Session

from app.api.watching import events, looking, streams
from app.api.watching import hub as hubs
from app.services import lifecycle
from app.services.experiments import deletion, experiments, progress, steering
from app.services.experiments.changes import Changed
from app.services.lifecycle import Lease
from app.services.owners import keys
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ChangeCounter, Experiment, Run, Tombstone, utc_now
from lab_models.training.protocol import EpochCompleted, SavedCheckpoint
from tests.app.people import make_key
from tests.app.rows import create
from tests.app.watching import Client, Said, parsed, service, watching


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LOOK_SECONDS", 0.01)


def submit(database: Database, owner: str = "local", **fields: object) -> Experiment:
    with database.writing() as session:
        return create(session, {"dataset": "digits", "epochs": 9, **fields}, owner)


def runs(session: Session, *found: Experiment) -> Iterable[Run]:
    return [run for one in found for run in experiments.its_runs(session, one.id)]


def claim(database: Database) -> Lease:
    with database.writing() as session:
        lease = lifecycle.claim(session, "w")
    assert lease is not None
    return lease


def train(database: Database, lease: Lease, epoch: int) -> None:
    saved = SavedCheckpoint(epoch=epoch, step=0, path=f"{epoch}.pt", sha256="0" * 64, size_bytes=1)
    done = EpochCompleted(
        epoch=epoch,
        metrics={"train": {"loss": 1 / epoch}, "val": {"loss": 2 / epoch}, "gradients": {"a": 1.0}},
        best_epoch=epoch,
        best_val={"loss": 2 / epoch},
        stop_reason=None,
        checkpoint=saved,
    )
    with database.writing() as session:
        progress.record_epoch(session, lease, done)


def succeed(database: Database, lease: Lease) -> None:
    with database.writing() as session:
        lifecycle.succeed(
            session, lease, best={"epoch": 1, "val": {"loss": 1.0}}, test={"accuracy": 0.5}
        )


def test_a_stream_begins_with_what_is_there_follows_what_changes_and_ends_with_its_experiment(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            experiment = submit(database, seeds=2)
            async with watching(app, f"/experiments/{experiment.id}/events") as client:
                assert client.headers["content-type"].startswith("text/event-stream")
                assert client.headers["x-accel-buffering"] == "no"
                assert client.asked == [30.0], "who reads nothing for so long is dropped"
                begun = await client.until(lambda one: one.said)
                assert [one.name for one in begun] == ["run", "run", "experiment"]
                assert [one.id is None for one in begun] == [True, True, False]
                listed = await answer(app, "/experiments")
                assert begun[2].data == listed["data"][0]
                lease = claim(database)
                for epoch in (1, 2, 3):
                    train(database, lease, epoch)
                await client.until(lambda one: one.last("run")["epochs_done"] == 3)
                run = client.last("run")
                assert run["metrics"] == {"train": {"loss": 1 / 3}, "val": {"loss": 2 / 3}}
                assert (run["status"], run["attempt"], run["fraction"]) == ("running", 1, 0.3333)
                succeed(database, lease)
                succeed(database, claim(database))
                await client.until(lambda one: one.is_whole)
                assert client.last("experiment")["status"] == "succeeded"
                assert client.said[-1].data == {"reason": "terminal"}
            async with watching(app, f"/events?experiments={experiment.id}&after=now") as client:
                await client.until(lambda one: one.is_whole)
                assert [one.name for one in client.said] == ["ping", "end"]
            told = app.state.traffic.durations()["GET", "/experiments/{experiment_id}/events"]
            assert sum(told.buckets) == 1, "how long it took to begin is counted, and nothing else"

    asyncio.run(work())


def test_a_study_an_owner_and_all_are_watched_as_far_as_the_key_sees(
    settings: Settings, database: Database
) -> None:
    secrets = {name: make_key(database, name) for name in ("ada", "bob")}
    ours, theirs = submit(database, "ada"), submit(database, "bob")

    async def work() -> None:
        async with service(settings) as app:

            def key(name: str) -> dict[str, str]:
                return {"authorization": f"Bearer {secrets[name]}"}

            async with (
                watching(app, "/events", **key("ada")) as all_of_ada,
                watching(app, "/events?owner=bob", **key("ada")) as foreign,
            ):
                await all_of_ada.until(lambda one: one.last("experiment"))
                await foreign.until(lambda one: one.last("ping"))
                with database.writing() as session:
                    lifecycle.cancel(session, [run.id for run in runs(session, ours, theirs)])
                    deletion.delete(session, session.get_one(Experiment, theirs.id))
                with database.writing() as session:
                    deletion.delete(session, session.get_one(Experiment, ours.id))
                gone = await all_of_ada.until(lambda one: one.last("deleted"))
                assert gone == {"kind": "experiment", "id": ours.id}
                assert ours.id.encode() in all_of_ada.content
                assert theirs.id.encode() not in all_of_ada.content + foreign.content
            for path, status in (
                (f"/experiments/{theirs.id}/events", 404),
                ("/studies/stu_none/events", 404),
                (f"/events?experiments={theirs.id}", 404),
                ("/events?owner=ada&study=stu_none", 422),
                ("/events?after=yesterday", 422),
            ):
                client = Client(app, path, **key("ada"))
                await client.task
                assert client.status == status, path
            assert app.state.hub.num_watchers == 0

    asyncio.run(work())


def test_who_reads_slowly_is_told_the_newest_state_and_holds_up_nobody(
    settings: Settings, database: Database
) -> None:
    async def work() -> None:
        async with service(settings) as app:
            experiment = submit(database)
            path = f"/experiments/{experiment.id}/events"
            async with watching(app, path) as slow, watching(app, path) as quick:
                await slow.until(lambda one: one.said)
                slow.may_read.clear()
                lease = claim(database)
                for epoch in range(1, 8):
                    train(database, lease, epoch)
                    await quick.until(
                        lambda one, epoch=epoch: one.last("run")["epochs_done"] == epoch
                    )
                slow.may_read.set()
                await slow.until(lambda one: one.last("run")["epochs_done"] == 7)
                told = [one.data["epochs_done"] for one in slow.said if one.name == "run"]
                assert len(told) <= 4  # at first, what was being sent, and what is newest
                assert [one.id for one in slow.said][-1] == [one.id for one in quick.said][-1]

    asyncio.run(work())


def test_much_is_told_piece_by_piece_and_what_was_told_is_let_go_of(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "AT_ONCE", 4)

    async def work() -> None:
        async with service(settings) as app:
            found = [submit(database, seeds=2) for _ in range(5)]
            async with watching(app, "/events") as client:
                await client.until(lambda one: len(one.said) == 15)
                await client.until(lambda one: one.said[-1].id)
                gc.collect()
                assert not [one for one in gc.get_objects() if type(one) is Changed]
                before = client.said[-1].id
                with database.writing() as session:
                    lifecycle.cancel(session, [run.id for run in runs(session, *found)])
                submit(database)
                train(database, claim(database), 1)
                await client.until(lambda one: (one.last("run") or {}).get("epochs_done") == 1)
                cancelled = [one for one in client.said[15:] if one.data["status"] == "cancelled"]
                assert len(cancelled) == 15, "each is told once"
                assert [one.id for one in cancelled] == [None] * 14 + [before + 1]
                assert max(len(parsed(piece)) for piece in client.pieces) == 4

    asyncio.run(work())


def test_nobody_watches_and_nobody_looks_and_fifty_cost_the_looks_of_one(
    settings: Settings, database: Database
) -> None:
    settings = settings.model_copy(update={"max_watchers": 50})

    async def work() -> None:
        async with service(settings) as app:
            hub = app.state.hub
            submit(database)
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(watching(app, "/events")) for _ in range(50)
                ]
                refused = Client(app, "/events")
                await refused.task
                assert (refused.status, refused.headers["retry-after"]) == (503, "10")
                lease = claim(database)
                looks = hub.num_looks
                for epoch in (1, 2, 3):
                    train(database, lease, epoch)
                    for client in clients:
                        await client.until(partial(told, epoch=epoch))
                held = {id(one) for watcher in hub._watchers() for one in watcher._unsaid.values()}
                assert len(held) <= 2, "what is said is kept once for all, and only the newest"
                assert hub.num_looks - looks < 50
            await until(lambda: not hub.looking.is_on)
            looks = hub.num_looks
            submit(database)
            await asyncio.sleep(5 * looking.LOOK_SECONDS)
            assert hub.num_looks == looks

    def told(client: Client, epoch: int) -> bool:
        run = client.last("run")
        return run is not None and run["epochs_done"] == epoch

    asyncio.run(work())


def test_a_key_holds_so_many_streams_and_they_end_when_it_is_revoked_or_the_service_stops(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "KEY_SECONDS", 0.0)
    settings = settings.model_copy(update={"max_watchers_per_key": 1})
    secrets = {name: make_key(database, name) for name in ("ada", "bob")}

    async def work() -> None:
        async with service(settings) as app:
            ada, bob = ({"authorization": f"Bearer {secrets[name]}"} for name in ("ada", "bob"))
            async with (
                watching(app, "/events", **ada) as first,
                watching(app, "/events", **bob) as other,
            ):
                refused = Client(app, "/events", **ada)
                await refused.task
                assert refused.status == 503
                with database.writing() as session:
                    keys.revoke_keys_of(session, "ada")
                await first.until(lambda one: one.is_whole)
                assert first.said[-1].data == {"reason": "revoked"}
                assert not other.is_whole
                app.state.stopping.set()
                await other.until(lambda one: one.is_whole)
                assert other.said[-1].data == {"reason": "shutdown"}

    asyncio.run(work())


def test_a_stream_that_is_ahead_of_the_database_or_too_far_behind_begins_anew(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PING_SECONDS", 0.05)

    async def work() -> None:
        async with service(settings) as app:
            submit(database)
            async with watching(app, "/events", last_event_id="1000") as client:
                await client.until(lambda one: one.last("ping"))
                names = [one.name for one in client.said]
                assert names[:3] == ["reset", "run", "experiment"]
                assert client.said[-1].id == client.said[2].id
                with database.writing() as session:  # as a backup that is put back
                    session.execute(update(ChangeCounter).values(value=1))
                await client.until(lambda one: [said.name for said in one.said].count("reset") == 2)
            with database.writing() as session:
                old = utc_now() - timedelta(days=2)
                session.add(Tombstone(id="exp_1", kind="experiment", at=old))
            async with watching(app, "/events?after=1") as client:
                assert (await client.until(lambda one: one.said))[0].name == "reset"

    asyncio.run(work())


def test_wherever_a_stream_is_cut_its_sequel_says_the_rest_and_nothing_that_was_whole(
    settings: Settings, database: Database
) -> None:
    """What a client knows at the end, cut anywhere any number of times, is the state; and no change is told twice of
    which it has had the last event.
    """

    async def work() -> None:
        async with service(settings) as app:
            experiment = submit(database, seeds=2)
            path = f"/events?experiments={experiment.id}"
            async with watching(app, path) as client:
                leases = [claim(database), claim(database)]
                for epoch in (1, 2, 3):
                    train(database, leases[epoch % 2], epoch)
                    await client.until(partial(told, epoch=epoch))
                await client.until(lambda one: one.said[-1].id)
                whole = bytes(client.content)
            final = state(parsed(whole))
            sequels: dict[int, list[Said]] = {}
            for cut in range(0, len(whole), 5):
                before = parsed(whole[:cut])
                seen = max((one.id for one in before if one.id is not None), default=0)
                if seen not in sequels:
                    async with watching(app, path, last_event_id=str(seen)) as client:
                        sequels[seen] = await client.until(lambda one: one.said)
                after = sequels[seen]
                assert state([*before, *after]) == final
                known = [one for one in before if one.name == "run"][: num_whole(before)]
                assert [one for one in after if one in known] == [], "an epoch is told twice"
            assert len(sequels) >= 4

    def told(client: Client, epoch: int) -> bool:
        return any(one.name == "run" and one.data["epochs_done"] == epoch for one in client.said)

    def state(said: list[Said]) -> dict[str, Any]:
        known = {one.data["id"]: one.data for one in said if one.name in ("run", "experiment")}
        for one in known.values():
            one.pop("estimated_finish_at", None)  # of the moment at which it is read
        return known

    def num_whole(said: list[Said]) -> int:
        """How many of the runs' events belong to changes whose last event came."""
        upto = max((place for place, one in enumerate(said) if one.id is not None), default=-1)
        return sum(one.name == "run" for one in said[: upto + 1])

    asyncio.run(work())


async def answer(app: FastAPI, path: str) -> Any:
    client = Client(app, path)
    await client.task
    return json.loads(client.content)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


def test_who_watches_a_label_is_told_what_gets_and_loses_it_and_nobody_else_is(
    settings: Settings, database: Database
) -> None:
    def label(one: Experiment, value: str | None) -> None:
        with database.writing() as session:
            found = session.get_one(Experiment, one.id)
            steering.edit(session, found, {"labels": {"week": value}})

    async def work() -> None:
        async with (
            service(settings) as app,
            watching(app, "/events?after=now") as of_all,
            watching(app, "/events?label=week:3&owner=local") as of_label,
        ):
            one, theirs = submit(database, seeds=2), submit(database, "ada")
            label(one, "3")
            await of_label.until(lambda client: client.last("experiment"))
            assert [said.name for said in of_label.said if said.data.get("id") != one.id][-2:] == [
                "run",
                "run",
            ]
            assert of_label.last("experiment")["labels"] == {"week": "3"}
            assert theirs.id not in of_label.content.decode()
            label(one, None)
            await of_label.until(lambda client: client.last("left") == {"id": one.id})
            assert of_label.said[-1].id is not None
            await of_all.until(lambda client: client.last("experiment")["labels"] == {})
            label(theirs, "3")
            await of_all.until(lambda client: client.last("experiment")["labels"] == {"week": "3"})
            assert "left" not in {said.name for said in of_all.said}
            assert sum(said.name == "run" for said in of_all.said) == 3
            for query in (
                "label=week",
                "label=week:3&study=stu_1",
                "label=week:3&experiments=exp_1",
            ):
                refused = Client(app, f"/events?{query}")
                await refused.until(lambda client: client.is_whole)
                assert refused.status == 422, query

    asyncio.run(work())
