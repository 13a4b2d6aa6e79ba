"""Contrasts and claims of one page: the same pair has one p and one answer; metrics, units and numbers as they are
printed.
"""

import math
from typing import Any

import numpy as np
import pytest
from sqlmodel import col, select
from starlette.testclient import TestClient

from app.services.analyses.scores import DERIVED, METRICS, OF_TEST, OF_VAL, ScoreKind, read_metric
from app.services.analyses.training_scores import GAPS
from app.services.experiments.metrics import record_epoch
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment, Run
from lab_models.recipes.catalog import RECIPES
from lab_models.training.assessment import assess
from tests.app.pictures import words
from tests.app.studies import finish, grid, send
from tests.app.test_gradient_flow import epoch_metrics

pytestmark = pytest.mark.sqlite  # what it reads is the same on both databases

SMOKE = {"scale": "smoke", "overrides": {"dataset.name": "digits", "dataset.train_limit": 100}}


def test_a_claim_and_a_contrast_about_the_same_pair_have_the_same_p_and_agree(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """Ten layers against two: it was worse as a contrast, corrected over four, and left open as a claim, over ten."""
    record = send(api, recipe="mlp-depth", seeds=5, **SMOKE)
    falls = (0.0, -0.002, -0.004, -0.003, -0.02)
    wobbles = (0.001, -0.001, 0.0, 0.0005, -0.0005)
    scores = {
        (f"depth-{depth}", seed): 0.9 + falls[place] + wobbles[(seed + place) % 5]
        for place, depth in enumerate((2, 4, 6, 8, 10))
        for seed in range(5)
    }
    finish(database, settings, record["id"], scores)
    verdicts = api.get(f"/studies/{record['id']}/verdicts").json()
    contrast = next(one for one in verdicts["contrasts"] if one["treatment"] == "depth-10")
    claim = verdicts["claims"][0]
    assert (contrast["verdict"], claim["verdict"]) == ("worse", "supported")
    evidence = next(
        line for line in claim["evidence"] if line.startswith("10 hidden layers against 2")
    )
    assert (
        evidence.removeprefix("10 hidden layers against 2 hidden layers: ") in contrast["sentence"]
    )
    assert contrast["comparison"]["p_holm"] > 5 * contrast["comparison"]["p_t"], "eleven tests"
    words = {one["verdict"] for one in verdicts["contrasts"]}
    assert words <= {"better", "worse", "equivalent", "open", "not_measured"}


def test_a_claims_answer_does_not_turn_on_the_metric_that_a_page_is_asked_for(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, recipe="mlp-residual", seeds=3, **SMOKE)
    gains = {("residual-6", 0): 0.95, ("residual-8", 1): 0.96, ("residual-10", 2): 0.97}
    finish(database, settings, record["id"], gains)
    address = f"/studies/{record['id']}/verdicts"
    assert (
        api.get(address).json()["claims"] == api.get(f"{address}?metric=test.loss").json()["claims"]
    )


def test_the_report_and_the_picture_call_no_contrast_contradicted(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = send(api, **grid(seeds=3))
    worse = {("model.depth=3,model.residual=false", seed): 0.7 + seed / 1e4 for seed in range(3)}
    finish(database, settings, record["id"], worse)
    page = api.get(f"/studies/{record['id']}/report.html").text
    assert 'class="verdict worse"' in page
    svg = api.get(f"/studies/{record['id']}/differences.svg").text
    assert "worse" in words(svg)
    for text in (page, svg):
        assert "contradicted" not in text.replace(".contradicted, .worse", "")


def test_a_contrasts_family_is_accepted_and_said_to_mean_nothing(api: TestClient) -> None:
    contrast = {"treatment": "b", "control": "a", "factor": "", "family": "mine"}
    specs = [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 2}]
    record = send(api, specs=specs, contrasts=[contrast], seeds=1)
    assert any("'family' of a contrast means nothing" in note for note in record["notes"])


@pytest.mark.parametrize(
    ("metric", "meant"),
    [
        ("test.acuracy", "did you mean 'test.accuracy'?"),
        ("accuracy", "did you mean 'test.accuracy'?"),
        ("val.los", "did you mean 'val.loss'?"),
        ("gradient_flow.slop", "did you mean 'gradient_flow.slope'?"),
        ("test.error", ""),
        ("val.ece", ""),
    ],
)
def test_a_metric_that_no_run_has_is_refused_wherever_one_is_named(
    api: TestClient, metric: str, meant: str
) -> None:
    record = send(api, **grid(seeds=1))
    base = f"/studies/{record['id']}"
    ids = ",".join(cell["experiment_id"] for cell in record["cells"][:2])
    for address in (
        f"{base}/verdicts?metric=",
        f"{base}/table?metric=",
        f"{base}/factor.png?metric=",
        f"{base}/differences.png?metric=",
        f"{base}/heat-map.png?metric=",
        f"/comparisons?experiments={ids}&metric=",
    ):
        refused = api.get(address + metric)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/metric")
        assert meant in refused.json()["errors"][0]["hint"], address


def test_the_metrics_are_the_scores_that_runs_have_and_no_unit_is_empty() -> None:
    logits = np.eye(10, dtype=np.float32)
    scores = assess(logits, np.arange(10), tuple("abcdefghij")).scores
    assert {*scores, "teacher_agreement", "teacher_accuracy"} == set(OF_TEST)
    assert set(OF_VAL) == {"loss", "accuracy"}
    assert len(METRICS) == len(OF_TEST) + 2 * len(OF_VAL) + len(GAPS) + len(DERIVED)
    for name in METRICS:
        metric = read_metric(name)
        assert metric.unit, name
        assert metric.level_unit, name
    for recipe in RECIPES.values():
        for claim in recipe.claims:
            assert read_metric(claim.test.metric).unit


def test_an_interval_of_a_fraction_is_cut_where_fractions_end() -> None:
    accuracy = ScoreKind("test.accuracy")
    assert accuracy.interval((-0.03, 1.041)) == "0.00 to 100.00"
    assert accuracy.interval((0.408, 0.98)) == "40.80 to 98.00"
    assert ScoreKind("test.loss").interval((-0.1, 1.2)) == "0.0000 to 1.2000"


def gradients_measured(
    api: TestClient, database: Database, settings: Settings, ratios: dict[str, tuple[float, ...]]
) -> dict[str, Any]:
    """A study of plain and residual networks with the given gradient of the first layer over that of the last."""
    spec = {"probes": ["gradient_flow"], "epochs": 1}
    record = send(
        api,
        specs=[
            {**spec, "name": "plain", "model": {"depth": 4, "width": 16}},
            {**spec, "name": "residual", "model": {"depth": 4, "width": 16, "residual": True}},
        ],
        seeds=3,
    )
    finish(database, settings, record["id"], {})
    names = ["l0", "l1", "l2", "l3", "head"]
    with database.writing() as session:
        rows = session.exec(
            select(Experiment, Run).where(col(Experiment.id) == col(Run.experiment_id))
        ).all()
        for experiment, run in rows:
            ratio = ratios[str(experiment.cell)][run.seed]
            norms: list[float | None] = [ratio, max(ratio, 1e-9) ** 0.5, 1.0, 1.0, 1.0]
            for epoch in (0, 1):
                splits: Any = epoch_metrics(norms, names, first=epoch == 0)
                record_epoch(session, run.id, epoch, splits)
    return record


RATIO = "metric=gradient_flow.first_over_last"


def test_a_ratio_of_gradients_is_tested_and_printed_by_its_logarithm(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = gradients_measured(
        api,
        database,
        settings,
        {"plain": (4e-6, 5e-6, 3e-6), "residual": (0.5, 0.6, 0.55)},
    )
    table = api.get(f"/studies/{record['id']}/table?{RATIO}").json()
    assert table["unit"] == "decades"
    plain = table["rows"][0]["score"]
    assert plain["mean"] == pytest.approx(math.log10(6e-17) / 3)
    markdown = api.get(f"/studies/{record['id']}/table?{RATIO}&format=md").text
    assert "gradient flow first over last, times" in markdown
    assert "| 3.9e-06 \N{MULTIPLICATION SIGN}/\N{DIVISION SIGN} 1.3 |" in markdown
    assert "geometric mean" in markdown
    contrast = api.get(f"/studies/{record['id']}/verdicts?{RATIO}").json()["contrasts"][0]
    assert (contrast["verdict"], contrast["comparison"]["unit"]) == ("better", "decades")
    distances = [abs(math.log10(value)) for value in (0.5, 4e-6)]
    assert contrast["comparison"]["differences"][0] == pytest.approx(distances[0] - distances[1])
    assert "−5.15 decades (distance from 1, lower is better), 95 % interval" in contrast["sentence"]


def test_a_gradient_that_explodes_is_not_better_than_one_that_keeps_its_size(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = gradients_measured(
        api,
        database,
        settings,
        {"plain": (0.8, 0.9, 1.1), "residual": (4e6, 5e6, 3e6)},
    )
    contrast = api.get(f"/studies/{record['id']}/verdicts?{RATIO}").json()["contrasts"][0]
    assert contrast["verdict"] == "worse"


def test_a_gradient_of_exactly_0_counts_and_is_said(
    api: TestClient, database: Database, settings: Settings
) -> None:
    record = gradients_measured(
        api,
        database,
        settings,
        {"plain": (0.0, 3e-40, 0.0), "residual": (0.5, 0.6, 0.55)},
    )
    markdown = api.get(f"/studies/{record['id']}/table?{RATIO}&format=md").text
    said = "n 2 of 6 runs the first layer's gradient is exactly 0, which counts as 1e-45 times the last's"
    assert f"I{said}." in markdown
    assert "| 3 |" in markdown
    contrast = api.get(f"/studies/{record['id']}/verdicts?{RATIO}").json()["contrasts"][0]
    assert (contrast["comparison"]["n"], contrast["verdict"]) == (3, "better")
    assert f"i{said}" in contrast["comparison"]["warnings"]


def test_what_no_seed_changes_is_one_run_without_an_interval(
    api: TestClient, database: Database, settings: Settings
) -> None:
    source = {"spec": {"model": {"depth": 2, "width": 16}, "epochs": 1}}
    features = {"kind": "transfer", "source": source, "strategy": "features", "epochs": 1}
    record = send(
        api,
        specs=[{**features, "name": "one"}],
        seeds=3,
    )
    with database.writing() as session:
        for run in session.exec(select(Run)).all():
            run.test = {"accuracy": 0.0902, "loss": 2.0}
            run.best = {"epoch": 1, "val": {"accuracy": 0.09, "loss": 2.0}}
            run.status = "succeeded"  # type: ignore[assignment]
            session.add(run)
    row = api.get(f"/studies/{record['id']}/table").json()["rows"][0]
    assert (row["score"]["n"], row["score"]["std"], row["score"]["ci95"]) == (1, None, None)
    results = api.get(f"/experiments/{record['cells'][0]['experiment_id']}").json()["results"]
    assert results["test"]["accuracy"]["n"] == 1


def test_an_interval_too_wide_to_tell_is_no_yes(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """72.4 % against the source's 98.4 was "one more run" with three seeds."""
    record = send(api, recipe="mlp-depth", seeds=3)
    wide = {("depth-6", seed): value for seed, value in enumerate((0.60, 0.75, 0.82))}
    close = {("depth-8", seed): value for seed, value in enumerate((0.984, 0.986, 0.988))}
    finish(database, settings, record["id"], wide | close, default=0.975)
    markdown = api.get(f"/studies/{record['id']}/table?format=md").text
    rows = {line.split(" | ")[0].strip("| "): line for line in markdown.splitlines()}
    assert rows["6"].endswith("| cannot tell (n = 3) |")
    assert "to 100.00 |" in rows["6"]
    assert rows["8"].endswith("| interval |")
    assert rows["2"].endswith("| - |"), "equal numbers predict nothing"
    assert "cannot tell where that is wider than 5 points" in markdown
