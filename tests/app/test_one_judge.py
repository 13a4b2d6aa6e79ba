"""Is one set of runs better than another? Asked of the distillation table, of the comparison and of the study, the
answer is the same.
"""

from typing import Any

import pytest
from sqlmodel import Session, col, select
from starlette.testclient import TestClient

from app.services.experiments import experiments
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Experiment
from tests.app.studies import finish, send

ALONE = (0.9700, 0.9712, 0.9695, 0.9721, 0.9708)
SMALL = (0.0004, 0.0005, 0.0006, 0.0006, 0.0007)
LARGE = (0.0060, 0.0052, 0.0071, 0.0049, 0.0066)
SCATTERED = (0.0100, -0.0070, 0.0110, -0.0080, 0.0020)
SAME = (
    "verdict",
    "sentence",
    "n",
    "mean",
    "std",
    "ci95",
    "p_t",
    "level",
    "margin",
    "p_equivalence",
)
"""What the three answers have in common, with how many more seeds and minutes would settle it."""


def answers(
    api: TestClient, database: Database, settings: Settings, gains: tuple[float, ...]
) -> dict[str, dict[str, Any]]:
    """A study on MNIST of a student alone and taught, over five seeds, as each of the three answers it."""
    network = {"depth": 1, "width": 16}
    record = send(
        api,
        specs=[
            {"name": "teacher", "dataset": "mnist", "model": {"width": 32}, "epochs": 1},
            {"name": "alone", "dataset": "mnist", "model": network, "epochs": 1},
            {
                "name": "taught",
                "dataset": "mnist",
                "kind": "distill",
                "teacher": {"cell": "teacher"},
                "student": network,
                "epochs": 1,
            },
        ],
        contrasts=[{"treatment": "taught", "control": "alone", "factor": "kind"}],
        seeds=5,
    )
    scores = {("alone", seed): ALONE[seed] for seed in range(5)}
    scores |= {("taught", seed): ALONE[seed] + gains[seed] for seed in range(5)}
    finish(database, settings, record["id"], scores, default=0.975)
    with database.writing() as session:
        alone, taught = (_cell(session, record["id"], key) for key in ("alone", "taught"))
        taught.related = {**taught.related, "baseline": alone.id}
        session.add(taught)
        control, treatment = alone.id, taught.id
    return {
        "distillation": api.get(f"/experiments/{treatment}/distillation").json(),
        "comparison": api.get(f"/comparisons?experiments={control},{treatment}").json(),
        "study": api.get(f"/studies/{record['id']}/verdicts").json()["contrasts"][0],
    }


def _cell(session: Session, study_id: str, key: str) -> Experiment:
    found = session.exec(
        select(Experiment).where(col(Experiment.study_id) == study_id, col(Experiment.cell) == key)
    ).one()
    return experiments.get(session, found.id)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (SMALL, "equivalent"),
        (LARGE, "better"),
        (tuple(-gain for gain in LARGE), "worse"),
        (SCATTERED, "open"),
    ],
)
def test_the_same_two_sets_of_runs_get_the_same_verdict_interval_and_p_everywhere(
    api: TestClient,
    database: Database,
    settings: Settings,
    gains: tuple[float, ...],
    verdict: str,
) -> None:
    found = answers(api, database, settings, gains)
    gain, comparison, contrast = (
        found["distillation"]["gain"],
        found["comparison"],
        found["study"],
    )
    assert (gain["verdict"], comparison["verdict"], contrast["verdict"]) == (verdict,) * 3
    for name in (*SAME, "more_seeds", "minutes"):
        assert gain[name] == comparison[name], name
        if name != "sentence":
            assert contrast["comparison"][name] == comparison[name], name
    assert contrast["comparison"]["p_holm"] == comparison["p_t"]  # a family of one
    assert [pair["difference"] for pair in gain["pairs"]] == comparison["differences"]


def test_a_difference_within_the_margin_is_called_equivalent_and_no_gain(
    api: TestClient, database: Database, settings: Settings
) -> None:
    """Five pairs of +0.04 to +0.07 points, which once gained here and were equivalent there."""
    found = answers(api, database, settings, SMALL)
    said = found["distillation"]["sentence"]
    assert said == f"Better on test than the baseline? {found['comparison']['sentence']}"
    assert "Equivalent within ±0.15 percentage points: +0.06, 95 % interval +0.04 to +0.07" in said
    assert said.endswith("the difference is real but smaller than the margin.")
    assert "gain" not in said
    assert "gap" not in said
    markdown = api.get(found["distillation"]["links"]["self"] + "?format=md").text
    assert said in markdown
    assert markdown.count("quivalent within") == 1


def test_what_was_tested_on_other_images_is_compared_nowhere(
    api: TestClient, database: Database, settings: Settings
) -> None:
    found = answers(api, database, settings, LARGE)
    address = found["distillation"]["links"]["self"]
    with database.writing() as session:
        rows = experiments.runs_of(session, [found["distillation"]["experiment_id"]])
        for run in rows[found["distillation"]["experiment_id"]]:
            run.environment = {**(run.environment or {}), "dataset_sha256": "e" * 64}
            session.add(run)
    refused = api.get(found["comparison"]["links"]["self"])
    assert refused.status_code == 409
    gain = api.get(address).json()["gain"]
    assert (gain["verdict"], gain["mean"], gain["n"], gain["pairs"]) == (
        "not_measured",
        None,
        0,
        [],
    )
    assert gain["sentence"] == f"Not measured: {refused.json()['detail']}."
    assert gain["gap_reason"] == refused.json()["detail"]
