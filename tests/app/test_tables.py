"""Tables of many experiments: the sum of what each says of itself, in pieces, in names that come back."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.roles import Role
from app.services.experiments import flat_rows, tidy_numbers
from app.services.experiments.exports import NumbersWanted
from app.services.experiments.filtering import Filters
from app.services.experiments.parquet import ParquetPieces, as_parquet
from app.settings import Settings
from app.storage.db import Database
from tests.app.people import caller
from tests.app.test_confusion import assessment, succeed
from tests.app.test_reads import long_experiment

PAGE = Path(__file__).parents[2] / "docs" / "taking-out.md"
HOSTILE = ('=1+1", "<b>, new', "'=1", "-x", "@here", "\uff1dwide", "plain, with 'quotes'")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def back(cell: str) -> str:
    """As docs/taking-out.md says it."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (said,) = (block for block in blocks if "def back" in block)
    known: dict[str, Any] = {}
    exec(said, known)
    return str(known["back"](cell))


def tidy(api: TestClient, made: str) -> list[tuple[str, ...]]:
    """One experiment's numbers from its own address: run, seed, epoch, split, metric, value."""
    found = []
    for row in rows_of(api.get(f"/experiments/{made}/metrics?format=csv").text):
        for name in sorted(set(row) - {"run_id", "seed", "epoch"}):
            split, _, metric = name.partition(".")
            found.append((row["run_id"], row["seed"], row["epoch"], split, metric, row[name]))
    return found


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, so that a few experiments take many."""
    monkeypatch.setattr("app.services.experiments.exports.EPOCHS_AT_ONCE", 7)
    monkeypatch.setattr(tidy_numbers, "EPOCHS_AT_ONCE", 7)
    monkeypatch.setattr(tidy_numbers, "EXPERIMENTS_AT_ONCE", 2)
    monkeypatch.setattr(tidy_numbers, "ROWS_OF_A_GROUP", 50)
    monkeypatch.setattr(flat_rows, "EXPERIMENTS_AT_ONCE", 2)


@pytest.mark.usefixtures("pieces")
def test_all_numbers_are_the_sum_of_each_experiments_own(
    api: TestClient, database: Database
) -> None:
    made = [long_experiment(database, epochs=9 + n, seeds=3, gaps=0.2) for n in range(5)]
    made.append(api.post("/experiments", json={"name": "not begun"}).json()["id"])
    answer = api.get("/experiments/metrics.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="metrics.csv"'
    rows = rows_of(answer.text)
    assert list(rows[0]) == list(tidy_numbers.COLUMNS)
    assert list(dict.fromkeys(row["experiment_id"] for row in rows)) == made[-2::-1]
    for one in made:
        own = [tuple(row.values())[2:] for row in rows if row["experiment_id"] == one]
        assert own == tidy(api, one)
    chosen = rows_of(api.get(f"/experiments/metrics.csv?ids={made[0]}&names=loss").text)
    wanted = [row for row in rows if row["experiment_id"] == made[0] and row["metric"] == "loss"]
    assert chosen == wanted


@pytest.mark.usefixtures("pieces")
def test_parquet_has_the_same_rows(api: TestClient, database: Database) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for epochs in (9, 40, 11):
        long_experiment(database, epochs=epochs, seeds=2, gaps=0.2)
    content = api.get("/experiments/metrics.parquet").content
    file = parquet.ParquetFile(io.BytesIO(content))
    assert file.num_row_groups > 3
    table = file.read()
    assert {field.name: str(field.type) for field in table.schema} == {
        name: "double" if kind == "float64" else kind for name, kind in tidy_numbers.COLUMNS.items()
    }
    written = [
        {name: "" if cell is None else str(cell) for name, cell in row.items()}
        for row in table.to_pylist()
    ]
    assert written == rows_of(api.get("/experiments/metrics.csv").text)
    empty = api.get("/experiments/metrics.parquet?q=nothing").content
    assert parquet.read_table(io.BytesIO(empty)).num_rows == 0


WITHOUT_PANDAS = """
import sys
from app.services.experiments.parquet import ParquetPieces, as_parquet

