"""Webhooks over HTTP, whose they are, and what they are told of: each end once, and nothing that has not ended."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.roles import Role
from app.services import lifecycle
from app.services.experiments import deletion, experiments, steering
from app.services.owners import keys
from app.services.webhooks import deliveries, messages, occurrences, schedule, turns, webhooks
from app.services.webhooks.deliveries import KEPT, Due
from app.services.webhooks.messages import EventType
from app.services.webhooks.schedule import Attempted
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, WebhookDelivery, utc_now
from tests.app.people import caller
from tests.app.rows import create
from tests.app.studies import fail_next, finish, grid, send

URL = "https://example.org/hook"
SMALL = {"dataset": "digits", "epochs": 1}
TAKEN = Attempted(200, "ok")
REFUSED = Attempted(500, "no")


def make(api: TestClient, **more: Any) -> dict[str, Any]:
    answer = api.post("/webhooks", json={"url": URL, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/webhooks/{answer.json()['id']}"
    made: dict[str, Any] = answer.json()
    return made


def submit(database: Database, owner: str = "local", **more: Any) -> tuple[str, list[str]]:
    with database.writing() as session:
        experiment = create(session, {**SMALL, **more}, owner)
        return experiment.id, [run.id for run in experiments.its_runs(session, experiment.id)]


def cancel(database: Database, run_ids: list[str]) -> None:
    with database.writing() as session:
        lifecycle.cancel(session, run_ids)


def tell(database: Database, settings: Settings) -> list[tuple[str, str]]:
    """As the sender does it; what was told, by type and subject."""
    with database.reading() as session:
        told, found = turns.told(session), occurrences.since(session, turns.told(session))
        number = max([told, *(one.number for one in found)])
    with database.writing() as session:
        webhooks.tell(session, settings, found)
        turns.has_told(session, number)
    return [(one.type, one.id) for one in found]


def told_to(api: TestClient, made: dict[str, Any]) -> list[dict[str, Any]]:
    """Its deliveries, the oldest first."""
    data = api.get(f"/webhooks/{made['id']}/deliveries").json()["data"]
    return list(reversed(data))


def due(database: Database) -> list[Due]:
    with database.reading() as session:
        return deliveries.due(session, utc_now(), [], [], 100)


def record(database: Database, tried: Due, attempted: Attempted) -> None:
    with database.writing() as session:
        deliveries.record(session, tried, attempted, utc_now())


def make_due(database: Database) -> None:
    """Let the time until the next tries go by."""
    with database.writing() as session:
        waiting = select(WebhookDelivery).where(col(WebhookDelivery.due_at).is_not(None))
        for delivery in session.exec(waiting):
            delivery.due_at = utc_now() - timedelta(seconds=1)


def test_a_webhook_is_made_read_changed_and_deleted_and_its_secret_shown_once(
    api: TestClient,
) -> None:
    made = make(api, labels={"week": 3}, events=["study.finished"])
    assert re.fullmatch(r"whk_[0-9a-z]{13}", made["id"])
    assert re.fullmatch(r"whsec_[\w+/]{43}=", made["secret"])
    assert made["labels"] == {"week": "3"}
    assert made["service_url"] == "http://testserver"
    shown = {**made, "secret": None}
    assert api.get(f"/webhooks/{made['id']}").json() == shown
    assert api.get("/webhooks").json() == {"data": [shown]}
    changed = api.patch(
        f"/webhooks/{made['id']}",
        json={
            "url": "https://example.net",
            "events": ["experiment.failed"],
            "format": "slack",
            "labels": {},
            "service_url": "https://lab.example.org/",
        },
    ).json()
    assert changed == shown | {
        "url": "https://example.net/",
        "events": ["experiment.failed"],
        "format": "slack",
        "labels": {},
        "service_url": "https://lab.example.org",
    }
    another = api.patch(f"/webhooks/{made['id']}", json={"secret": None}).json()["secret"]
    assert another.startswith("whsec_")
    assert another != made["secret"]
    own = "whsec_" + "A" * 32
    assert api.patch(f"/webhooks/{made['id']}", json={"secret": own}).json()["secret"] == own
    assert api.delete(f"/webhooks/{made['id']}").status_code == 204
    for method, path in (("get", ""), ("get", "/deliveries"), ("post", "/test"), ("delete", "")):
        assert api.request(method, f"/webhooks/{made['id']}{path}").status_code == 404
    assert api.get("/webhooks").json() == {"data": []}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": "http://127.0.0.1/"}, "/url"),
        ({"url": "https://ann:pw@example.org/"}, "/url"),
        ({"url": URL, "secret": "short"}, "/secret"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["experiment.exploded"]}, "/events/0"),
        ({"url": URL, "events": ["study.finished", "study.finished"]}, "/events"),
        ({"url": URL, "format": "teams"}, "/format"),
        ({"url": URL, "service_url": "lab"}, "/service_url"),
        ({"url": URL, "lables": {}}, "/lables"),
    ],
)
def test_a_bad_webhook_is_refused_by_a_pointer(
    api: TestClient, body: dict[str, Any], pointer: str
) -> None:
    answer = api.post("/webhooks", json=body)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert api.get("/webhooks").json() == {"data": []}


def test_private_addresses_need_a_setting(api: TestClient, settings: Settings) -> None:
    refused = api.post("/webhooks", json={"url": "http://192.168.0.7:8080/"})
    assert "LAB_WEBHOOK_PRIVATE=true" in refused.json()["detail"]
    api.app.state.settings = settings.model_copy(update={"webhook_private": True})  # type: ignore[attr-defined]
    assert make(api, url="http://192.168.0.7:8080/")["url"] == "http://192.168.0.7:8080/"


def test_an_owner_has_so_many_and_no_more(api: TestClient, settings: Settings) -> None:
    api.app.state.settings = settings.model_copy(update={"max_webhooks_per_owner": 1})  # type: ignore[attr-defined]
    make(api)
    refused = api.post("/webhooks", json={"url": URL})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_webhooks")
    assert "LAB_MAX_WEBHOOKS_PER_OWNER" in refused.json()["detail"]


def test_each_end_is_told_once_with_what_the_record_says(
    api: TestClient, database: Database, settings: Settings
) -> None:
    early, runs = submit(database)
    cancel(database, runs)
    made = make(api)
    failing, _ = submit(database, name="diverges & <breaks>")
    cancelled, runs = submit(database, seeds=2)
    assert tell(database, settings) == []
    fail_next(database)
    cancel(database, runs[:1])
    assert tell(database, settings) == [("experiment.failed", failing)]
    cancel(database, runs[1:])
    assert tell(database, settings) == [("experiment.cancelled", cancelled)]
    with database.writing() as session:  # what ends nothing
        steering.edit(session, session.get_one(Experiment, failing), {"labels": {"seen": "yes"}})
    assert tell(database, settings) == []
    first, second = told_to(api, made)
    assert [first["subject_id"], second["subject_id"]] == [failing, cancelled]
    assert (first["status"], first["tries"], first["type"]) == ("pending", 0, "experiment.failed")
    with database.reading() as session:
        row = session.get_one(WebhookDelivery, first["id"])
    document = json.loads(row.body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document.pop("timestamp"))
    assert document == {
        "type": "experiment.failed",
        "data": {
            "id": failing,
            "status": "failed",
            "name": "diverges & <breaks>",
            "page": f"http://testserver/ui/experiments/{failing}",
        },
    }
    assert api.get(document["data"]["page"]).status_code == 200
    assert early not in row.body


def test_a_retry_makes_another_end_of_it_and_a_restored_database_the_same_one(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = make(api)
    experiment_id, runs = submit(database)
    fail_next(database)
    with database.reading() as session:
        before = turns.told(session)
    assert tell(database, settings) == [("experiment.failed", experiment_id)]
    with database.writing() as session:  # as where a crash came before it was written down
        turns.has_told(session, before)
    assert tell(database, settings) == [("experiment.failed", experiment_id)]
    assert len(told_to(api, made)) == 1
    with database.writing() as session:
        lifecycle.retry(session, runs)
    assert tell(database, settings) == []
    fail_next(database)
    assert tell(database, settings) == [("experiment.failed", experiment_id)]
    assert len({one["id"] for one in told_to(api, made)}) == 2


def test_a_study_is_finished_when_all_its_runs_have_ended(
    api: TestClient, database: Database, settings: Settings
) -> None:
    of_studies = make(api, events=["study.finished"], labels={"week": "3"})
    of_week_4 = make(api, labels={"week": "4"})
    study = send(api, **grid(labels={"week": "3"}, name="depths"))
    cancel(database, submit(database)[1])
    tell(database, settings)
    assert told_to(api, of_studies) == []
    finish(database, settings, study["id"], {})
    assert tell(database, settings)[-1] == ("study.finished", study["id"])
    (one,) = told_to(api, of_studies)
    with database.reading() as session:
        document = json.loads(session.get_one(WebhookDelivery, one["id"]).body)
    assert document["data"] == {
        "id": study["id"],
        "status": "succeeded",
        "name": "depths",
        "page": f"http://testserver/ui/studies/{study['id']}",
    }
    assert api.get(document["data"]["page"]).status_code == 200
    assert told_to(api, of_week_4) == []


def test_what_was_deleted_before_it_was_told_is_not_told(
    api: TestClient, database: Database, settings: Settings
) -> None:
    make(api)
    gone, runs = submit(database)
    cancel(database, runs)
    with database.writing() as session:
        deletion.delete(session, session.get_one(Experiment, gone))
    assert tell(database, settings) == []


def test_with_keys_each_owner_has_and_hears_of_their_own(
    api: TestClient, database: Database, settings: Settings
) -> None:
    ann, bob = caller(api, database, "ann"), caller(api, database, "bob")
    admin = caller(api, database, "root", Role.ADMIN)
    reader = caller(api, database, "watch", Role.READ)
    of_ann, of_bob = make(ann), make(bob)
    of_all = make(admin, all_owners=True)
    assert ann.post("/webhooks", json={"url": URL, "all_owners": True}).status_code == 403
    assert reader.post("/webhooks", json={"url": URL}).status_code == 403
    assert [one["id"] for one in ann.get("/webhooks").json()["data"]] == [of_ann["id"]]
    assert reader.get("/webhooks").json() == {"data": []}
    assert len(admin.get("/webhooks").json()["data"]) == 3
    for stranger in (bob, reader):
        assert stranger.get(f"/webhooks/{of_ann['id']}").status_code == 404
        assert stranger.get(f"/webhooks/{of_ann['id']}/deliveries").status_code == 404
    assert bob.delete(f"/webhooks/{of_ann['id']}").status_code == 404
    # another key of an admin's owner cannot turn what is everybody's elsewhere
    assert caller(api, database, "root").get(f"/webhooks/{of_all['id']}").status_code == 404
    experiment_id, runs = submit(database, "ann")
    cancel(database, runs)
    tell(database, settings)
    assert [one["subject_id"] for one in told_to(ann, of_ann)] == [experiment_id]
    assert told_to(bob, of_bob) == []
    assert [one["subject_id"] for one in told_to(admin, of_all)] == [experiment_id]


def test_who_has_no_key_any_more_is_told_nothing_more(
    api: TestClient, database: Database, settings: Settings
) -> None:
    admin = caller(api, database, "root", Role.ADMIN)
    of_ann = make(caller(api, database, "ann"))
    caller(api, database, "chief", Role.ADMIN)
    of_chief = make(caller(api, database, "chief", Role.ADMIN), all_owners=True)
    with database.writing() as session:
        keys.revoke_keys_of(session, "ann")
        keys.revoke_keys_of(session, "chief")
        keys.create_key(session, "chief", Role.SUBMIT)
        webhooks.disable_unentitled(session, settings)
    for made in (of_ann, of_chief):
        shown = admin.get(f"/webhooks/{made['id']}").json()
        assert (shown["enabled"], shown["disabled_reason"]) == (False, webhooks.WITHOUT_KEY)
    _, runs = submit(database, "ann")
    cancel(database, runs)
    tell(database, settings)
    assert told_to(admin, of_ann) == []
    assert told_to(admin, of_chief) == []


def test_a_delivery_that_fails_is_tried_six_times_and_its_webhook_then_disabled(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = make(api)
    _, runs = submit(database)
    cancel(database, runs)
    tell(database, settings)
    ids = set()
    for wait in (*schedule.RETRY_AFTER, None):
        (tried,) = due(database)
        ids.add(tried.id)
        began = utc_now()
        record(database, tried, REFUSED)
        (shown,) = told_to(api, made)
        assert (shown["http_status"], shown["answer"]) == (500, "no")
        if wait is not None:
            with database.reading() as session:
                next_try = session.get_one(WebhookDelivery, tried.id).due_at
            assert next_try is not None
            assert wait <= next_try - began <= wait + timedelta(minutes=1)
            assert due(database) == []
            make_due(database)
    assert (shown["status"], shown["tries"], shown["next_try_at"]) == ("failed", 6, None)
    assert len(ids) == 1
    webhook = api.get(f"/webhooks/{made['id']}").json()
    assert not webhook["enabled"]
    assert webhook["disabled_reason"] == "6 tries have failed, the last with: status 500"
    assert api.post(f"/webhooks/{made['id']}/test").json()["code"] == "webhook_disabled"
    again = f"/webhooks/{made['id']}/deliveries/{tried.id}/redeliver"
    assert api.post(again).status_code == 409
    assert api.patch(f"/webhooks/{made['id']}", json={"enabled": True}).json()["enabled"]
    assert api.post(again).json()["tries"] == 0
    record(database, due(database)[0], TAKEN)
    assert told_to(api, made)[0]["status"] == "succeeded"


def test_what_is_refused_while_others_are_taken_disables_nothing(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = make(api)
    for _ in range(2):
        _, runs = submit(database)
        cancel(database, runs)
    tell(database, settings)
    bad, good = (one["id"] for one in told_to(api, made))
    first = due(database)[0]
    record(database, first, REFUSED)
    second = due(database)[0]
    assert {first.id, second.id} == {bad, good}
    record(database, second, TAKEN)
    for _ in range(5):
        make_due(database)
        (tried,) = due(database)
        assert tried.id == first.id
        record(database, tried, REFUSED)
    statuses = {one["id"]: (one["status"], one["tries"]) for one in told_to(api, made)}
    assert statuses == {first.id: ("failed", 6), second.id: ("succeeded", 1)}
    assert api.get(f"/webhooks/{made['id']}").json()["enabled"]


def test_410_disables_at_once_and_drops_what_waits(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = make(api)
    for _ in range(3):
        _, runs = submit(database)
        cancel(database, runs)
    tell(database, settings)
    record(database, due(database)[0], Attempted(410, "gone"))
    shown = api.get(f"/webhooks/{made['id']}").json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, schedule.GONE_REASON)
    assert shown["waiting"] == 0
    assert sorted(one["status"] for one in told_to(api, made)) == ["dropped", "dropped", "failed"]
    assert due(database) == []


def test_a_disabled_webhook_is_told_of_what_ends_after_it_is_enabled_again(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = make(api)
    assert not api.patch(f"/webhooks/{made['id']}", json={"enabled": False}).json()["enabled"]
    _, runs = submit(database)
    cancel(database, runs)
    api.patch(f"/webhooks/{made['id']}", json={"enabled": True})
    later, runs = submit(database)
    cancel(database, runs)
    tell(database, settings)
    assert [one["subject_id"] for one in told_to(api, made)] == [later]


def test_the_last_fifty_are_kept_and_whatever_waits(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = make(api)
    for _ in range(KEPT + 5):
        api.post(f"/webhooks/{made['id']}/test")
    assert api.get(f"/webhooks/{made['id']}").json()["waiting"] == KEPT + 5
    while due(database):
        record(database, due(database)[0], TAKEN)
    with database.reading() as session:
        assert len(session.exec(select(WebhookDelivery)).all()) == KEPT
    assert len(told_to(api, made)) == KEPT


def test_with_too_many_that_wait_it_is_disabled(
    api: TestClient, database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "MOST_WAITING", 2)
    made = make(api)
    for _ in range(4):
        _, runs = submit(database)
        cancel(database, runs)
    tell(database, settings)
    shown = api.get(f"/webhooks/{made['id']}").json()
    assert (shown["enabled"], shown["disabled_reason"]) == (
        False,
        "2 deliveries wait, which is the most",
    )


def test_of_each_webhook_and_owner_only_so_much_is_due_at_a_time(
    api: TestClient, database: Database, settings: Settings
) -> None:
    first, second = make(api), make(api)
    for _ in range(2):
        _, runs = submit(database)
        cancel(database, runs)
    tell(database, settings)
    assert {one.webhook_id for one in due(database)} == {first["id"], second["id"]}
    with database.reading() as session:
        now = utc_now()
        assert len(deliveries.due(session, now, [], [], 1)) == 1
        (other,) = deliveries.due(session, now, [first["id"]], [], 9)
        assert other.webhook_id == second["id"]
        assert deliveries.due(session, now, [], ["local"], 9) == []


def test_what_was_deleted_while_it_was_tried_is_written_down_nowhere(
    api: TestClient, database: Database
) -> None:
    made = make(api)
    api.post(f"/webhooks/{made['id']}/test")
    (tried,) = due(database)
    api.delete(f"/webhooks/{made['id']}")
    record(database, tried, TAKEN)
    with database.reading() as session:
        assert session.exec(select(WebhookDelivery)).all() == []


def test_a_chat_is_told_in_words_and_a_name_is_no_markup(database: Database) -> None:
    occurrence = messages.Occurrence(
        type=EventType.EXPERIMENT_FAILED,
        id="exp_1",
        status=occurrences.RunStatus.FAILED,
        name="<!channel> a|b & @everyone\n<https://evil.example|click>",
        owner="local",
        at=utc_now(),
        number=1,
    )
    text = json.loads(messages.body_of(occurrence, "slack", "https://lab.example"))["text"]
    assert text == (
        "Experiment <https://lab.example/ui/experiments/exp_1|&lt;!channel&gt; a b &amp; @\u200beveryone"
        " &lt;https://evil.example click&gt;> failed"
    )
    assert set(json.loads(messages.test_body("whk_1", utc_now(), "slack", "https://x"))) == {"text"}


def test_a_test_is_tried_once_and_disables_nothing(api: TestClient, database: Database) -> None:
    made = make(api)
    answer = api.post(f"/webhooks/{made['id']}/test")
    assert (answer.status_code, answer.json()["type"]) == (202, "webhook.test")
    record(database, due(database)[0], REFUSED)
    assert due(database) == []
    assert told_to(api, made)[0]["status"] == "failed"
    assert api.get(f"/webhooks/{made['id']}").json()["enabled"]
    unknown = api.post(f"/webhooks/{made['id']}/deliveries/msg_none/redeliver")
    assert unknown.status_code == 404


def test_a_second_first_webhook_reads_from_where_it_was_made(
    api: TestClient, database: Database
) -> None:
    """Years of changes that nobody asked for are not read."""

    def told(session: Session) -> int:
        return turns.told(session)

    submit(database)
    with database.reading() as session:
        assert told(session) == 0
    make(api)
    with database.reading() as session:
        before = told(session)
    assert before > 0
    submit(database)
    make(api)
    with database.reading() as session:
        assert told(session) == before
