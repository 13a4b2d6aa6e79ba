"""The table that a source printed, filled with a study's numbers; and the source's numbers beside its own work
alone.
"""

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.settings import Settings
from app.storage.db import Database
from tests.app.pictures import words
from tests.app.studies import finish, send

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases

Ended = Callable[..., dict[str, Any]]


@pytest.fixture
def ended(api: TestClient, database: Database, settings: Settings) -> Ended:
    """A recipe sent with three seeds, its runs ended with the accuracies of (cell, seed), 0.9 where none is said."""

    def sent(
        recipe: str, accuracies: dict[tuple[str, int], float] | None = None, **more: Any
    ) -> dict[str, Any]:
        record = send(api, recipe=recipe, **{"seeds": 3, **more})
        finish(database, settings, record["id"], accuracies or {})
        return record

    return sent


def place(table: dict[str, Any], row: int, heading: str) -> dict[str, Any]:
    headings = [column["heading"] for column in table["columns"]]
    found: dict[str, Any] = table["rows"][row][headings.index(heading)]
    return found


def test_exercise_1_2_is_the_sources_table_with_intervals_and_paired_differences(
    api: TestClient, ended: Ended
) -> None:
    plain, gains = (0.97, 0.98, 0.96), (-0.002, -0.004, -0.003)
    record = ended(
        "mlp-residual",
        {("plain-6", seed): plain[seed] for seed in range(3)}
        | {("residual-6", seed): plain[seed] + gains[seed] for seed in range(3)},
    )
    address = f"/studies/{record['id']}/table?shape=published"
    table = api.get(address).json()
    assert [(column["heading"], column["measure"]) for column in table["columns"]] == [
        ("Depth", "name"),
        ("Acc MLP", "score"),
        ("Acc MLP Residual", "score"),
        ("Improvement", "difference"),
    ]
    assert [row[0]["text"] for row in table["rows"]] == ["6", "8", "10"]
    score = place(table, 0, "Acc MLP")
    assert (score["cells"], score["printed"]) == (["plain-6"], "98.37 %")
    assert score["score"]["mean"] == pytest.approx(0.97)
    improvement = place(table, 0, "Improvement")
    assert (improvement["cells"], improvement["printed"]) == (["residual-6", "plain-6"], "+0.23%")
    half = 4.302653 * 0.1 / 3**0.5
    assert improvement["difference"] == {
        "mean": pytest.approx(-0.3),
        "ci95": [pytest.approx(-0.3 - half), pytest.approx(-0.3 + half)],
        "n": 3,
        "values": [pytest.approx(100 * gain) for gain in gains],
    }
    assert improvement["text"] == "\u22120.30 (\u22120.55 to \u22120.05)"
    markdown = api.get(address + "&format=md").text
    assert (
        "| Depth | Acc MLP | source | Acc MLP Residual | source | Improvement | source |"
        in markdown
    )
    assert "| 6 | 97.00 (94.52 to 99.48) | 98.37 % |" in markdown
    assert "| \u22120.30 (\u22120.55 to \u22120.05) | +0.23% |" in markdown
    latex = api.get(address + "&format=latex").text
    assert r"\begin{tabular}{lrrr}" in latex
    assert r"$-$0.30 ($-$0.55 to $-$0.05) \\ +0.23\%\end{tabular}" in latex
    rows = list(csv.DictReader(io.StringIO(api.get(address + "&format=csv").text)))
    assert float(rows[0]["Acc MLP"]) == pytest.approx(0.97)
    assert float(rows[0]["Improvement ci95_low"]) == pytest.approx(-0.3 - half)
    assert (rows[0]["Acc MLP n"], rows[0]["Acc MLP source"]) == ("3", "98.37 %")
    assert "mean over 3 seeds with its 95 % interval" in table["caption"]
    links = api.get(f"/studies/{record['id']}/table").json()["links"]
    assert links["published"] == address


def test_val_stands_where_the_source_says_val_and_test_beside_it(
    api: TestClient, ended: Ended
) -> None:
    record = ended("mlp-depth")
    table = api.get(f"/studies/{record['id']}/table?shape=published").json()
    assert [(c["heading"], c["added"]) for c in table["columns"]] == [
        ("Depth", False),
        ("Val Accuracy", False),
        ("Test accuracy", True),
    ]
    assert place(table, 0, "Val Accuracy")["metric"] == "val.accuracy"
    assert place(table, 0, "Val Accuracy")["printed"] == "98.26 %"
    assert place(table, 0, "Test accuracy")["metric"] == "test.accuracy"
    assert place(table, 0, "Test accuracy")["printed"] is None
    long = api.get(f"/studies/{record['id']}/table?format=md").text
    assert "| val accuracy, % | test accuracy, % |" in long


