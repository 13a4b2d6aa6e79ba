"""Which experiments a list shows and in which order, and how many there are, against a reading of all rows."""

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlmodel import Session
from starlette.testclient import TestClient

from app.services.experiments import counting, ranking
from app.services.experiments.filtering import Filters
from app.services.experiments.ranking import SortKey, SortOrder
from app.storage.db import Database
from app.storage.states import RunStatus, StatusReason, experiment_status
from app.storage.tables import Experiment, Run
from lab_models.specs import read_request

BEGUN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
BODIES: tuple[dict[str, Any], ...] = (
    {"dataset": "digits", "model": "mlp-small"},
    {"dataset": "digits", "model": {"preset": "mlp-small", "dropout": 0.3}},
    {"dataset": "digits", "model": {"preset": "mlp-small", "hidden": [128, 64, 32]}},
    {"dataset": "cifar10", "model": "student"},
    {"dataset": "cifar10", "model": "teacher"},
    {"dataset": "mnist", "model": "three-models-cnn"},
)
NETWORKS = ("mlp-small", "mlp", "mlp", "cnn student", "cnn teacher", "vgg three-models-cnn")
NAMES = (None, "a%b", "A_b", "residual MLP", "tilt\u00e9", "week:3")
LABELS: tuple[dict[str, str], ...] = (
    {},
    {"week": "3"},
    {"week": "30", "note": 'a"b'},
    {"k": "a%b"},
    {"word": "caf\u00e9 \\ 3"},
)
TEXTS = (
    "a",
    "%",
    "_",
    "A%",
    "mlp",
    "week:3",
    "k:a",
    '"',
    "\u00e9",
    "exp_00",
    "zzz",
    "\\",
    "u00",
    ": ",
    "f\u00e9 \\",
)
MOMENTS = tuple(BEGUN + timedelta(minutes=minutes) for minutes in (0, 7, 20, 90))


