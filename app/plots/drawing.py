"""Which module draws which figure."""

from importlib import import_module
from typing import Any, Final

from app.plots.figures import (
    ComparisonFigure,
    ConfusionFigure,
    CurvesFigure,
    DifferencesFigure,
    ExplanationFigure,
    FactorFigure,
    GradientFlowFigure,
    HeatMapFigure,
    StudyCurvesFigure,
    StudyGradientsFigure,
)
from app.plots.series import Series

DRAWN_BY: Final[dict[type, str]] = {
    ComparisonFigure: "comparison",
    ConfusionFigure: "confusion",
    CurvesFigure: "curves",
    DifferencesFigure: "differences",
    ExplanationFigure: "explanations",
    FactorFigure: "factor",
    GradientFlowFigure: "gradient_flow",
    HeatMapFigure: "heat_map",
    StudyCurvesFigure: "study_curves",
    StudyGradientsFigure: "study_gradients",
}
"""Modules of `app.plots.pictures`, each loaded when its first figure comes; its function is called `draw_` and its
name.
"""


def draw(figure: Any, extension: str) -> bytes:
    """The picture of any figure of `app.plots.figures`. `extension`: png, svg or pdf."""
    name = DRAWN_BY[type(figure)]
    picture: bytes = getattr(import_module(f"app.plots.pictures.{name}"), f"draw_{name}")(
        figure, extension
    )
    return picture


def warm_up() -> None:
    """Draw what is asked for most, so that fonts are found and read before anybody waits for a picture."""
    import numpy as np

    values = np.array([0.5, 0.25])
    series = Series(np.array([1, 2]), values, values, values, 1)
    curves = {
        (split, metric): series for split in ("train", "val") for metric in ("loss", "accuracy")
    }
    draw(CurvesFigure("warm", "up", ["loss", "accuracy"], curves, 2, best_epoch=1), "png")