def test_teacher_and_student_have_stages_parameters_and_convs_beside_the_printed_ones(
    api: TestClient, ended: Ended
) -> None:
    record = ended("distill", seeds=2)
    table = api.get(f"/studies/{record['id']}/table?shape=published").json()
    sizes = {
        heading: [(place(table, row, heading)["count"], place(table, row, heading)["printed"])
                  for row in (0, 1)]
        for heading in ("blocks", "params", "Conv layers", "Blocks of two convs")
    }  # fmt: skip
    assert sizes == {
        "blocks": [(4, "4"), (3, "3")],
        "params": [(11_181_642, "11.8M"), (700_458, "700.46K")],
        "Conv layers": [(20, "8"), (15, "6")],
        "Blocks of two convs": [(8, None), (6, None)],
    }
    assert place(table, 1, "Test accuracy")["score"]["n"] == 2
    row = api.get(f"/studies/{record['id']}/table").json()["rows"][0]
    assert [row[f"num_{part}"] for part in ("stages", "blocks", "conv_layers")] == [4, 8, 20]


def test_a_blank_table_is_filled_and_a_table_of_one_network_has_a_row_per_score(
    api: TestClient, ended: Ended
) -> None:
    models = ended("three-models", seeds=2)
    markdown = api.get(f"/studies/{models['id']}/table?shape=published&format=md").text
    assert (
        "| Model | Performance Metrics | Val accuracy | Parameters | Seconds of training |"
        in markdown
    )
    assert "| ResNet | 90.00 " in markdown
    assert "| source |" not in markdown
    small = ended("mlp-small", seeds=2)
    table = api.get(f"/studies/{small['id']}/table?shape=published").json()
    assert [(row[0]["text"], row[1]["metric"], row[1]["printed"]) for row in table["rows"]] == [
        ("Test Loss", "test.loss", "0.1053"),
        ("Test Accuracy", "test.accuracy", "97.39 %"),
        ("Test Precision", "test.precision_weighted", "97.43 %"),
    ]
    assert table["rows"][0][1]["text"].startswith("0.5000")


def test_errors_are_shown_as_the_source_shows_them(api: TestClient, ended: Ended) -> None:
    he = ended("he-depth", {("residual-20", seed): 0.91 for seed in range(2)}, seeds=2)
    table = api.get(f"/studies/{he['id']}/table?shape=published").json()
    assert place(table, 0, "Error")["score"]["mean"] == pytest.approx(0.09)
    assert place(table, 0, "Error")["text"].startswith("9.00")
    hinton = ended("hinton-mnist", {("baseline-800", 0): 0.985}, seeds=1)
    table = api.get(f"/studies/{hinton['id']}/table?shape=published").json()
    assert (place(table, 1, "Test errors")["text"], place(table, 1, "Test errors")["printed"]) == (
        "150.0",
        "146",
    )


@pytest.mark.parametrize("metric", ["val.loss", "seconds", "test.loss", "val.mean_accuracy"])
def test_any_metric_stands_in_both_shapes_without_the_sources_numbers(
    api: TestClient, ended: Ended, metric: str
) -> None:
    record = ended("mlp-residual", seeds=2)
    base = f"/studies/{record['id']}/table?metric={metric}"
    table = api.get(base + "&shape=published").json()
    places = [place for row in table["rows"] for place in row[1:]]
    assert {place["metric"] for place in places} == {metric}
    assert {place["printed"] for place in places} == {None}
    headings = [column["heading"] for column in table["columns"]]
    assert headings[1].endswith(", plain")
    assert headings[3] == "Improvement"
    assert api.get(base).json()["metric"] == metric
    for form in ("md", "csv", "latex"):
        assert api.get(f"{base}&shape=published&format={form}").status_code == 200


def test_a_metric_that_is_asked_for_stands_once_for_each_cell(
    api: TestClient, ended: Ended
) -> None:
    record = ended("mlp-depth", seeds=2)
    table = api.get(f"/studies/{record['id']}/table?shape=published&metric=val.loss").json()
    assert [column["heading"] for column in table["columns"]] == ["Depth", "Val loss"]
    small = ended("mlp-small", seeds=2)
    table = api.get(f"/studies/{small['id']}/table?shape=published&metric=val.loss").json()
    assert [row[0]["text"] for row in table["rows"]] == ["Val loss"]


def test_a_study_without_a_printed_table_says_so(api: TestClient) -> None:
    own = send(api, specs=[{"name": "a", "epochs": 1}], seeds=1)
    answer = api.get(f"/studies/{own['id']}/table?shape=published")
    assert answer.status_code == 404
    assert "it is your own, and no source has printed a table of it" in answer.json()["detail"]
    gradients = send(api, recipe="gradients", scale="smoke", seeds=1)
    answer = api.get(f"/studies/{gradients['id']}/table?shape=published")
    assert "recipe 'gradients' reproduces no printed table" in answer.json()["detail"]
    sorted_too = api.get(f"/studies/{gradients['id']}/table?shape=published&sort=best")
    assert (sorted_too.status_code, sorted_too.json()["errors"][0]["pointer"]) == (422, "/sort")


