"""The confusion matrix over HTTP: what succeeded runs found, added up; and its picture, legible for two classes and for
a hundred.
"""

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.plots.figures.experiments import ConfusionFigure
from app.plots.pictures.experiments.confusion import MOST_TICK_LABELS, draw_confusion
from app.services import lifecycle
from app.services.analyses.confusion import most_confused
from app.services.experiments import progress
from app.settings import Settings
from app.storage.db import Database
from lab_models.common.files import write_atomically
from lab_models.training.assessment import (
    EVALUATION_NAME,
    Assessment,
    assess,
    evaluation_file,
    row_fractions,
)
from lab_models.training.protocol import Completed, Failed, SavedArtifact
from tests.app.pictures import words

DIGITS = tuple(str(digit) for digit in range(10))
NUM_IMAGES = 200


def assessment(seed: int, class_names: tuple[str, ...] = DIGITS) -> Assessment:
    """What a mediocre model would have found."""
    generator = np.random.default_rng(seed)
    labels = np.arange(NUM_IMAGES) % len(class_names)
    logits = generator.normal(size=(NUM_IMAGES, len(class_names)))
    logits[np.arange(NUM_IMAGES), labels] += 1.5
    return assess(logits.astype(np.float32), labels, class_names)


@pytest.fixture
def seeds(api: TestClient) -> dict[str, Any]:
    """The record of a queued experiment with three seeds."""
    record: dict[str, Any] = api.post(
        "/experiments", json={"name": "three seeds", "seeds": 3}
    ).json()
    return record


def succeed(
    database: Database, settings: Settings, found: Assessment, dataset_sha256: str = "a" * 64
) -> Path:
    """Carry out the next queued run as a worker would, with these results; returns the file it published."""
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker-1")
        assert lease is not None
    path = f"attempt-1/{EVALUATION_NAME}"
    content = evaluation_file(found, dataset="digits", dataset_sha256=dataset_sha256)
    written = write_atomically(settings.runs_folder / lease.run_id / path, content)
    artifact = SavedArtifact(
        name=EVALUATION_NAME,
        media_type="application/json",
        path=path,
        sha256=written.sha256,
        size_bytes=written.size_bytes,
    )
    completed = Completed(
        stop_reason="all_epochs",
        best_epoch=1,
        best_val={"loss": 1.0, "accuracy": 0.5},
        test=found.scores,
        artifacts=(artifact,),
    )
    with database.writing() as session:
        progress.record_completed(session, lease, completed)
    return written.path


def matrix_of(api: TestClient, record: dict[str, Any]) -> Any:
    return api.get(f"/experiments/{record['id']}/confusion-matrix.json")


