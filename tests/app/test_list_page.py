"""The list of experiments as a page, without a browser: its small curves, what is asked of many at once, the wall."""

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import event, update
from sqlmodel import col
from starlette.testclient import TestClient

from app.main import create_app
from app.pages.many import MANY_VERBS, MOST_PICKED
from app.pages.sparklines import HEIGHT, MARGIN, WIDTH, sparkline
from app.pages.words import number, sentence
from app.roles import Role
from app.services.experiments.metrics import record_epoch
from app.services.experiments.recent_losses import EPOCHS, RecentLoss, RecentLosses
from app.settings import Settings
from app.storage.db import Database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Run
from tests.app.people import caller
from tests.app.studies import finish_all
from tests.app.test_pages import text_of

REASONS = {
    RunStatus.QUEUED: StatusReason.WAITING_FOR_WORKER,
    RunStatus.RUNNING: StatusReason.TRAINING,
    RunStatus.PAUSED: StatusReason.PAUSED_BY_USER,
    RunStatus.SUCCEEDED: StatusReason.COMPLETED,
    RunStatus.FAILED: StatusReason.TRAINING_FAILED,
}


ERROR = {"code": "training_failed", "message": "it failed"}


def made(api: TestClient, name: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/experiments", json={"name": name, "dataset": "digits", **more})
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def train(database: Database, run_id: str, losses: list[float], attempt: int = 1) -> None:
    """As a worker writes it, an epoch each."""
    with database.writing() as session:
        for epoch, loss in enumerate(losses, 1):
            record_epoch(
                session,
                run_id,
                epoch,
                {"val": {"loss": loss, "accuracy": 0.5}, "train": {"loss": 9.0}},
            )
        session.execute(
            update(Run)
            .where(col(Run.id) == run_id)
            .values(epochs_done=len(losses), attempt=attempt)
        )


def put(database: Database, record: dict[str, Any], status: RunStatus) -> None:
    with database.writing() as session:
        session.execute(
            update(Run)
            .where(col(Run.experiment_id) == record["id"])
            .values(
                status=status,
                status_reason=REASONS[status],
                error=ERROR if status is RunStatus.FAILED else None,
            )
        )


def row_of(page: str, experiment_id: str) -> str:
    found = re.search(f'<tr id="{experiment_id}".*?</tr>', page, re.DOTALL)
    assert found is not None
    return unescape(found.group())


def outcomes(answer: Any) -> list[str]:
    """What is said of each, the refused ones first."""
    assert answer.status_code == 200, answer.text
    said = re.search('<div id="said".*?</ul>', answer.text, re.DOTALL)
    assert said is not None
    return [text_of(one) for one in re.findall("<li.*?</li>", said.group(), re.DOTALL)]


# Small curves


def test_a_small_curve_is_the_mean_that_the_api_says(api: TestClient, database: Database) -> None:
    record = made(api, "curved", seeds=2, epochs=40)
    first, second = (run["id"] for run in record["runs"])
    train(database, first, [2.0 / epoch for epoch in range(1, 41)])
    train(database, second, [1.0 / epoch for epoch in range(1, 36)])
    over = api.get(
        f"/experiments/{record['id']}/metrics?format=columns&aggregate=seeds&after={40 - EPOCHS}"
    ).json()
    means = over["val"]["loss"]["mean"]
    row = row_of(api.get("/ui/experiments").text, record["id"])
    assert (
        f"Val loss from epoch 11 to 40, mean of 2 seeds: {number(means[0], 'loss')} to {number(means[-1], 'loss')},"
        f" lowest {number(min(means), 'loss')}"
    ) in row
    drawn = sparkline(RecentLoss(tuple(over["epochs"]), tuple(means), 2))
    assert f'<polyline points="{drawn.lines[0]}"/>' in row
    assert len(drawn.lines[0].split()) == EPOCHS == len(means)


def test_a_curve_that_is_not_there_is_not_drawn(api: TestClient, database: Database) -> None:
    waits, lost = made(api, "waits"), made(api, "lost")
    train(database, lost["runs"][0]["id"], [float("nan"), float("inf")])
    page = api.get("/ui/experiments").text
    assert "<polyline" not in row_of(page, waits["id"]) + row_of(page, lost["id"])


def test_points_lie_in_the_box_and_a_gap_is_a_gap() -> None:
    line = sparkline(RecentLoss((5, 6, 7, 8), (3.0, None, 1.0, 2.0), 1))
    right, bottom = float(WIDTH - MARGIN), float(HEIGHT - MARGIN)
    assert line.lines == ("2.0,2.0 2.0,2.0", f"58.0,{bottom} {right},10.0")
    assert "one seed" in line.said
    flat = sparkline(RecentLoss((1, 2), (4.0, 4.0), 3))
    assert flat.lines == (f"2.0,10.0 {right},10.0",)


def test_curves_of_a_page_take_two_statements_and_of_what_stands_still_one(
    api: TestClient, database: Database
) -> None:
    records = [made(api, f"number {number}", seeds=2) for number in range(6)]
    runs = [run["id"] for record in records for run in record["runs"]]
    for run_id in runs:
        train(database, run_id, [1.0, 0.5])
    asked: list[str] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: asked.append(statement),
    )
    losses = RecentLosses()

    def read() -> tuple[dict[str, RecentLoss], int]:
        asked.clear()
        with database.reading() as session:
            found = losses.of(session, [record["id"] for record in records])
        return found, sum("FROM" in statement for statement in asked)

    first, statements = read()
    assert (len(first), statements) == (6, 2)
    assert read() == (first, 1)
    train(database, runs[0], [1.0, 0.25], attempt=2)  # once more from the start, as many epochs
    again, statements = read()
    assert statements == 2
    assert again[records[0]["id"]].means == (1.0, 0.375)
    assert {**again, records[0]["id"]: None} == {**first, records[0]["id"]: None}