def test_on_other_data_the_shape_stays_and_the_sources_numbers_go(
    api: TestClient, ended: Ended
) -> None:
    record = ended("mlp-residual", overrides={"dataset.name": "digits"})
    table = api.get(f"/studies/{record['id']}/table?shape=published").json()
    assert table["title"].startswith("Residual MLPs on digits, as the README says")
    places = [place for row in table["rows"] for place in row[1:]]
    assert {place["printed"] for place in places} == {None}
    assert all(place["score"] or place["difference"] for place in places)
    markdown = api.get(f"/studies/{record['id']}/table?shape=published&format=md").text
    assert "| Depth | Acc MLP | Acc MLP Residual | Improvement |" in markdown


def test_a_table_of_before_there_are_results_is_empty_and_whole(api: TestClient) -> None:
    record = send(api, recipe="mlp-residual", seeds=1)
    table = api.get(f"/studies/{record['id']}/table?shape=published").json()
    assert place(table, 0, "Acc MLP")["text"] == "-"
    assert place(table, 0, "Improvement")["difference"]["n"] == 0
    assert "no run has succeeded yet" in table["caption"]
    assert api.get(f"/studies/{record['id']}/table?shape=published&format=latex").status_code == 200


@pytest.mark.parametrize(
    ("recipe", "scale", "overrides"),
    [
        (
            "mlp-depth",
            "smoke",
            {"dataset.name": "digits", "dataset.train_limit": 200, "epochs": 1},
        ),
        ("mlp-depth", "smoke", {}),
        ("mlp-depth", "full", {"epochs": 1, "dataset.train_limit": 200}),
        ("mlp-small", "full", {"dataset.name": "digits"}),
    ],
)
def test_neither_numbers_nor_findings_of_the_source_stand_beside_other_work(
    api: TestClient,
    ended: Ended,
    recipe: str,
    scale: str,
    overrides: dict[str, Any],
) -> None:
    record = ended(recipe, scale=scale, overrides=overrides, seeds=2)
    base = f"/studies/{record['id']}"
    table = api.get(f"{base}/table").json()
    assert all(row["published"] is None and row["expected"] is None for row in table["rows"])
    markdown = api.get(f"{base}/table?format=md").text
    for word in ("source |", "within", "ours minus"):
        assert word not in markdown
    assert "Not at full scale: " in markdown or "Otherwise than in the recipe: " in markdown
    assert markdown.count("source's numbers are left out") == 1
    assert sum("source's numbers are left out" in note for note in table["notes"]) == 1
    verdicts = api.get(f"{base}/verdicts").json()
    assert verdicts["findings"] == []
    assert "strong-baseline" not in [claim["key"] for claim in verdicts["claims"]]
    page = api.get(f"{base}/report.html").text
    assert "What is wrong with the source" not in page
    assert "Reproduces: in design alone" in page
    assert "MNIST" not in page.split("</h1>")[0] or "digits" not in str(overrides)


def test_the_sources_own_work_keeps_numbers_findings_and_its_table_in_the_report(
    api: TestClient, ended: Ended
) -> None:
    record = ended("mlp-residual")
    base = f"/studies/{record['id']}"
    row = api.get(f"{base}/table").json()["rows"][0]
    assert row["published"]["printed"] == "98.37 %"
    assert api.get(f"{base}/verdicts").json()["findings"][0]["code"] == "wrong_difference"
    page = api.get(f"{base}/report.html").text
    assert "In the source's own table" in page or "In the source&#39;s own table" in page
    assert '<td data-name="Acc MLP Residual" class="number">' in page, "a phone shows no heads"
    markdown = api.get(f"{base}/table?format=md").text
    assert "| source | ours minus source | within |" in markdown
    assert "\u22128.37" in markdown, "a real minus sign"


def test_rows_of_different_data_sets_say_so_and_have_panels_of_their_own(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(
        api,
        specs=[
            {"name": "a", "epochs": 2},
            {"name": "b", "epochs": 2, "dataset": "mnist"},
        ],
        seeds=1,
    )
    finish(database, settings, record["id"], {})
    base = f"/studies/{record['id']}"
    assert "| cell | data set | parameters |" in api.get(f"{base}/table?format=md").text
    assert [row["dataset"] for row in api.get(f"{base}/table").json()["rows"]] == [
        "digits",
        "mnist",
    ]
    shown = words(api.get(f"{base}/curves.svg").text)
    assert {"Validation accuracy, digits", "Validation accuracy, MNIST"} <= set(shown)
    assert "MNIST" in words(api.get(f"{base}/factor.svg").text)
    one = send(api, specs=[{"name": "a", "epochs": 2}], seeds=1)
    assert "data set" not in api.get(f"/studies/{one['id']}/table?format=md").text
