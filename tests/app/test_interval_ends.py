"""Intervals of fractions end where fractions do, wherever they are shown; JSON has them as computed."""

import csv
import io
import json
import re
import shutil
import subprocess
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.api.experiments.schemas import SummaryAnswer
from app.pages import assets
from app.pages.words import with_interval
from app.services.analyses.scores import ScoreKind
from app.settings import Settings
from app.storage.db import Database
from lab_models.statistics.summary import summarise
from tests.app.pictures import words
from tests.app.studies import finish, grid, send

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases
CELL = "model.depth=2,model.residual=false"
OUTSIDE = re.compile(r"[-\u2212][0-9.]+ to|to (?!100\.00)[0-9]{3,}\.")


@pytest.fixture
def study(api: TestClient, database: Database, settings: Settings) -> dict[str, Any]:
    """Two seeds far apart in one cell: Student's interval is -60.66 to 198.66 %."""
    record = send(api, **grid(seeds=2))
    scores = {(CELL, 0): 0.5880, (CELL, 1): 0.7920}
    finish(database, settings, record["id"], scores)
    return record


def test_two_seeds_give_no_interval_beyond_0_and_100_percent_in_any_format(
    api: TestClient, study: dict[str, Any]
) -> None:
    address = f"/studies/{study['id']}/table"
    (row,) = (one for one in api.get(address).json()["rows"] if one["cell"] == CELL)
    expected = summarise([0.5880, 0.7920]).ci95
    assert expected is not None
    assert expected[0] < -0.6 < 0 < 1 < expected[1]
    assert row["score"]["ci95"] == pytest.approx(expected), "JSON: as computed"
    rows = list(csv.DictReader(io.StringIO(api.get(f"{address}?format=csv").text)))
    (shown,) = (one for one in rows if one["cell"] == CELL)
    for prefix in ("", "val_"):
        ends = [float(shown[f"{prefix}ci95_{end}"]) for end in ("low", "high")]
        assert ends == [0.0, 1.0]
    for form in ("md", "latex"):
        text = api.get(f"{address}?format={form}").text
        assert "0.00 to 100.00" in text
        assert not OUTSIDE.search(text)


@pytest.mark.parametrize("picture", ["factor", "heat-map", "tradeoff"])
def test_pictures_of_two_seeds_say_nothing_beyond(
    api: TestClient, study: dict[str, Any], picture: str
) -> None:
    answer = api.get(f"/studies/{study['id']}/{picture}.svg")
    assert answer.status_code == 200
    shown = words(answer.content)
    assert not any(OUTSIDE.search(text) for text in shown)
    assert not any("129.6" in text for text in shown), "half of it, in a heat-map"


def test_an_experiments_numbers_over_seeds_are_cut_in_tables(
    api: TestClient, study: dict[str, Any]
) -> None:
    (member,) = (
        one
        for one in api.get(f"/studies/{study['id']}/table").json()["rows"]
        if one["cell"] == CELL
    )
    address = f"/experiments/{member['experiment_id']}/metrics?aggregate=seeds"
    spread = api.get(address).json()["val"]["accuracy"]["ci95"]
    rows = list(csv.DictReader(io.StringIO(api.get(f"{address}&format=csv").text)))
    found = [row for row in rows if (row["split"], row["name"]) == ("val", "accuracy")]
    assert len(found) == len(spread) > 0
    assert any(ends and ends[0] < 0 for ends in spread)
    for row, ends in zip(found, spread, strict=True):
        low, high = (row["ci95_low"], row["ci95_high"])
        assert (low, high) == ("", "") if ends is None else 0 <= float(low) <= float(high) <= 1


@pytest.mark.parametrize(
    ("score", "values", "ends"),
    [
        ("test.accuracy", (0.5, 0.9), (0.0, 1.0)),
        ("test.accuracy", (0.990, 0.999), (0.937, 1.0)),
        ("test.ece", (0.01, 0.03), (0.0, 0.147)),
        ("test.accuracy", (0.5, 0.51, 0.52), (0.485, 0.535)),
        ("test.loss", (0.1, 0.9), (0.0, 5.582)),
        ("epochs", (3.0, 9.0), (0.0, 44.119)),
        ("gap.accuracy", (0.1, 0.9), (-4.582, 5.582)),
        ("gradient_flow.slope", (0.1, 0.9), (-4.582, 5.582)),
        ("test.accuracy", (0.5,), (None, None)),
    ],
)
def test_ends_of_an_interval_as_they_are_shown(
    score: str, values: tuple[float, ...], ends: tuple[float | None, float | None]
) -> None:
    assert ScoreKind(score).ends_of(summarise(values)) == pytest.approx(ends, abs=0.001)


def test_pages_leave_out_what_says_nothing() -> None:
    wide, narrow = (
        SummaryAnswer.model_validate(vars(summarise(values)), from_attributes=True)
        for values in ((0.5, 0.9), (0.9, 0.91, 0.92))
    )
    assert with_interval(wide, "accuracy") == "70.00"
    assert with_interval(narrow, "accuracy") == "91.00 ± 2.48"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_bands_of_charts_are_cut_where_fractions_end() -> None:
    address = (assets.FOLDER / "pages" / "numbers.js").as_uri()
    script = f"""import {{ cut, WIDEST }} from "{address}";
    console.log(JSON.stringify([cut([-0.6, null, 0.5, 1.2], "accuracy"), cut([-0.6, 1.2], "loss"), WIDEST]));"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert json.loads(done.stdout) == [[0, None, 0.5, 1], [0, 1.2], 0.25]