# What is asked of many


def test_each_of_many_is_asked_alone_and_said(api: TestClient, database: Database) -> None:
    waits, done, deleted = made(api, "waits"), made(api, "done"), made(api, "gone")
    put(database, done, RunStatus.SUCCEEDED)
    put(database, deleted, RunStatus.SUCCEEDED)
    api.delete(f"/experiments/{deleted['id']}")
    ids = [done["id"], waits["id"], deleted["id"]]
    answer = api.post("/ui/experiments/many?status=queued", data={"pick": ids, "verb": "pause"})
    assert "Pause: 1 done, 2 refused" in text_of(answer.text)
    assert 'href="/ui/experiments?status=queued"' in answer.text
    refused = api.post(f"/experiments/{done['id']}/pause").json()["detail"]
    now = api.get(f"/experiments/{waits['id']}").json()
    missing = api.get(f"/experiments/{deleted['id']}").json()["detail"]
    assert outcomes(answer) == [
        f"done : not done. {sentence(refused)}",
        f"{deleted['id']} : not done. {sentence(missing)}",
        f"waits : paused. {now['status_message']}",
    ]
    assert now["status"] == "paused"


@pytest.mark.parametrize(
    ("verb", "status", "after"),
    [
        ("cancel", RunStatus.QUEUED, "cancelled"),
        ("pause", RunStatus.QUEUED, "paused"),
        ("resume", RunStatus.PAUSED, "queued"),
        ("retry", RunStatus.FAILED, "queued"),
    ],
)
def test_a_verb_of_many_is_the_verb_of_one(
    api: TestClient, database: Database, verb: str, status: RunStatus, after: str
) -> None:
    records = [made(api, f"number {number}") for number in range(3)]
    for record in records:
        put(database, record, status)
    ids = [record["id"] for record in records]
    said = outcomes(api.post("/ui/experiments/many", data={"pick": ids[:2], "verb": verb}))
    assert len(said) == 2
    statuses = [api.get(f"/experiments/{one}").json()["status"] for one in ids]
    assert statuses == [after, after, status.value]


def test_labels_and_archives_of_many(api: TestClient) -> None:
    ids = [made(api, f"number {number}", labels={"by": "ada"})["id"] for number in range(2)]
    form = {"pick": ids, "verb": "label", "label": "week:3, note:<b>"}
    assert outcomes(api.post("/ui/experiments/many", data=form)) == [
        f"number {number} : It is labeled week:3, note:<b>." for number in range(2)
    ]
    labels = [api.get(f"/experiments/{one}").json()["labels"] for one in ids]
    assert labels == 2 * [{"by": "ada", "week": "3", "note": "<b>"}]
    api.post("/ui/experiments/many", data={"pick": ids[0], "verb": "archive"})
    assert [row["id"] for row in api.get("/experiments").json()["data"]] == ids[1:]
    assert 'value="unarchive"' in api.get("/ui/experiments?archived=true").text
    api.post("/ui/experiments/many", data={"pick": ids[0], "verb": "unarchive"})
    assert len(api.get("/experiments").json()["data"]) == 2


