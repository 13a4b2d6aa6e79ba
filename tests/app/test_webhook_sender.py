"""The one that sends, with receivers on loopback: what is told arrives, whoever is slow, fails or takes over."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.main import create_app
from app.sender import posting
from app.sender.sender import Sender
from app.services.webhooks import schedule, turns
from app.settings import Settings
from app.storage.db import Database
from tests.app.receivers import Receiver, hangs, receiving, reset, sending, status, wait_until
from tests.app.test_webhooks import cancel, submit, told_to
from tests.databases import ON_POSTGRESQL
from tests.e2e.service import free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "webhooks.md"
SOON = tuple(timedelta(milliseconds=milliseconds) for milliseconds in (10, 20, 30, 40, 50))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_private": True, "lease_seconds": 1.0})


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "RETRY_AFTER", SOON)


def hook(api: TestClient, url: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def shown(api: TestClient, made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/webhooks/{made['id']}").json()
    return found


def end_one(database: Database) -> str:
    experiment_id, runs = submit(database)
    cancel(database, runs)
    return experiment_id


def test_an_end_is_told_with_a_signature_that_the_standards_library_verifies(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    library = pytest.importorskip(
        "standardwebhooks", reason="the library of Standard Webhooks is not installed"
    )
    made = hook(api, receiver.url())
    with sending(database, settings):
        ended = end_one(database)
        (received,) = wait_until(lambda: receiver.received, "it is told")
        wait_until(lambda: told_to(api, made)[0]["status"] == "succeeded", "it is written down")
    document = library.Webhook(made["secret"]).verify(received.body, received.headers)
    assert (document["type"], document["data"]["id"]) == ("experiment.cancelled", ended)
    assert received.id == told_to(api, made)[0]["id"]
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("training-lab/")
    assert shown(api, made)["last_success_at"] is not None


def test_each_try_has_the_same_id_until_one_is_taken(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    answers = [status(500, b"no"), reset, status(307, b"", Location="/x"), status(204, b"")]
    receiver.answers["/hook"] = lambda handler: answers.pop(0)(handler)
    made = hook(api, receiver.url())
    with sending(database, settings):
        end_one(database)
        wait_until(lambda: [d["status"] for d in told_to(api, made)] == ["succeeded"], "taken")
    assert len(receiver.received) == 4
    assert len({one.id for one in receiver.received}) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert told_to(api, made)[0]["tries"] == 4


def test_who_answers_410_or_fails_to_the_end_is_disabled_and_others_are_told(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    receiver.answers |= {"/gone": status(410), "/broken": status(503, b"down for good")}
    gone, broken, good = (hook(api, receiver.url(f"/{one}")) for one in ("gone", "broken", "good"))
    with sending(database, settings):
        end_one(database)
        wait_until(lambda: not shown(api, broken)["enabled"], "it is disabled")
        end_one(database)
        wait_until(lambda: len(receiver.at("/good")) == 2, "others are told")
    assert shown(api, gone)["disabled_reason"] == schedule.GONE_REASON
    assert len(receiver.at("/gone")) == 1
    assert "status 503" in shown(api, broken)["disabled_reason"]
    assert len(receiver.at("/broken")) == schedule.MOST_TRIES
    assert shown(api, good)["enabled"]


def test_slow_receivers_hold_up_neither_others_nor_requests(
    api: TestClient,
    database: Database,
    settings: Settings,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many as an owner may keep busy hang for longer than the test."""
    monkeypatch.setattr(posting, "SECONDS", 60.0)
    receiver.answers["/slow"] = hangs(receiver)
    slow = [hook(api, receiver.url("/slow")) for _ in range(3)]
    good = hook(api, receiver.url("/good"))
    with sending(database, settings):
        for _ in range(3):
            end_one(database)
        wait_until(lambda: len(receiver.at("/good")) == 3, "the other one is told of all")
        assert api.get("/readyz").status_code in (200, 503)
        assert len(receiver.at("/slow")) == len(slow)  # of each webhook one at a time
        receiver.closing.set()
    assert shown(api, good)["waiting"] == 0


