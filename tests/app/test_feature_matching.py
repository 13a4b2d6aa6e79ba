"""A student that is given more than logits, over HTTP: what is refused at submit, what it is said to cost, what its
table says.
"""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app.services.experiments import experiments
from app.services.experiments.metrics import record_epoch
from app.storage.db import Database
from app.storage.tables import Experiment
from tests.app.studies import send
from tests.app.test_distillation_table import words

CNN = {"arch": "cnn", "stages": 2, "width": 8}
BODY: dict[str, Any] = {
    "kind": "distill",
    "teacher": {"spec": {"model": {**CNN, "width": 16}}},
    "student": CNN,
    "teacher_outputs": "live",
}


@pytest.mark.parametrize(
    ("change", "pointer", "message", "hint"),
    [
        (
            {"features": "attentive"},
            "/features",
            "must be 'attention' or 'hint'",
            "did you mean 'attention'?",
        ),
        (
            {"features": {"name": "hint", "weigth": 1.0}},
            "/features/weigth",
            "unknown field",
            "did you mean 'weight'?",
        ),
        (
            {"features": {"weight": -1.0}},
            "/features/weight",
            "input should be greater than or equal to 0",
            None,
        ),
        (
            {"features": {"stages": []}},
            "/features/stages",
            "must have at least 1 items, not 0",
            None,
        ),
        (
            {"features": {"stages": [["stages.1"]]}},
            "/features/stages/0/1",
            "required field is missing",
            None,
        ),
        (
            {"features": "attention", "teacher_outputs": "stored"},
            "",
            (
                "'features' are read from the teacher as it runs, and stored outputs are its logits alone: set"
                " 'teacher_outputs' to \"live\""
            ),
            None,
        ),
        (
            {"features": {"stages": [["stages.1", "stages.7"]]}},
            "/features/stages/0/1",
            "the student has no stage 'stages.7' to be compared",
            None,
        ),
        (
            {"features": "attention", "student": "mlp"},
            "/features",
            "attention is of maps, and the student is an MLP, which has none",
            'for layers without maps there is "hint"',
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_submit_with_its_place(
    api: TestClient, change: dict[str, Any], pointer: str, message: str, hint: str | None
) -> None:
    answer = api.post("/experiments", json=BODY | change)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["message"]) == (pointer, message)
    assert hint is None or error["hint"] == hint
    assert api.get("/experiments").json()["data"] == []


def test_a_student_on_images_that_it_cannot_see_is_refused_for_that(api: TestClient) -> None:
    answer = api.post(
        "/experiments",
        json=BODY | {"features": "attention", "student": {"arch": "vgg", "widths": [4, 4, 4, 4]}},
    )
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/student"]


def test_features_are_no_part_of_the_students_size(api: TestClient) -> None:
    plain, hinted = (
        api.post("/experiments?dry_run=true", json=BODY | {"features": features}).json()
        for features in (None, "hint")
    )
    assert (
        hinted["estimate"]["trainable_parameters"]
        == plain["estimate"]["trainable_parameters"]
        == plain["estimate"]["parameters"]
    )
    # two 1x1 convs with biases: the teacher's channels from the student's
    weights = 32 * 17 + 16 * 9
    # and their gradients and Adam's two moments
    assert hinted["estimate"]["memory_bytes"] - plain["estimate"]["memory_bytes"] == 4 * 4 * weights
    assert hinted["spec"]["features"] == {"name": "hint", "weight": 1.0, "stages": None}


def test_a_teacher_is_not_listened_to_only_where_neither_logits_nor_features_count(
    api: TestClient,
) -> None:
    def warned(**fields: Any) -> bool:
        found = api.post("/experiments?dry_run=true", json={**BODY, "alpha": 0.0, **fields}).json()[
            "warnings"
        ]
        return any("not listened to" in warning for warning in found)

    assert warned()
    assert warned(features={"weight": 0.0})
    assert not warned(features="attention")


def test_a_study_varies_features_by_name_and_by_field(api: TestClient) -> None:
    names = send(
        api, spec=BODY | {"epochs": 1}, vary={"features": [None, "attention", "hint"]}, seeds=1
    )
    assert [cell["key"] for cell in names["cells"]] == [
        "features=null",
        "features=attention",
        "features=hint",
    ]
    weights = send(
        api,
        spec=BODY | {"epochs": 1, "features": "hint"},
        vary={"features.weight": [1.0, 10.0]},
        seeds=1,
    )
    specs = [
        api.get(f"/experiments/{cell['experiment_id']}").json()["spec"]["features"]
        for cell in weights["cells"]
    ]
    assert [(features["name"], features["weight"]) for features in specs] == [
        ("hint", 1.0),
        ("hint", 10.0),
    ]


def test_the_comparison_says_what_was_matched_and_draws_it_as_it_counts(
    api: TestClient, database: Database
) -> None:
    features = {"name": "attention", "weight": 250.0, "stages": [["stages.1", "stages.1"]]}
    student = api.post("/experiments", json=BODY | {"features": features, "baseline": True}).json()
    with database.writing() as session:
        experiment = session.get_one(Experiment, student["id"])
        (run,) = experiments.its_runs(session, experiment.id)
        numbers = {
            "loss": 3.0,
            "accuracy": 0.5,
            "hard_loss": 0.8,
            "soft_loss": 1.2,
            "attention_loss": 0.004,
        }
        record_epoch(session, run.id, 1, {"train": numbers, "val": {"loss": 1.0, "accuracy": 0.5}})
    address = student["links"]["self"] + "/distillation"
    assert api.get(address).json()["features"] == features
    assert api.get(f"{address}?format=md").text.count("| distilled |") == 1
    assert api.get(f"{address}?format=csv").text.count("\n") == 4
    shown = words(api.get(f"{address}.svg").content)
    assert {
        "distilled, attention loss in training",
        "as it counts, times 250",
        "0.9 · soft + 0.1 · hard + 250 · attention",
    } <= set(shown)
