"""An experiment's numbers as arrays, over its seeds, and as Parquet: the same numbers as in JSON and CSV."""

import csv
import io
import sys
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.storage.db import Database
from lab_models.statistics.summary import summarise
from tests.app.test_reads import long_experiment

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases


@pytest.fixture
def metrics(api: TestClient, database: Database) -> str:
    """The address of numbers of four runs, the last half as long, a third of them not finite."""
    return f"/experiments/{long_experiment(database, epochs=6, seeds=4, gaps=0.3)}/metrics"


def by_epoch(document: dict[str, Any]) -> list[dict[tuple[int, str, str], float | None]]:
    """Each run's numbers by epoch, split and name."""
    return [
        {
            (epoch["epoch"], split, name): value
            for epoch in run["epochs"]
            for split in ("train", "val")
            for name, value in epoch[split].items()
        }
        for run in document["runs"]
    ]


def test_columns_hold_the_numbers_of_the_epochs(api: TestClient, metrics: str) -> None:
    expected = by_epoch(api.get(metrics).json())
    columns = api.get(f"{metrics}?format=columns").json()
    found = [
        {
            (epoch, split, name): value
            for split in ("train", "val")
            for name, values in run[split].items()
            for epoch, value in zip(run["epochs"], values, strict=True)
        }
        for run in columns["runs"]
    ]
    assert found == expected
    assert [len(run["epochs"]) for run in columns["runs"]] == [6, 6, 6, 3]
    later = api.get(f"{metrics}?format=columns&after=4&names=loss").json()["runs"]
    assert [run["epochs"] for run in later] == [[5, 6], [5, 6], [5, 6], []]
    assert {name for run in later for split in ("train", "val") for name in run[split]} == {"loss"}
    (first, *_) = api.get(f"{metrics}?names=loss&after=5").json()["runs"][0]["epochs"]
    assert (first["epoch"], list(first["train"])) == (6, ["loss"])


def test_over_the_seeds_every_epoch_has_the_summary_of_the_one_judge(
    api: TestClient, metrics: str
) -> None:
    runs = by_epoch(api.get(metrics).json())
    spread = api.get(f"{metrics}?aggregate=seeds").json()
    assert spread == api.get(f"{metrics}?aggregate=seeds&format=columns").json()
    seen = set()
    for split in ("train", "val"):
        for name, columns in spread[split].items():
            for place, epoch in enumerate(spread["epochs"]):
                each = [run.get((epoch, split, name)) for run in runs]
                values = [value for value in each if value is not None]
                found = {key: column[place] for key, column in columns.items()}
                seen.add(found["n"])
                assert found["n"] == len(values)
                if not values:
                    assert {value for key, value in found.items() if key != "n"} == {None}
                    continue
                expected = summarise(values)
                assert found["mean"] == expected.mean
                assert found["std"] == expected.std
                assert found["ci95"] == (expected.ci95 and list(expected.ci95))
                assert (found["min"], found["max"]) == (min(values), max(values))
                assert len(values) > 1 or found["ci95"] is None, "no interval from one seed"
    assert {1, 2, 4} <= seen
    text = api.get(f"{metrics}?aggregate=seeds&format=csv&names=loss").text
    rows = list(csv.DictReader(io.StringIO(text)))
    loss = spread["val"]["loss"]
    assert [row["mean"] for row in rows if row["split"] == "val"] == [
        "" if value is None else repr(value) for value in loss["mean"]
    ]


def test_parquet_has_the_rows_of_the_csv(
    api: TestClient, metrics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import parquet

    for query in ("", "&aggregate=seeds"):
        answer = api.get(f"{metrics}?format=parquet{query}")
        assert ".parquet" in answer.headers["content-disposition"]
        table = parquet.read_table(io.BytesIO(answer.content)).to_pylist()
        text = api.get(f"{metrics}?format=csv{query}").text
        rows = [
            {key: "" if value is None else str(value) for key, value in row.items()}
            for row in table
        ]
        assert rows == list(csv.DictReader(io.StringIO(text)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    missing = api.get(f"{metrics}?format=parquet")
    assert (missing.status_code, missing.json()["code"]) == (406, "not_acceptable")
    assert "format=csv" in missing.json()["detail"]


@pytest.mark.parametrize("query", ["names=", "names=a,,b", "names=%00", "aggregate=epochs"])
def test_a_query_that_means_nothing_is_refused(api: TestClient, metrics: str, query: str) -> None:
    answer = api.get(f"{metrics}?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"
