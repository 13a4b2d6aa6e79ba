"""Which module draws which figure, and in which formats."""

from importlib import import_module
from typing import Any, Final

from app.plots.figures.experiments import (
    ComparisonFigure,
    ConfusionFigure,
    CurvesFigure,
    ExplanationFigure,
    GradientFlowFigure,
)
from app.plots.figures.studies import (
    DifferencesFigure,
    FactorFigure,
    HeatMapFigure,
    StudyCurvesFigure,
    StudyGradientsFigure,
)
from app.plots.series import Series

FORMATS: Final = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}

DRAWN_BY: Final[dict[type, str]] = {
    ComparisonFigure: "experiments.comparison",
    ConfusionFigure: "experiments.confusion",
    CurvesFigure: "experiments.curves",
    DifferencesFigure: "studies.differences",
    ExplanationFigure: "experiments.explanations",
    FactorFigure: "studies.factor",
    GradientFlowFigure: "experiments.gradient_flow",
    HeatMapFigure: "studies.heat_map",
    StudyCurvesFigure: "studies.study_curves",
    StudyGradientsFigure: "studies.study_gradients",
}
"""Modules of `app.plots.pictures`, each loaded when its first figure comes; its function is called `draw_` and its
name.
"""


def draw(figure: Any, extension: str) -> bytes:
    """The picture of any figure of `app.plots.figures`. `extension`: png, svg or pdf."""
    place = DRAWN_BY[type(figure)]
    module, name = import_module(f"app.plots.pictures.{place}"), place.rpartition(".")[2]
    picture: bytes = getattr(module, f"draw_{name}")(figure, extension)
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