def test_deletion_is_asked_for_twice(api: TestClient, database: Database) -> None:
    done, waits = made(api, "done"), made(api, "waits")
    put(database, done, RunStatus.SUCCEEDED)
    form = {"pick": [done["id"], waits["id"]], "verb": "delete"}
    asked = api.post("/ui/experiments/many", data=form)
    assert "Delete 2 experiments?" in text_of(asked.text)
    assert len(api.get("/experiments").json()["data"]) == 2
    sure = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', asked.text))
    assert (sure["verb"], sure["sure"]) == ("delete", "yes")
    said = outcomes(api.post("/ui/experiments/many", data=form | sure | {"pick": form["pick"]}))
    assert said[0].startswith("waits : not done. ")
    assert said[1] == "done: It is deleted."
    assert [row["id"] for row in api.get("/experiments").json()["data"]] == [waits["id"]]


def test_a_refusal_in_the_middle_takes_back_what_it_had_begun(
    settings: Settings, database: Database
) -> None:
    """The queue has room for the retry of one: the other's runs are as they were."""
    small = settings.model_copy(update={"max_queued_per_owner": 2})
    with TestClient(create_app(small)) as api:
        records = [made(api, f"number {number}", seeds=2) for number in range(1)]
        put(database, records[0], RunStatus.FAILED)
        records.append(made(api, "number 1", seeds=2))
        put(database, records[1], RunStatus.FAILED)
        ids = [record["id"] for record in records]
        answer = api.post("/ui/experiments/many", data={"pick": ids, "verb": "retry"})
        assert "Retry: 1 done, 1 refused" in text_of(answer.text)
        assert "LAB_MAX_QUEUED_PER_OWNER" in outcomes(answer)[0]
        runs = [api.get(f"/experiments/{one}").json()["runs"] for one in ids]
    assert [[run["status"] for run in its] for its in runs] == [2 * ["queued"], 2 * ["failed"]]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"verb": "pause"}, "Nothing is picked"),
        ({"pick": "exp_1", "verb": "puase"}, "did you mean 'pause'?"),
        ({"pick": "exp_1"}, "allowed: archive, cancel"),
        ({"pick": "exp_1", "verb": "label"}, "No label is written"),
        ({"pick": "exp_1", "verb": "label", "label": "week"}, "'week' has no colon"),
        (
            {"pick": [f"exp_{number}" for number in range(MOST_PICKED + 1)], "verb": "cancel"},
            f"{MOST_PICKED + 1} experiments are picked",
        ),
    ],
    ids=["nothing", "misspelt", "no-verb", "no-label", "no-colon", "too-many"],
)
def test_what_cannot_be_meant_is_refused_whole(
    api: TestClient, form: dict[str, Any], said: str
) -> None:
    answer = api.post("/ui/experiments/many", data=form)
    assert answer.status_code in (400, 422)
    assert said in text_of(answer.text)


def test_who_only_reads_is_shown_no_verb_and_refused_each(
    api: TestClient, database: Database
) -> None:
    made(api, "one")
    reader = caller(api, database, "eve", Role.READ)
    writer = caller(api, database, "ada")
    record = made(writer, "ada's")
    assert all(
        f'value="{verb}"' in writer.get("/ui/experiments").text for verb in ("pause", "delete")
    )
    page = reader.get("/ui/experiments").text
    assert not any(f'value="{verb}"' in page for verb in MANY_VERBS)
    assert 'formaction="/ui/compare"' in page or 'class="bar"' not in page
    refused = reader.post("/ui/experiments/many", data={"pick": record["id"], "verb": "cancel"})
    assert refused.status_code == 403
    other = caller(api, database, "bob")
    said = outcomes(
        other.post("/ui/experiments/many", data={"pick": record["id"], "verb": "cancel"})
    )
    assert "There is no experiment" in said[0]
    assert writer.get(f"/experiments/{record['id']}").json()["status"] == "queued"


