"""Curves: what is drawn is what was measured, in every format, with and without numbers."""

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from app.plots.canvas.style import power_of_ten
from app.plots.figures.experiments import CurvesFigure
from app.plots.pictures.experiments.curves import draw_curves
from tests.app.pictures import words
from tests.app.series import over_runs

pytestmark = pytest.mark.sqlite  # pictures


def figure(num_runs: int, epochs: int = 5, gap: bool = False) -> CurvesFigure:
    curves = {}
    for split in ("train", "val"):
        for name in ("loss", "accuracy"):
            of_run = [
                {
                    epoch: None if gap and epoch == 2 else 1.0 / (epoch + run + (split == "val"))
                    for epoch in range(1, epochs + 1)
                }
                for run in range(num_runs)
            ]
            curves[split, name] = over_runs(*of_run)
    return CurvesFigure(
        "a title",
        "a subtitle",
        ["loss", "accuracy"],
        curves,
        epochs,
        chosen=[3] if num_runs == 1 else [],
    )


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("num_runs", [0, 1, 3])
@pytest.mark.parametrize(
    ("extension", "beginning"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_every_format_is_drawn_for_any_number_of_runs(
    num_runs: int, extension: str, beginning: bytes
) -> None:
    assert draw_curves(figure(num_runs), extension).startswith(beginning)


@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_equal_figures_give_equal_bytes(extension: str) -> None:
    assert draw_curves(figure(2), extension) == draw_curves(figure(2), extension)


def test_the_text_of_a_figure_says_what_it_shows() -> None:
    svg = draw_curves(figure(3), "svg").decode()
    for text in (
        "a title",
        "a subtitle",
        "Loss (cross-entropy, nats)",
        "Accuracy",
        "Epoch",
        "train, mean and range of 3 runs",
        "val, mean and range of 3 runs",
    ):
        assert f">{text}</text>" in svg
    assert ">best epoch, 3</text>" in draw_curves(figure(1), "svg").decode()
    assert ">no epoch finished yet</text>" in draw_curves(figure(0), "svg").decode()


def test_a_number_that_was_not_finite_leaves_a_gap_and_no_error() -> None:
    assert draw_curves(figure(1, gap=True), "png") != draw_curves(figure(1), "png")


def test_a_single_epoch_is_visible() -> None:
    colored = np.ptp(pixels(draw_curves(figure(1, epochs=1), "png")).astype(int), axis=2) > 60
    assert colored.sum() > 50


def test_two_panels_stand_beside_each_other_and_further_ones_below() -> None:
    def size(*metrics: str) -> tuple[int, int]:
        drawn = dataclasses.replace(figure(1), metrics=metrics)
        height, width = pixels(draw_curves(drawn, "png")).shape[:2]
        return width, height

    one, two, four = (
        size("loss"),
        size("loss", "accuracy"),
        size("loss", "accuracy", "learning_rate", "seconds"),
    )
    assert one[0] < 0.6 * two[0]
    assert two[0] == four[0] <= 1400
    assert one[1] - 40 < two[1] < 0.7 * four[1]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ([3], "best epoch, 3"),
        ([5, 2, 2], "best epochs of 3 runs: 2, 2, 5"),
        (range(1, 8), "best epochs of 7 runs"),
    ],
)
def test_chosen_epochs_are_marked_and_named_for_any_number_of_runs(
    chosen: Sequence[int], said: str
) -> None:
    assert said in words(draw_curves(dataclasses.replace(figure(3), chosen=chosen), "svg"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-8, "10⁻⁸"), (1.0, "10⁰"), (1000.0, "10³"), (2e-3, ""), (0.0, ""), (-1.0, "")],
)
def test_powers_of_ten_are_written_in_plain_text(value: float, text: str) -> None:
    assert power_of_ten(value) == text