def require_not_found(answer: Any, sentence: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"
    assert sentence in answer.json()["detail"]


def test_the_matrices_of_succeeded_runs_are_shown_one_by_one_and_added_up(
    api: TestClient, database: Database, settings: Settings, seeds: dict[str, Any]
) -> None:
    found = [assessment(seed) for seed in (0, 1)]
    for one in found:
        succeed(database, settings, one)
    answer = matrix_of(api, seeds).json()
    assert answer["experiment_id"] == seeds["id"]
    assert (answer["split"], answer["class_names"], answer["num_images"]) == (
        "test",
        list(DIGITS),
        NUM_IMAGES,
    )
    assert [(run["run_id"], run["seed"]) for run in answer["runs"]] == [
        (run["id"], run["seed"]) for run in seeds["runs"][:2]
    ]
    counts = [np.array(one.report["confusion_matrix"]) for one in found]
    assert [run["counts"] for run in answer["runs"]] == [one.tolist() for one in counts]
    pooled = sum(counts)
    assert answer["pooled"]["counts"] == pooled.tolist()
    assert np.array(answer["pooled"]["fractions"]) == pytest.approx(
        pooled / pooled.sum(axis=1, keepdims=True), abs=1e-6
    )

    pairs = answer["most_confused"]
    assert pairs[0]["count"] == (pooled * (1 - np.eye(10, dtype=int))).max()
    assert [pair["count"] for pair in pairs] == sorted(
        (pair["count"] for pair in pairs), reverse=True
    )
    for pair in pairs:
        assert pair["true"] != pair["predicted"]
        assert pair["count"] == pooled[int(pair["true"]), int(pair["predicted"])]
        assert pair["fraction"] == pytest.approx(pair["count"] / 40, abs=1e-6)


def test_every_test_score_has_its_mean_and_interval_in_the_record(
    api: TestClient, database: Database, settings: Settings, seeds: dict[str, Any]
) -> None:
    found = [assessment(seed).scores for seed in range(3)]
    for seed in range(3):
        succeed(database, settings, assessment(seed))
    record = api.get(f"/experiments/{seeds['id']}").json()
    assert [run["test"] for run in record["runs"]] == found
    results = record["results"]["test"]
    assert set(results) == set(found[0])
    assert {
        "precision_weighted",
        "recall_macro",
        "f1_macro",
        "top5_accuracy",
        "ece",
        "nll",
        "brier",
    } <= set(results)
    for name, summary in results.items():
        assert summary["values"] == [scores[name] for scores in found]
        assert summary["ci95"][0] <= summary["mean"] <= summary["ci95"][1]
    picture = api.get(record["links"]["confusion_matrix"])
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")


def test_before_a_run_has_succeeded_it_is_said_when_there_will_be_a_matrix(
    api: TestClient, database: Database, seeds: dict[str, Any]
) -> None:
    for address in ("json", "png"):
        answer = api.get(f"/experiments/{seeds['id']}/confusion-matrix.{address}")
        require_not_found(
            answer,
            "no confusion matrix yet: test is read at the end of a run, and none has succeeded so far; the experiment's"
            " status is queued",
        )
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker-1")
        assert lease is not None
        progress.record_failed(session, lease, Failed(code="diverged", message="it diverged"))
    require_not_found(matrix_of(api, seeds), "the experiment's status is running")
    api.post(f"/experiments/{seeds['id']}/cancel")
    require_not_found(
        matrix_of(api, seeds), "the experiment failed before any run had read the test split"
    )
    require_not_found(
        api.get("/experiments/exp_none/confusion-matrix.json"), "there is no experiment"
    )


def test_runs_that_kept_no_evaluation_are_said_to(
    api: TestClient, database: Database, seeds: dict[str, Any]
) -> None:
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker-1")
        assert lease is not None
        progress.record_completed(
            session,
            lease,
            Completed(stop_reason="all_epochs", best_epoch=1, best_val={}, test={}, artifacts=()),
        )
    require_not_found(matrix_of(api, seeds), "send it again")


def test_a_damaged_or_missing_file_is_said_and_no_server_error(
    api: TestClient, database: Database, settings: Settings, seeds: dict[str, Any]
) -> None:
    path = succeed(database, settings, assessment(0))
    path.write_bytes(path.read_bytes().replace(b"0", b"1"))
    require_not_found(matrix_of(api, seeds), "is damaged: its SHA-256 is not the recorded one")
    path.unlink()
    require_not_found(matrix_of(api, seeds), "is gone from the disk")
    secret = settings.home / "secret.json"
    secret.write_bytes(evaluation_file(assessment(0), dataset="digits", dataset_sha256="a" * 64))
    path.symlink_to(secret)
    require_not_found(matrix_of(api, seeds), "is gone from the disk")


def test_runs_tested_on_other_images_are_not_added_up(
    api: TestClient, database: Database, settings: Settings, seeds: dict[str, Any]
) -> None:
    succeed(database, settings, assessment(0))
    succeed(database, settings, assessment(1, ("a", "b")), dataset_sha256="b" * 64)
    answer = matrix_of(api, seeds)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "different versions of data set 'digits'" in answer.json()["detail"]


def test_an_unchanged_picture_is_not_sent_again(
    api: TestClient, database: Database, settings: Settings, seeds: dict[str, Any]
) -> None:
    succeed(database, settings, assessment(0))
    address = f"/experiments/{seeds['id']}/confusion-matrix"
    pictures = {extension: api.get(f"{address}.{extension}") for extension in ("png", "svg", "pdf")}
    assert [answer.headers["content-type"] for answer in pictures.values()] == [
        "image/png",
        "image/svg+xml",
        "application/pdf",
    ]
    tag = pictures["png"].headers["etag"]
    assert api.get(f"{address}.png", headers={"If-None-Match": tag}).status_code == 304
    by_images = api.get(f"{address}.png?normalize=false", headers={"If-None-Match": tag})
    assert by_images.status_code == 200
    assert by_images.content != pictures["png"].content
    succeed(database, settings, assessment(1))
    assert api.get(f"{address}.png", headers={"If-None-Match": tag}).status_code == 200
    assert api.get(f"{address}.gif").status_code == 422
    assert (
        api.get(f"{address}.png?normalize=perhaps").json()["errors"][0]["pointer"] == "/normalize"
    )


def test_the_picture_says_what_it_shows(
    api: TestClient, database: Database, settings: Settings, seeds: dict[str, Any]
) -> None:
    found = [assessment(seed) for seed in (0, 1)]
    for one in found:
        succeed(database, settings, one)
    shown = words(api.get(f"/experiments/{seeds['id']}/confusion-matrix.svg").content)
    mean = 50 * sum(one.scores["accuracy"] for one in found)
    assert "three seeds" in shown
    assert any(
        re.fullmatch(r"digits, mlp 2 x 512, [\d,]+ parameters, 2 of 3 seeds", text)
        for text in shown
    )
    assert any(
        re.fullmatch(
            rf"test accuracy {mean:.2f} % \(95 % interval .* %\), 2 x 200 test images", text
        )
        for text in shown
    )
    assert "in each cell the percentage of the true class, below it the images" in shown


def test_both_addresses_are_described_in_the_openapi_document(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    numbers = paths["/experiments/{experiment_id}/confusion-matrix.json"]["get"]
    assert numbers["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/ConfusionAnswer"
    )
    picture = paths["/experiments/{experiment_id}/confusion-matrix.{extension}"]["get"]
    assert {"image/png", "image/svg+xml", "application/pdf"} <= set(
        picture["responses"]["200"]["content"]
    )
    assert {parameter["name"] for parameter in picture["parameters"]} == {
        "experiment_id",
        "extension",
        "normalize",
        "theme",
        "size",
        "title",
        "if-none-match",
    }


def figure(num_classes: int, seed: int = 0, **differing: Any) -> ConfusionFigure:
    counts = np.random.default_rng(seed).poisson(0.3, (num_classes, num_classes)) + 20 * np.eye(
        num_classes, dtype=np.int64
    )
    names = [f"class {index}" for index in range(num_classes)]
    usual = ConfusionFigure(
        "a title",
        ("what", "how well"),
        names,
        counts,
        row_fractions(counts),
        by_share=True,
        most_confused=most_confused(counts, 12),
    )
    return dataclasses.replace(usual, **differing)


def colored(png: bytes) -> tuple[int, int]:
    """How many pixels are rather blue, and how many rather orange."""
    red, _, blue = np.moveaxis(
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int), 2, 0
    )
    return int((blue - red > 60).sum()), int((red - blue > 60).sum())


@pytest.mark.parametrize("num_classes", [1, 2, 12, 13, 40, 100])
@pytest.mark.parametrize("by_share", [True, False])
def test_any_number_of_classes_is_drawn(num_classes: int, by_share: bool) -> None:
    assert draw_confusion(figure(num_classes, by_share=by_share), "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_equal_matrices_give_equal_bytes_and_others_do_not(extension: str) -> None:
    first = draw_confusion(figure(4), extension)
    assert first == draw_confusion(figure(4), extension)
    assert first != draw_confusion(figure(4, seed=1), extension)


def test_small_matrices_have_numbers_in_their_cells() -> None:
    counts = np.array([[37, 3], [0, 3000]])
    small = figure(2, counts=counts, fractions=row_fractions(counts), class_names=["cat", "dog"])
    shown = words(draw_confusion(small, "svg"))
    assert {
        "92.5",
        "37",
        "7.5",
        "3",
        "100",
        "3,000",
        "cat",
        "dog",
        "True class",
        "Predicted class",
    } <= set(shown)
    assert "0.0" not in shown, "cells of no confusion stay empty"
    by_images = words(draw_confusion(dataclasses.replace(small, by_share=False), "svg"))
    assert "92.5" not in by_images
    assert "37" in by_images


def test_a_share_never_rounds_to_nothing_or_to_all() -> None:
    counts = np.array([[9999, 1], [0, 10]])
    assert {"99.9", "<0.1"} <= set(
        words(draw_confusion(figure(2, counts=counts, fractions=row_fractions(counts)), "svg"))
    )


def test_a_hundred_classes_have_thinned_names_and_a_list_of_confusions() -> None:
    large = figure(100)
    shown = words(draw_confusion(large, "svg"))
    ticks = [text for text in shown if re.fullmatch(r"class \d+", text)]
    assert MOST_TICK_LABELS <= len(ticks) <= 2 * MOST_TICK_LABELS
    assert "Most often confused" in shown
    listed = [text for text in shown if "\u2192" in text and text.startswith("class")]
    assert listed == [
        f"class {true} \u2192 class {predicted}" for true, predicted in large.most_confused
    ]


def test_what_is_right_is_blue_and_what_is_wrong_is_orange() -> None:
    perfect, never = (
        np.eye(5, dtype=np.int64) * 9,
        np.roll(np.eye(5, dtype=np.int64), 1, axis=1) * 9,
    )
    right, wrong = (
        colored(draw_confusion(figure(5, counts=counts, fractions=row_fractions(counts)), "png"))
        for counts in (perfect, never)
    )
    assert right[0] > 10_000 > right[1] == 0
    assert wrong[1] > 10_000 > wrong[0]


def test_names_are_written_as_they_are_and_long_ones_cut() -> None:
    names = ["$\\frac{$", "a very long name indeed", "two\nlines"]
    shown = words(draw_confusion(figure(3, title="$100 " * 40, class_names=names), "svg"))
    assert "$\\frac{$" in shown
    assert "a very long nam\u2026" in shown
    assert "two lines" in shown
    assert any(text.startswith("$100 $100") and text.endswith("\u2026") for text in shown)


def test_the_most_confused_pairs_come_by_count_then_by_place_and_never_without_images() -> None:
    assert most_confused(np.array([[9, 2, 0], [5, 9, 2], [0, 0, 9]]), 5) == [(1, 0), (0, 1), (1, 2)]
    assert most_confused(np.eye(3, dtype=np.int64), 5) == []
    assert json.dumps(most_confused(np.array([[0, 1], [0, 0]]), 1)) == "[[0, 1]]"