def test_who_only_reads_is_not_asked_for_an_image(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = made(api, "one")
    finish_all(database, settings, {0: 0.9})
    page = f"/ui/runs/{record['runs'][0]['id']}"
    assert "data-predict=" in api.get(page).text
    read = caller(api, database, "eve", Role.READ).get(page).text
    assert "What it has answered" in read
    assert "data-predict=" not in read


def test_what_is_picked_in_a_form_is_compared(api: TestClient) -> None:
    ids = [made(api, f"number {number}")["id"] for number in range(2)]
    answer = api.get("/ui/compare", params={"pick": ids, "label": ""}, follow_redirects=False)
    assert answer.headers["location"] == f"/ui/compare?e={','.join(ids)}"


def test_more_goes_on_with_the_same_filters(api: TestClient) -> None:
    for place in range(5):
        made(api, f"number {place}", labels={"week": "3"})
    page = api.get("/ui/experiments?label=week:3&limit=2&status=queued").text
    more = re.search(r'class="more"><a class="button" href="([^"]+)"', page)
    assert more is not None
    following = api.get(unescape(more.group(1))).text
    assert re.findall('<a class="name"[^>]*>([^<]*)', page + following) == [
        f"number {place}" for place in (4, 3, 2, 1)
    ]
    assert "limit" not in re.search('class="chips".*?</ul>', page, re.DOTALL).group()  # type: ignore[union-attr]


# The wall


def test_a_filter_is_seen_and_taken_away(api: TestClient) -> None:
    """Whatever has no control of its own; what is archived is found."""
    for name in ("one", "two"):
        made(api, name, labels={"week": "3", "group": "a"})
    page = api.get("/ui/experiments?label=week:3&label=group:a&status=queued&sort=created_at").text
    times = "\N{MULTIPLICATION SIGN}"
    said = f"label week:3 {times} label group:a {times} show everything archived"
    assert said in text_of(page)
    (without,) = re.findall(r'href="([^"]*)" class="on" aria-label="Without label week:3"', page)
    assert parse_qs(urlsplit(unescape(without)).query) == {
        "status": ["queued"],
        "label": ["group:a"],
        "sort": ["created_at"],
    }
    assert '<option value="created_at" selected>oldest first' in page
    none = text_of(api.get("/ui/experiments?label=week:4").text)
    assert f"label week:4 {times}" in none
    assert "No experiment is like this. Show everything" in none
    archived = text_of(api.get("/ui/experiments?archived=true").text)
    assert f"archived {times} show everything" in archived
    assert "Nothing is archived." in archived


def test_a_wall_goes_round_what_runs(api: TestClient, database: Database) -> None:
    one, two, waits = made(api, "one"), made(api, "two"), made(api, "waits")
    for record in (one, two):
        put(database, record, RunStatus.RUNNING)
    address, seen = "/ui/experiments?label=a:b&wall=1", []
    for _ in range(4):
        page = api.get(address)
        assert page.status_code == 200
        assert '<html lang="en" class="wall">' in page.text
        found = re.search('id="leave" href="([^"]+)" data-next="([^"]+)"', page.text)
        assert found is not None
        leave, address = map(unescape, found.groups())
        seen.append(leave)
    assert seen == [
        "/ui/experiments?label=a%3Ab",
        f"/ui/experiments/{two['id']}",
        f"/ui/experiments/{one['id']}",
        "/ui/experiments?label=a%3Ab",
    ]
    ended = api.get(f"/ui/experiments/{waits['id']}?wall=1&start=/ui/class?wall=1").text
    assert 'data-next="/ui/class?wall=1"' in ended
    assert 'class="wall"' not in api.get("/ui/class").text
    assert "wall" in api.get("/ui/class?wall=1").text


@pytest.mark.parametrize(
    "start", ["https://evil.example", "//evil.example/ui/", "/ui/\\evil", "javascript:1"]
)
def test_a_round_begins_on_a_page_of_this_service(api: TestClient, start: str) -> None:
    assert api.get("/ui/experiments", params={"wall": "1", "start": start}).status_code == 422
