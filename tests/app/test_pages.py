"""The pages without a browser: what they say is what the API says, and what they load is what is in the checkout."""

import gzip
import hashlib
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
from html import unescape
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from app.api.experiments.lists import count_experiments
from app.api.experiments.schemas import SummaryAnswer
from app.errors import BadBody, InvalidRequest
from app.pages import assets, lists, queue
from app.pages.forms import FIELDS, FormField, request_of, usual, written
from app.pages.words import after_verdict, aligned, number, sentence, with_interval
from app.roles import Role
from app.settings import Settings
from app.storage.db import Database
from tests.app.people import caller
from tests.app.test_confusion import assessment, succeed
from tests.app.test_retry import begin, fail

VENDORED = {  # as their packages bring them; a newer one changes these lines
    "htmx.LICENSE": "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",  # 4.0.1
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",  # 1.6.32
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
MOST_SCRIPT, MOST_STYLE = 60_000, 12_000
"""Compressed bytes that a first visit may cost."""


def text_of(page: str) -> str:
    """What a reader sees of it, roughly."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_what_others_wrote_is_theirs_byte_for_byte() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (assets.FOLDER / "vendor").iterdir()
    }
    assert found == VENDORED


def test_a_first_visit_costs_little(api: TestClient) -> None:
    """P6: scripts and styles together, as they are sent."""
    page = api.get("/ui/experiments").text
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    modules = {"charts.js", "numbers.js", "live.js", "list.js", "log.js", "wall.js", "keys.js"}
    version = loaded[0].split("/")[2]
    addresses = {*loaded, *(f"/static/{version}/{name}" for name in modules)}
    sizes = {address: len(gzip.compress(api.get(address).content, 9)) for address in addresses}
    assert {address.rpartition("/")[2] for address in addresses} == set(assets.FILES)
    assert sum(size for address, size in sizes.items() if address.endswith(".js")) <= MOST_SCRIPT
    assert sum(size for address, size in sizes.items() if address.endswith(".css")) <= MOST_STYLE


def test_files_are_kept_for_ever_by_the_address_of_now_alone(api: TestClient) -> None:
    there = api.get(assets.asset("lab.css"))
    assert there.headers["cache-control"] == assets.FOR_EVER
    assert there.headers["content-type"] == "text/css; charset=utf-8"
    old = api.get("/static/000000000000/lab.css")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    assert api.get(f"/static/{assets.assets_version()}/../settings.py").status_code == 404


def test_a_browser_finds_the_way_in(api: TestClient) -> None:
    for typed in ("/", "/ui", "/ui/", "/ui//"):
        assert api.get(typed, follow_redirects=False).headers["location"] == "/ui/experiments"
    assert api.get("/ui/latest", follow_redirects=False).headers["location"] == "/ui/new"
    made = api.post("/experiments", json={}).json()["id"]
    newest = api.get("/ui/latest", follow_redirects=False).headers["location"]
    assert newest == f"/ui/experiments/{made}"


def test_the_page_says_what_the_record_says(
    api: TestClient, database: Database, settings: Settings
) -> None:
    made = api.post("/experiments", json={"name": "three", "seeds": 3}).json()["id"]
    for seed in range(3):
        succeed(database, settings, assessment(seed))
    record = api.get(f"/experiments/{made}").json()
    page = api.get(f"/ui/experiments/{made}")
    said = text_of(page.text)
    accuracy = SummaryAnswer(**record["results"]["test"]["accuracy"])
    assert record["status_message"] in said
    assert f"{with_interval(accuracy, 'accuracy')} % n = 3" in said
    assert all(number(run["test"]["accuracy"], "accuracy") in said for run in record["runs"])
    assert (
        api.get(
            f"/ui/experiments/{made}", headers={"If-None-Match": page.headers["etag"]}
        ).status_code
        == 304
    )
    run = text_of(api.get(f"/ui/runs/{record['runs'][0]['id']}").text)
    assert number(record["runs"][0]["test"]["accuracy"], "accuracy") in run
    assert "evaluation.json" in run


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/ui/experiments/exp_none", 404, "There is no experiment 'exp_none'. All"),
        ("/ui/experiments?stauts=failed", 422, "stauts"),
        ("/ui/compare?pick=" + "&pick=".join(map(str, range(99))), 422, "99 experiments are named"),
        ("/ui/studies/stu_none", 404, "There is no study 'stu_none'. All studies"),
        ("/ui/nothing/here", 404, "There is no page /ui/nothing/here."),
        ("/ui/experiments?status=bogus", 422, "status : input should be 'queued'"),
    ],
)
def test_refusals_are_pages(api: TestClient, address: str, status: int, said: str) -> None:
    page = api.get(address)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert said in text_of(page.text)
    part = api.get(address, headers={"HX-Request": "true"})
    assert part.headers["hx-retarget"] == "#said"
    assert "<html" not in part.text


def test_a_part_that_a_page_asks_for_by_itself_is_refused_in_its_place(
    api: TestClient, database: Database, settings: Settings
) -> None:
    body = {"dataset": "digits", "seeds": 1}
    done, waits = (
        f"/ui/experiments/{api.post('/experiments', json=body).json()['id']}" for _ in range(2)
    )
    succeed(database, settings, assessment(0))
    assert 'hx-headers=\'{"Lab-Place": "own"}\'' in api.get(done).text
    headers = {"HX-Request": "true", "Lab-Place": "own"}
    part = api.get(f"{waits}/confusion", headers=headers)
    assert part.status_code == 404
    assert part.headers["hx-reselect"] == "#refused"
    assert "hx-retarget" not in part.headers
    assert re.fullmatch('<span id="refused" class="soft">[^<]+</span>\\s*', part.text)


def test_what_the_handlers_know_is_said_on_a_page_too(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is busy is to be asked again, on a page as over the API; a fault of ours tells nothing."""

    def fails(error: Exception) -> None:
        def raising(*_: Any) -> None:
            raise error

        monkeypatch.setattr(queue, "read_queue", raising)

    fails(OperationalError("", {}, sqlite3.OperationalError("database is locked")))
    busy = api.get("/ui/queue")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")
    assert "Busy, try again" in text_of(busy.text)
    fails(KeyError("secret"))
    fault = api.get("/ui/queue")
    assert (fault.status_code, "secret" in fault.text) == (500, False)
    assert "Internal error" in text_of(fault.text)
    assert api.post("/ui/new", content=b"\xff").status_code == 422


def test_what_cannot_be_compared_is_shown_side_by_side_all_the_same(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """Other images are no reason to show nothing."""
    ids = []
    for name, sha in (("a", "a" * 64), ("b", "a" * 64), ("c", "c" * 64)):
        ids.append(api.post("/experiments", json={"name": name, "seeds": 2}).json()["id"])
        for seed in range(2):
            succeed(database, settings, assessment(len(ids) + seed), sha)
    page = api.get(f"/ui/compare?e={','.join(ids)}")
    said = text_of(page.text)
    assert page.status_code == 200
    one = api.get(f"/comparisons?experiments={ids[0]},{ids[1]}").json()["sentence"]
    assert after_verdict(one, "not measured") in said
    refused = api.get(f"/comparisons?experiments={ids[0]},{ids[2]}")
    assert refused.status_code == 200
    assert after_verdict(refused.json()["sentence"], "not measured") in said


def test_what_is_compared_is_told_apart_and_what_is_gone_is_said(api: TestClient) -> None:
    """By the fields in which those of one name differ, or else by their ids."""
    rates = [{"optimizer": {"learning_rate": rate}} for rate in (0.1, 0.2, 0.2)]
    ids = [api.post("/experiments", json=rate).json()["id"] for rate in rates]
    said = text_of(api.get(f"/ui/compare?e={','.join(ids)},exp_none").text)
    assert "3 experiments compared" in said
    assert "exp_none is not here: deleted, or somebody else's." in said
    for title in ("0.1 the first", f"0.2, {ids[1]} digits", f"0.2, {ids[2]} digits"):
        assert f"mlp 2 x 512, learning_rate {title}" in said
    assert api.get("/ui/compare?e=exp_none").status_code == 404
    assert "Tick two to 12 experiments" in text_of(api.get("/ui/compare").text)
    assert "Compare with the original" not in api.get(f"/ui/experiments/{ids[0]}").text
    clone = api.post("/experiments", json={"like": ids[0], "set": {"epochs": 3}}).json()["id"]
    assert f"/ui/compare?e={ids[0]},{clone}" in api.get(f"/ui/experiments/{clone}").text


def test_who_watches_the_list_has_nothing_counted(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.post("/experiments", json={"name": "only"})
    counted: list[int] = []
    monkeypatch.setattr(
        lists, "count_experiments", lambda *given: counted.append(1) or count_experiments(*given)
    )
    whole = api.get("/ui/experiments")
    part = api.get("/ui/experiments", headers={"HX-Request": "true"})
    assert counted == [1]
    assert "queued 1" in text_of(whole.text)
    assert "only" in part.text


def test_the_page_of_the_queue_sets_the_priority_of_ones_own(
    api: TestClient, database: Database
) -> None:
    ada, bob = caller(api, database, "ada"), caller(api, database, "bob")
    made = ada.post("/experiments", json={"name": "hers", "seeds": 2}).json()["id"]
    address = f"/ui/queue/{made}"
    page = ada.get("/ui/queue").text
    assert page.count(f'action="{address}"') == 1  # for both of its runs
    assert "/ui/queue/" not in bob.get("/ui/queue").text
    reader = caller(api, database, "ada", Role.READ)
    assert "/ui/queue/" not in reader.get("/ui/queue").text

    def sent(client: TestClient, **form: str) -> int:
        return client.post(address, data=form, follow_redirects=False).status_code

    def priorities() -> list[int]:
        return [row["priority"] for row in ada.get("/queue").json()["data"]]

    assert sent(ada, priority="-4") == 303
    assert priorities() == [-4, -4]
    assert sent(ada, priority="-4", step="-1") == 303
    assert priorities() == [-5, -5]
    assert (sent(bob, step="-1"), sent(reader, step="-1")) == (404, 403)
    assert (sent(ada, priority="low"), sent(ada, priority="-101")) == (422, 422)
    above = ada.post(address, data={"priority": "1"})
    assert "needs a key with the role" in text_of(above.text)
    assert priorities() == [-5, -5]
    assert sent(caller(api, database, "boss", Role.ADMIN), step="1") == 303
    assert priorities() == [-4, -4]


def test_the_form_of_the_class_keeps_what_it_does_not_ask_for(api: TestClient) -> None:
    labels = {"week": "3", "group": "a"}
    api.post("/experiments", json={"labels": labels})
    page = api.get("/ui/class?label=week:3&label=group:a&dataset=mnist&key=week").text
    form = page[
        page.index('class="filters"') : page.index("</form>", page.index('class="filters"'))
    ]
    sent = re.findall(r'<input type="\w+"[^>]*name="(\w+)" value="([^"]*)"', form)
    assert sent == [("label", "week:3"), ("label", "group:a"), ("label", ""), ("dataset", "mnist")]
    again = api.get("/ui/class", params=[*sent, ("key", "week")])
    assert "labeled week:3, group:a" in text_of(again.text)


def test_a_form_is_a_request(api: TestClient) -> None:
    sent = {
        "epochs": "2",
        "model": "mlp-small",
        "model.dropout": "",
        "labels": "week:3, by: Ada",
        "key": "once",
    }
    first = api.post("/ui/new", data=sent, follow_redirects=False)
    assert first.status_code == 303
    record = api.get(first.headers["location"].removeprefix("/ui")).json()
    assert (
        record["submitted"]
        == {"model": {"preset": "mlp-small"}, "epochs": 2, "labels": {"week": "3", "by": "Ada"}}
        or record["submitted"]["epochs"] == 2
    )
    again = api.post("/ui/new", data=sent, follow_redirects=False)
    assert again.headers["location"] == first.headers["location"]


def test_a_plan_is_priced_or_says_what_is_wrong(api: TestClient) -> None:
    plan = text_of(api.post("/ui/new/plan", data={"model": "mlp", "model.width": "64"}).text)
    priced = api.post(
        "/experiments?dry_run=true", json={"model": {"arch": "mlp", "width": 64}}
    ).json()
    assert f"Parameters {priced['estimate']['parameters']:,}" in plan
    wrong = api.post(
        "/ui/new/plan", data={"optimizer.learning_rate": "fast", "more": '{"epohcs": 1}'}
    )
    assert (
        'data-field="optimizer.learning_rate"' in wrong.text or 'data-field="epohcs"' in wrong.text
    )
    assert wrong.status_code == 200
    assert "is not JSON" in api.post("/ui/new/plan", data={"more": "{"}).text
    assert api.get("/experiments").json()["data"] == []


@pytest.mark.parametrize(
    ("form", "request_"),
    [
        ({}, {}),
        ({"epochs": " 3 ", "seeds": "[0, 5]"}, {"epochs": 3, "seeds": [0, 5]}),
        ({"model": "cnn", "model.width": "16"}, {"model": {"arch": "cnn", "width": 16}}),
        ({"model": "cnn"}, {"model": "cnn"}),
        (
            {"model": "mlp-small", "model.width": "9"},
            {"model": {"preset": "mlp-small", "width": 9}},
        ),
        ({"name": "007"}, {"name": "007"}),
        (
            {"optimizer.name": "sgd", "more": '{"optimizer": {"momentum": 0.9}}'},
            {"optimizer": {"name": "sgd", "momentum": 0.9}},
        ),
        (
            {"like": "exp_1", "epochs": "5", "name": "more"},
            {"like": "exp_1", "name": "more", "set": {"epochs": 5}},
        ),
        (
            {"like": "exp_1", "device": "cuda"},
            {"like": "exp_1", "device": "cuda"},
        ),
        (
            {"device": "any", "more": '{"model": {"layers": ["relu"]}}'},
            {"device": "any", "model": {"layers": ["relu"]}},
        ),
        ({"labels": "week:3,by:"}, {"labels": {"week": "3", "by": ""}}),
        ({"seeds": "1, 2,3"}, {"seeds": [1, 2, 3]}),
    ],
)
def test_what_is_written_is_what_is_sent(form: dict[str, str], request_: dict[str, Any]) -> None:
    assert request_of(form) == request_


def test_a_form_that_is_refused_is_shown_as_it_was_written(api: TestClient) -> None:
    """With what is wrong with it, by whoever finds it."""
    made = api.post("/experiments", json={"name": "first"}).json()["id"]
    sent = {"epochs": "tne", "name": "<b>mine</b>", "optimizer.name": "sgd", "key": "once"}
    for more in ({}, {"like": made}):
        page = api.post("/ui/new", data=sent | more)
        assert page.status_code == 422
        for field in ('value="tne"', 'value="&lt;b&gt;mine&lt;/b&gt;"', "<option selected>sgd"):
            assert field in page.text
        assert ("Clone with changes" in page.text) == bool(more)
        assert "epochs : input should be a valid integer" in text_of(page.text)
        assert 'value="once"' not in page.text  # it is another request
    page = api.post("/ui/new", data={"more": '{"epochs": '})
    assert "This is not trained 'More fields' is not JSON" in text_of(page.text)
    assert len(api.get("/experiments").json()["data"]) == 1


def test_more_fields_are_an_object_and_labels_have_a_key() -> None:
    with pytest.raises(BadBody, match="JSON object"):
        request_of({"more": "[1]"})
    with pytest.raises(BadBody, match="is not JSON"):
        request_of({"more": '{"a":' * 100_000})
    with pytest.raises(InvalidRequest, match="'alone' has no colon") as refused:
        request_of({"labels": "week:3, alone"})
    assert [error.pointer for error in refused.value.errors] == ["/labels"]
    with pytest.raises(InvalidRequest) as refused:
        request_of({"labels": "alone", "epochs": "0", "batch_size": "x"})
    assert {error.pointer for error in refused.value.errors} == {
        "/labels",
        "/epochs",
        "/batch_size",
    }


def test_a_page_that_is_sent_twice_adds_seeds_once(api: TestClient) -> None:
    body = {"spec": {"epochs": 2}, "vary": {"model.depth": [1, 2]}, "seeds": 2}
    study = api.post("/studies", json=body).json()["id"]
    for _ in range(2):
        sent = {"seeds": "3", "there": "2"}
        answer = api.post(f"/ui/studies/{study}/extend", data=sent, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/studies/{study}")
    assert api.get(f"/studies/{study}").json()["seeds"] == [0, 1, 2, 3, 4]


def test_a_study_shows_what_failed_and_what_to_do(api: TestClient, database: Database) -> None:
    body = {"spec": {"epochs": 2}, "vary": {"model.depth": [1, 2]}, "seeds": 1}
    study = api.post("/studies", json=body).json()["id"]
    fail(database, begin(database))
    (error,) = api.get(f"/studies/{study}").json()["errors"]
    page = api.get(f"/ui/studies/{study}")
    assert page.status_code == 200
    for said in (
        f"/ui/runs/{error['run_id']}",
        f"{error['cell']}, seed 0",
        sentence(error["message"]),
    ):
        assert said in unescape(page.text)


def test_notes_are_kept_and_archived_is_out_of_sight(api: TestClient) -> None:
    made = api.post("/experiments", json={"name": "shelved"}).json()["id"]
    api.post(f"/ui/experiments/{made}/notes", data={"notes": " <b>bold</b>\nplan "})
    assert api.get(f"/experiments/{made}").json()["notes"] == "<b>bold</b>\nplan"
    assert "&lt;b&gt;bold&lt;/b&gt;" in api.get(f"/ui/experiments/{made}").text
    api.post(f"/ui/experiments/{made}/archive")
    assert "shelved" not in text_of(api.get("/ui/experiments").text)
    assert "shelved" in text_of(api.get("/ui/experiments?archived=true").text)
    assert "Unarchive" in api.get(f"/ui/experiments/{made}").text


@pytest.mark.parametrize(
    "field",
    [one for _, group in FIELDS for one in group if one.only_with],
    ids=lambda field: field.path,
)
def test_a_field_is_shown_with_what_has_it(api: TestClient, field: FormField) -> None:
    """As the API says: with the other choices the same field is refused."""
    part, _, name = field.path.partition(".")
    choices = next(one for _, group in FIELDS for one in group if one.path == field.chooser).choices
    value = {"depth": "20", "residual": "true"}.get(name, "64")
    taken = set()
    for choice in choices:
        sent = request_of({field.chooser: choice, field.path: value})
        answer = api.post("/experiments?dry_run=true", json=sent)
        unknown = {error["pointer"] for error in answer.json().get("errors", [])}
        if f"/{part}/{name}" not in unknown:
            taken.add(choice)
    assert taken == set(field.only_with)
    page = api.get("/ui/new").text
    said = re.search(
        f'data-with="([^"]*)" data-chooser="{field.chooser}"><label for="f-{field.path}"', page
    )
    assert said is not None
    assert set(said[1].split()) == taken


def test_an_experiment_is_verified_and_done_again_from_its_page(
    api: TestClient, database: Database, settings: Settings
) -> None:
    body = {"name": "it's", "epochs": 3, "model": {"arch": "cnn", "width": 8}}
    made = api.post("/experiments", json=body).json()["id"]
    succeed(database, settings, assessment(0))
    page = api.get(f"/ui/experiments/{made}").text
    said = text_of(page)
    lines = [
        unescape(line)
        for line in re.findall("<pre data-copy><code>(curl [^<]*|LAB_URL[^<]*)<", page)
    ]
    assert lines[1] == f"LAB_URL=http://testserver lab again {made} --wait"
    _, option, sent, address = shlex.split(lines[0])
    assert (option, json.loads(sent), address) == ("-d", body, "http://testserver/experiments")
    table = said[said.index("Not as it is by default") : said.index("As it was sent")].split()
    assert {"model.arch", '"cnn"', "model.width", "8", "epochs", "3"} <= set(table)
    assert "batch_size" not in table
    assert api.get(f"/bundles?ids={made}&archived=any").status_code == 200
    sent_back = api.post(f"/ui/experiments/{made}/verify", follow_redirects=False)
    assert sent_back.status_code == 303
    again = sent_back.headers["location"].rpartition("/")[2]
    assert again != made
    assert "0 of 1 runs are done again so far." in text_of(api.get(f"/ui/experiments/{again}").text)
    succeed(database, settings, assessment(0))
    sentence = api.get(f"/experiments/{again}/verification").json()["sentence"]
    assert sentence in text_of(api.get(f"/ui/experiments/{again}").text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("there is no run 'run_1'; GET /runs lists them", "There is no run 'run_1'."),
        ("2 of 3 runs; 1 failed. POST /studies/s/retry tries again.", "2 of 3 runs; 1 failed."),
        ("GET /runs/r says why; retry it first", "Retry it first."),
        ("model.depth: unknown field", "model.depth: unknown field."),
        ("exp_1 is gone", "exp_1 is gone."),
        ("did you mean 'sgd'?", "Did you mean 'sgd'?"),
        ("GET /docs", "GET /docs."),
    ],
)
def test_what_the_api_says_is_a_sentence_that_names_no_request(text: str, said: str) -> None:
    assert sentence(text) == said


def test_a_verdict_is_said_once_and_means_stand_below_each_other() -> None:
    assert after_verdict("Better: -1.5 points, p = 0.5.", "better") == (
        "\N{MINUS SIGN}1.5 points, p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.5."
    )
    assert after_verdict("Worse than all.", "better") == "Worse than all."
    summary = SummaryAnswer(mean=0.5, ci95=(0.4, 0.6), std=0.1, n=3, values=[0.4, 0.5, 0.6])
    assert aligned(summary, "accuracy") == '<span>50.00<span class="half"> ± 10.00</span></span>'
    assert aligned(None, "accuracy") == '<span>\N{EN DASH}<span class="half"></span></span>'


def test_the_form_shows_the_defaults_as_one_would_write_them() -> None:
    there = written(usual())
    assert (there["model"], there["epochs"], there["optimizer.name"]) == ("mlp", "10", "adam")
    assert request_of({"epochs": there["epochs"]}) == {"epochs": 10}


NUMBERS = """
import { smoothed, readState, writeState, readZoom, shown, significant } from "%s";
globalThis.location = { pathname: "/ui/compare" };
const state = { ...readState(""), y: "log" };
console.log(JSON.stringify([
  smoothed([1, 3, null, 2], 0.5), smoothed([1, 2], 0),
  writeState("?e=a,b&b=range", state), writeState("", readState("")), readState("?s=0.6").s,
  readZoom("3-17"), readZoom("17-3"), readZoom("x"),
  shown(0.97754, "accuracy"), shown(-0.123456, "loss"), shown(null, "loss"), shown(0.001, "learning_rate"),
  %s.map((value) => significant(value, 4)),
]));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_charts_arithmetic() -> None:
    measured = [0, 1.07, 0.0042, 12.3, 999.96, 9999.6, 12345.6, 1e-5, 1e-4]
    script = NUMBERS % ((assets.FOLDER / "pages" / "numbers.js").as_uri(), measured)
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = json.loads(done.stdout)
    # debiased: 1, then (0.5*0.5 + 0.5*3) / 0.75, then (0.5*1.75 + 0.5*2) / 0.875
    assert found[0] == [1, pytest.approx(7 / 3), None, pytest.approx(1.875 / 0.875)]
    assert found[1:] == [
        [1, 2],
        "?e=a,b&y=log",
        "/ui/compare",
        "0.6",
        [3, 17],
        None,
        None,
        "97.75",
        "\N{MINUS SIGN}0.1235",
        "\N{EN DASH}",
        "0.001",
        [number(value) for value in measured],
    ]