def test_of_several_that_could_one_sends_and_another_goes_on_when_it_leaves(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    made = hook(api, receiver.url())

    def holder() -> str | None:
        with database.reading() as session:
            return turns.look(session).holder

    with sending(database, settings, "first"):
        wait_until(lambda: holder() == "first", "the first sends")
        with sending(database, settings, "second"):
            end_one(database)
            wait_until(lambda: shown(api, made)["waiting"] == 0 and receiver.received, "told")
            assert holder() == "first"
    with sending(database, settings, "third"):
        wait_until(lambda: holder() == "third", "another one takes over at once")
        end_one(database)
        wait_until(lambda: len(receiver.received) == 2, "told")
    assert len({one.id for one in receiver.received}) == 2


def test_one_that_wakes_after_its_lease_writes_nothing_and_the_next_tells_the_same_again(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    """The first stands still while its receiver has the message; the second takes over and delivers; what the first
    then learns is not written down.
    """
    made = hook(api, receiver.url())
    has_it, goes_on = threading.Event(), threading.Event()

    def keeps(handler: Any) -> None:
        if len(receiver.received) == 1:
            has_it.set()
            goes_on.wait(20)
            status(500)(handler)
        else:
            status(200)(handler)

    receiver.answers["/hook"] = keeps
    with sending(database, settings, "first") as first:
        end_one(database)
        assert has_it.wait(20)
        stand_still(first)
        with sending(database, settings, "second"):
            wait_until(lambda: len(receiver.received) == 2, "the second delivers it again")
            wait_until(lambda: shown(api, made)["waiting"] == 0, "and writes it down")
            goes_on.set()
            wait_until(lambda: not first._busy, "the first hears of its answer")
    (delivery,) = told_to(api, made)
    assert (delivery["status"], delivery["tries"]) == ("succeeded", 1)
    assert len({one.id for one in receiver.received}) == 1


def stand_still(sender: Sender) -> None:
    """It looks no more, and so gives no sign of life: as a process that is stopped."""
    sender._look = lambda: (True, [])  # type: ignore[method-assign]


def test_while_nothing_can_be_written_nothing_is_sent_twice(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    busy = Database(settings.effective_database_url, busy_seconds=0.2)
    blocked, free = threading.Event(), threading.Event()

    def takes_while_blocked(handler: Any) -> None:
        blocked.set()
        assert free.wait(20)
        status(200)(handler)

    receiver.answers["/hook"] = takes_while_blocked
    made = hook(api, receiver.url())
    with sending(busy, settings) as sender:
        end_one(database)
        assert blocked.wait(20)
        with the_row_held(database):
            free.set()
            wait_until(lambda: sender._trouble._written_at > 0, "it could not be written down")
        wait_until(lambda: shown(api, made)["waiting"] == 0, "it is written down after all")
    assert len(receiver.received) == 1
    busy.close()


@contextmanager
def the_row_held(database: Database) -> Iterator[None]:
    """Within the block somebody else holds what every sender writes first."""
    lock = "LOCK TABLE webhook_sender IN EXCLUSIVE MODE" if ON_POSTGRESQL else "SELECT 1"
    with database.engine.connect() as connection:  # SQLite's transaction begins as a writer's
        connection.execute(text(lock))
        yield
        connection.rollback()


def test_with_nobody_to_tell_it_ends_by_itself(
    api: TestClient, database: Database, settings: Settings, receiver: Receiver
) -> None:
    with sending(database, settings) as nobody:
        wait_until(lambda: nobody._thread._work_queue.empty() and not nobody._tries, "it ends")
    made = hook(api, receiver.url())
    off = settings.model_copy(update={"max_webhooks_per_owner": 0})
    end_one(database)
    with sending(database, off):
        pass
    assert receiver.received == []
    assert told_to(api, made) == []


def test_the_receiver_of_the_document_takes_what_is_genuine_and_nothing_else(
    api: TestClient, database: Database, settings: Settings
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    url = f"http://127.0.0.1:{free_port()}/"
    made = hook(api, url)
    environment = {"WEBHOOK_SECRET": made["secret"], "PORT": url.rpartition(":")[2].strip("/")}
    receiver = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    forged = {"webhook-timestamp": "1764470000", "webhook-signature": "v1,bm8="}
    try:
        wait_until(lambda: refuses(url, {}), "it listens")
        assert refuses(url, forged)
        with sending(database, settings):
            api.post(f"/webhooks/{made['id']}/test")
            (test,) = wait_until(
                lambda: [one for one in told_to(api, made) if one["tries"]], "the test is told"
            )
    finally:
        receiver.terminate()
        said, _ = receiver.communicate()
    assert (test["status"], test["http_status"]) == ("succeeded", 204)
    assert said.splitlines()[:2] == ["not from the service"] * 2
    assert '"type":"webhook.test"' in said.splitlines()[2]


def refuses(url: str, headers: dict[str, str]) -> bool:
    try:
        return httpx.post(url, content=b"{}", headers=headers).status_code == 400
    except httpx.TransportError:
        return False