class Table:
    """Forty experiments, in the database and here."""

    def __init__(self) -> None:
        specs = [read_request(body).spec_with(None).model_dump(mode="json") for body in BODIES]
        draw = random.Random(7)
        self.experiments: list[dict[str, Any]] = []
        self.runs: dict[str, list[dict[str, Any]]] = {}
        for number in range(40):
            kind = draw.randrange(len(BODIES))
            experiment = {
                "id": f"exp_{number:03}",
                "created_at": BEGUN + timedelta(minutes=number // 2),
                "owner": draw.choice(["ada", "bob"]),
                "name": draw.choice(NAMES),
                "labels": draw.choice(LABELS),
                "kind": "train",
                "fingerprint": f"print{kind}",
                "submitted": {},
                "spec": specs[kind],
                "arch": specs[kind]["model"]["arch"],
                "dataset": specs[kind]["dataset"]["name"],
                "parameters": 1,
                "macs_per_sample": 1,
                "request_hash": "",
                "archived": number % 7 == 3,
                "network": NETWORKS[kind],
            }
            statuses = draw.choices(list(RunStatus), k=draw.randint(1, 3))
            if draw.random() < 0.4:
                statuses = [RunStatus.SUCCEEDED] * len(statuses)
            self.experiments.append(experiment)
            self.runs[experiment["id"]] = [
                _run(draw, experiment, place, status) for place, status in enumerate(statuses)
            ]

    def store(self, session: Session) -> None:
        rows = [{k: v for k, v in one.items() if k != "network"} for one in self.experiments]
        session.execute(insert(Experiment), rows)
        session.execute(insert(Run), [run for runs in self.runs.values() for run in runs])

    def status(self, one: dict[str, Any]) -> RunStatus:
        return experiment_status(run["status"] for run in self.runs[one["id"]])

    def let_through(self, filters: Filters) -> list[dict[str, Any]]:
        return [one for one in self.experiments if self._is_let_through(one, filters)]

    def _is_let_through(self, one: dict[str, Any], wanted: Filters) -> bool:
        said = [one["name"] or "", one["id"], *(":".join(pair) for pair in one["labels"].items())]
        text = (wanted.text or "").lower()
        return all(
            (
                not wanted.statuses or self.status(one) in wanted.statuses,
                wanted.owner in (None, one["owner"]),
                wanted.seen_by in (None, one["owner"]),
                wanted.fingerprint in (None, one["fingerprint"]),
                wanted.dataset in (None, one["spec"]["dataset"]["name"]),
                wanted.network is None
                or wanted.network == one["arch"]
                or wanted.network in one["network"].split(),
                wanted.ids is None or one["id"] in wanted.ids,
                wanted.archived in (None, one["archived"]),
                wanted.created_after is None or one["created_at"] >= wanted.created_after,
                wanted.created_before is None or one["created_at"] < wanted.created_before,
                wanted.text is None or any(text in each.lower() for each in said),
                all(one["labels"].get(key) == value for key, value in wanted.labels),
            )
        )

    def value(self, one: dict[str, Any], key: SortKey) -> Any:
        runs = self.runs[one["id"]]
        ends = [run["finished_at"] for run in runs]
        if key is SortKey.CREATED_AT:
            return one["created_at"]
        if key in (SortKey.FINISHED_AT, SortKey.DURATION):
            if None in ends:
                return None
            begins = [run["started_at"] for run in runs if run["started_at"] is not None]
            if key is SortKey.FINISHED_AT:
                return max(ends)
            return max(ends) - min(begins) if begins else None
        split, _, score = key.partition(".")
        sheets = [
            run["test"] if split == "test" else run["best"]["val"]
            for run in runs
            if run["status"] == RunStatus.SUCCEEDED
        ]
        return round(fmean(sheet[score] for sheet in sheets), 12) if sheets else None

    def in_order(self, filters: Filters, order: SortOrder) -> list[str]:
        found = self.let_through(filters)
        found.sort(key=lambda one: (one["created_at"], one["id"]), reverse=True)
        have = [one for one in found if self.value(one, order.key) is not None]
        have.sort(key=lambda one: self.value(one, order.key), reverse=order.descending)
        if order.descending:  # equal ones the newest first, which a reversed sort keeps
            have = sorted(have, key=lambda one: self.value(one, order.key), reverse=True)
        return [one["id"] for one in [*have, *(one for one in found if one not in have)]]


def _run(
    draw: random.Random, experiment: dict[str, Any], place: int, status: RunStatus
) -> dict[str, Any]:
    begun = experiment["created_at"] + timedelta(seconds=draw.randint(0, 3))
    started = None if status in (RunStatus.QUEUED, RunStatus.CANCELLED) else begun
    accuracy = draw.choice([0.5, 0.625, 0.75])  # sums of which are exact
    done = status is RunStatus.SUCCEEDED
    lasted = timedelta(seconds=draw.randint(1, 3), microseconds=draw.choice([0, 1, 999_999]))
    return {
        "id": f"run_{experiment['id']}_{place}",
        "experiment_id": experiment["id"],
        "owner": experiment["owner"],
        "seed": place,
        "position": place,
        "created_at": experiment["created_at"],
        "started_at": started,
        "finished_at": begun + lasted if status.is_terminal else None,
        "status": status,
        "status_reason": StatusReason.COMPLETED,
        "epochs": 1,
        "num_steps": 1,
        "best": {"epoch": 1, "val": {"accuracy": accuracy, "loss": 1 - accuracy}} if done else None,
        "test": {"accuracy": accuracy, "loss": 2 - accuracy} if done else None,
    }


def maybe(values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


FILTERS = st.builds(
    Filters,
    statuses=st.lists(st.sampled_from(RunStatus), max_size=3).map(tuple),
    labels=st.lists(st.sampled_from([("week", "3"), ("note", 'a"b')]), max_size=1).map(tuple),
    owner=maybe(["ada", "bob"]),
    seen_by=maybe(["ada"]),
    text=maybe(TEXTS),
    dataset=maybe(["digits", "cifar10", "none"]),
    network=maybe(["mlp", "cnn", "vgg", "mlp-small", "student", "three-models-cnn", "resnet20"]),
    fingerprint=maybe(["print0", "print3"]),
    created_after=maybe(MOMENTS),
    created_before=maybe(MOMENTS),
    ids=maybe([("exp_001", "exp_017", "exp_none"), ()]),
    archived=maybe([False, True]),
)
ALONE = st.sampled_from([name for name in Filters.__dataclass_fields__ if name != "kind"])


def alone_or_together(filters: Filters, name: str, together: bool) -> Filters:
    """All of the filters, most of which find nothing together, or one alone."""
    return filters if together else Filters(**{name: getattr(filters, name)})


@pytest.fixture
def table(database: Database) -> Table:
    made = Table()
    with database.writing() as session:
        made.store(session)
    return made


def test_filters_sorts_and_counts_are_those_of_a_reading_of_all_rows(
    database: Database, table: Table
) -> None:
    @seed(1)
    @settings(max_examples=60, deadline=None, database=None)
    @given(
        st.builds(alone_or_together, FILTERS, ALONE, st.booleans()),
        st.sampled_from(SortKey),
        st.booleans(),
    )
    def check(filters: Filters, key: SortKey, descending: bool) -> None:
        order = SortOrder(key, descending)
        expected = table.in_order(filters, order)
        paged: list[str] = []
        cursor = None
        while cursor is not None or not paged:
            rows, cursor = ranking.page(session, filters, order, 13, cursor)
            paged += [row.id for row in rows]
            if cursor is None:
                break
        assert paged == expected
        found = counting.counts(session, filters)
        rows_there = table.let_through(filters)
        by: tuple[Callable[[dict[str, Any]], str], ...] = (
            table.status,
            lambda one: str(one["spec"]["dataset"]["name"]),
            lambda one: str(one["owner"]),
        )
        counted = (found.by_status, found.by_dataset, found.by_owner)
        assert counted == tuple(Counter(map(each, rows_there)) for each in by)
        assert found.total == len(rows_there)

    with database.reading() as session:
        check()


def test_the_query_says_filters_and_the_next_page(api: TestClient, table: Table) -> None:
    asked = "status=failed&status=succeeded&q=a%25&sort=-duration&limit=1&created_after=2026-01-02T03:04:05Z"
    first = api.get(f"/experiments?{asked}")
    wanted = Filters((RunStatus.FAILED, RunStatus.SUCCEEDED), text="a%", archived=False)
    expected = table.in_order(wanted, SortOrder(SortKey.DURATION))
    assert len(expected) > 1
    found = [row["id"] for row in first.json()["data"]]
    following = api.get(first.links["next"]["url"])
    found += [row["id"] for row in following.json()["data"]]
    assert found == expected[:2]
    assert "next" not in api.get("/experiments?limit=500").links
    counts = api.get("/experiments/counts?status=failed&status=succeeded&q=a%25").json()
    assert counts["total"] == len(expected)
    asked = "/experiments?ids=exp_003,exp_001"
    ids = [
        [row["id"] for row in api.get(f"{asked}&archived={archived}").json()["data"]]
        for archived in ("any", "true", "false")
    ]
    assert ids == [["exp_003", "exp_001"], ["exp_003"], ["exp_001"]]


@pytest.mark.parametrize(
    ("query", "pointer", "words"),
    [
        ("network=mlp-smal", "/network", "did you mean"),
        ("created_after=2026-01-01T00:00:00", "/created_after", "timezone"),
        ("created_after=0001-01-01T00:00:00%2B23:00", "/created_after", "years 1 to 9999"),
        ("created_before=9999-12-31T23:59:59-23:00", "/created_before", "years 1 to 9999"),
        ("q=", "/q", "at least 1"),
        ("q=%00", "/q", "U+0000"),
        ("status=done", "/status", "queued"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    api: TestClient, query: str, pointer: str, words: str
) -> None:
    for path in ("/experiments", "/experiments/counts"):
        (error,) = api.get(f"{path}?{query}").json()["errors"]
        assert error["pointer"] == pointer
        assert words in str(error)