types = {"name": "string", "seed": "int64", "value": "float64"}
pieces = ParquetPieces(types, 1)
pieces.add(("a", 1, None))
assert pieces.take() and pieces.end()
assert as_parquet({"name": ["a"], "seed": [1], "value": [0.5]}, types)
print("pandas" in sys.modules)
"""


def test_to_write_parquet_loads_no_pandas() -> None:
    """Which pyarrow would, 50 MB of the API's memory, where it makes an array of a list."""
    for package in ("pyarrow", "pandas"):
        pytest.importorskip(package)
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS], check=True, capture_output=True, text=True
    )
    assert said.stdout == "False\n"


@hypothesis_settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(codec="utf-8")),
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(),
        ),
        max_size=20,
    ),
    st.integers(1, 8),
)
def test_whatever_the_cells_are_they_come_back(
    rows: list[tuple[str | None, int, float | None]], rows_of_a_group: int
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    types = {"name": "string", "seed": "int64", "value": "float64"}
    pieces, content = ParquetPieces(types, rows_of_a_group), b""
    for row in rows:
        pieces.add(row)
        content += pieces.take()
    content += pieces.end()
    columns = (
        dict(zip(types, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(types, ())
    )
    for written in (content, as_parquet(columns, types)):
        table = parquet.read_table(io.BytesIO(written))
        table.validate(full=True)
        back = [tuple(row.values()) for row in table.to_pylist()]
        # NaN is null
        assert back == [(*row[:2], None if row[2] != row[2] else row[2]) for row in rows]


def test_a_table_costs_pieces_and_no_more_than_one_pass_each(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever there is: no piece has more than its epochs, or looks up more than its experiments."""
    monkeypatch.setattr(tidy_numbers, "EPOCHS_AT_ONCE", 10)
    monkeypatch.setattr(tidy_numbers, "EXPERIMENTS_AT_ONCE", 2)
    for _ in range(5):
        long_experiment(database, epochs=20, seeds=2)
    lines = []
    for piece in tidy_numbers.tidy_csv_pieces(Filters(), NumbersWanted()):
        with database.reading() as session:
            lines.append(piece(session).count(b"\n"))
    assert max(lines) == 10 * 6, "epochs, of two splits and three names"
    assert lines.count(0) == 3, "pages"
    assert sum(lines) == 1 + 5 * 30 * 6


def test_little_that_is_far_between_is_not_looked_for_in_one_pass(
    api: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidy_numbers, "EPOCHS_AT_ONCE", 1)
    long_experiment(database, epochs=40, seeds=1)
    answer = api.get("/experiments/metrics.csv?names=none")
    assert answer.text == ",".join(tidy_numbers.COLUMNS) + "\n"
    assert "content-length" not in answer.headers


def test_names_and_labels_are_safe_and_come_back(api: TestClient, database: Database) -> None:
    made = {}
    for number, name in enumerate(HOSTILE):
        body = {"name": name, "labels": {"note": name, "place": str(number)}}
        made[api.post("/experiments", json=body).json()["id"]] = body
    text = api.get("/experiments.csv").text
    rows = {row["experiment_id"]: row for row in rows_of(text)}
    assert {one: back(row["name"]) for one, row in rows.items()} == {
        one: body["name"] for one, body in made.items()
    }
    assert {one: back(row["labels.note"]) for one, row in rows.items()} == {
        one: body["labels"]["note"] for one, body in made.items()
    }
    assert not any(
        re.match(r"[=+\-@\uff1d\uff0b\uff0d\uff20]", cell)
        for row in rows.values()
        for name, cell in row.items()
        if name in ("name", "labels.note")
    )


@pytest.mark.usefixtures("pieces")
def test_a_row_has_the_records_numbers_and_spec(
    api: TestClient, database: Database, settings: Settings
) -> None:
    body = {"seeds": 3, "labels": {"exercise": "1.2"}, "model": {"hidden": [8, 4]}, "epochs": 2}
    made = api.post("/experiments", json=body).json()["id"]
    for seed in range(3):
        succeed(database, settings, assessment(seed))
    others = [
        api.post("/experiments", json=one).json()["id"]
        for one in (
            {"name": "waits"},
            {"kind": "distill", "teacher": {"spec": {"epochs": 1}}, "labels": {"other": "x"}},
            {"optimizer": {"name": "sgd", "momentum": 0.9}},
        )
    ]
    rows = rows_of(api.get("/experiments.csv").text)
    listed = [row["id"] for row in api.get("/experiments").json()["data"]]
    assert [row["experiment_id"] for row in rows] == listed
    by_id = {row["experiment_id"]: row for row in rows}
    row, record = by_id[made], api.get(f"/experiments/{made}").json()
    for split, scores in record["results"].items():
        for name, found in scores.items():
            low, high = found["ci95"] or (None, None)
            wanted = [found["mean"], found["std"], found["n"], low, high]
            cells = [row[f"{split}.{name}.{what}"] for what in flat_rows.SPREAD]
            assert [float(cell) if cell else None for cell in cells] == wanted
    assert (row["status"], row["seeds"], row["seeds_done"]) == ("succeeded", "3", "3")
    assert (row["spec.model.hidden"], row["spec.epochs"]) == ("[8, 4]", "2")
    assert (row["labels.exercise"], row["labels.other"]) == ("1.2", "")
    assert by_id[others[0]]["test.accuracy.mean"] == ""
    assert by_id[others[2]]["spec.optimizer.momentum"] == "0.9"
    for one in listed:
        paths = flat_rows.flattened(api.get(f"/experiments/{one}").json()["spec"])
        assert {f"spec.{path}" for path in paths} <= set(by_id[one])
    assert all(list(one) == list(rows[0]) for one in rows)


def test_many_keys_of_labels_make_no_endless_table(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_rows, "MOST_LABELS", 2)
    api.post("/experiments", json={"labels": {"d": "4"}})
    api.post("/experiments", json={"labels": {"a": "1", "b": "2", "c": "3"}})
    rows = rows_of(api.get("/experiments.csv").text)
    cells = [
        {name: cell for name, cell in row.items() if "labels" in name and cell} for row in rows
    ]
    assert cells == [
        {"labels.a": "1", "labels.b": "2", "other_labels": '{"c": "3"}'},
        {"other_labels": '{"d": "4"}'},
    ]


@pytest.mark.parametrize(
    "address", ["/experiments.csv", "/experiments/metrics.csv", "/experiments/metrics.parquet"]
)
def test_tables_have_what_the_list_has(api: TestClient, database: Database, address: str) -> None:
    pytest.importorskip("pyarrow")
    admin = caller(api, database, "admin", Role.ADMIN)
    one, other = caller(api, database, "ada"), caller(api, database, "bo")
    for client in (one, other):
        client.post("/experiments", json={"name": "a"})
    assert api.get(address).status_code == 401
    for client in (admin, one, other):
        listed = {row["id"] for row in client.get("/experiments").json()["data"]}
        if address == "/experiments.csv":
            assert {row["experiment_id"] for row in rows_of(client.get(address).text)} == listed
    assert one.get(f"{address}?owner=bo").status_code == 200
    unknown: Any = one.get(f"{address}?lable=a:b").json()
    assert "did you mean 'label'?" in str(unknown)
    assert one.get(f"{address}?network=resnet1").status_code == 422


def test_whoever_sees_their_own_alone_gets_their_numbers_alone(
    api: TestClient, database: Database
) -> None:
    long_experiment(database, epochs=4)
    ada, admin = caller(api, database, "ada"), caller(api, database, "root", Role.ADMIN)
    assert rows_of(ada.get("/experiments/metrics.csv").text) == []
    assert len(rows_of(admin.get("/experiments/metrics.csv").text)) == 10 * 6
