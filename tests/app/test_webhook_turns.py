"""Of several processes that could send one does; whatever is killed when, each end is told, under one id."""

import json
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.sender.posting import Poster
from app.sender.sender import Sender
from app.services.webhooks import schedule
from app.services.webhooks.deliveries import Due
from app.services.webhooks.schedule import Attempted
from app.services.webhooks.turns import NotItsTurn, SeenTurn, TurnWatch
from app.settings import Settings
from app.storage.db import Database
from tests.app.test_webhooks import cancel, make, make_due, submit, told_to

LEASE = 10.0
SENDERS = 2
STEPS = st.one_of(
    st.just(("ends", 0, "")),
    st.just(("time goes by", 0, "")),
    st.tuples(
        st.just("looks"),
        st.integers(0, SENDERS - 1),
        st.sampled_from(["taken", "refused", "killed before it tries", "killed before it writes"]),
    ),
    st.tuples(st.just("is killed"), st.integers(0, SENDERS - 1), st.just("")),
)


class World:
    """Two senders on one database, a clock by which they judge each other, and what a receiver has got."""

    def __init__(self, api: TestClient, database: Database, settings: Settings) -> None:
        self.api, self.database = api, database
        self.settings = settings.model_copy(update={"lease_seconds": LEASE})
        self.now = 0.0
        self.ended: list[str] = []
        self.received: list[tuple[str, str]] = []
        self.senders = [self.fresh(number) for number in range(SENDERS)]
        self.webhook = make(api)

    def fresh(self, number: int) -> Sender:
        poster: Any = Poster.__new__(Poster)  # nothing is sent by it here
        sender = Sender(self.database, self.settings, poster, f"sender {number}")
        sender._watch = TurnWatch(LEASE, lambda: self.now)
        return sender

    def do(self, what: str, number: int, outcome: str) -> None:
        match what:
            case "ends":
                experiment_id, runs = submit(self.database)
                cancel(self.database, runs)
                self.ended.append(experiment_id)
            case "time goes by":
                self.now += LEASE
                make_due(self.database)
            case "is killed":
                self.senders[number] = self.fresh(number)
            case _:
                self.look(number, outcome)

    def look(self, number: int, outcome: str) -> None:
        sender = self.senders[number]
        try:
            _, due = sender._look()
            for one in due:
                self.attempt(sender, one, outcome)
        except NotItsTurn:
            sender._fence = None
        except InterruptedError:
            self.senders[number] = self.fresh(number)

    def attempt(self, sender: Sender, due: Due, outcome: str) -> None:
        if outcome == "killed before it tries":
            raise InterruptedError
        subject = json.loads(due.body)["data"]["id"]
        assert subject in self.ended, "it was committed that it has ended"
        self.received.append((subject, due.id))
        if outcome == "killed before it writes":
            raise InterruptedError
        refused = outcome == "refused" and self.tries(due) < schedule.MOST_TRIES - 1
        sender._record(due, Attempted(500) if refused else Attempted(200))

    def tries(self, due: Due) -> int:
        return next(d["tries"] for d in told_to(self.api, self.webhook) if d["id"] == due.id)


@bounds(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(STEPS, min_size=4, max_size=16))
def test_whoever_sends_or_dies_when_each_end_is_told(
    api: TestClient, database: Database, settings: Settings, steps: list[tuple[str, int, str]]
) -> None:
    world = World(api, database, settings)
    for step in steps:
        world.do(*step)
    world.do("ends", 0, "")
    for _ in range(3 * len(world.ended) + 6):
        world.do("time goes by", 0, "")
        world.do("looks", 0, "taken")
    assert {subject for subject, _ in world.received} == set(world.ended)
    assert len(set(world.received)) == len(world.ended), "one id for one end"
    assert {d["status"] for d in told_to(api, world.webhook)} == {"succeeded"}
    assert api.delete(f"/webhooks/{world.webhook['id']}").status_code == 204


@given(
    st.lists(
        st.tuples(st.floats(0, 2 * LEASE), st.booleans(), st.sampled_from([None, "another"])),
        max_size=20,
    )
)
def test_a_turn_is_free_only_without_a_holder_or_after_a_lease_of_silence(
    looks: list[tuple[float, bool, str | None]],
) -> None:
    now, heartbeat, silent_since = 0.0, 0, None
    watch = TurnWatch(LEASE, lambda: now)
    for passes, beats, holder in looks:
        now += passes
        heartbeat += beats
        if holder is None:
            assert watch.is_free(SeenTurn(holder, 1, heartbeat))
            continue
        if silent_since is None or beats or silent_since[0] != heartbeat:
            silent_since = (heartbeat, now)
        assert watch.is_free(SeenTurn(holder, 1, heartbeat)) == (now - silent_since[1] >= LEASE)
    watch.forget()
    assert not watch.is_free(SeenTurn("another", 1, heartbeat))
