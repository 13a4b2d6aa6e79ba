"""Which module draws which figure, in which formats and appearances."""

from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from app.plots.appearance import USUAL, Appearance
from app.plots.figures.experiments import (
    ComparisonFigure,
    ConfusionFigure,
    CurvesFigure,
    ExplanationFigure,
    GradientFlowFigure,
    LayerGradientFigure,
)
from app.plots.figures.scores import FactorFigure
from app.plots.figures.studies import (
    DifferencesFigure,
    HeatMapFigure,
    StudyCurvesFigure,
    StudyGradientsFigure,
    TradeoffFigure,
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
    LayerGradientFigure: "experiments.layer_gradient",
    StudyCurvesFigure: "studies.study_curves",
    StudyGradientsFigure: "studies.study_gradients",
    TradeoffFigure: "studies.tradeoff",
}
"""Modules of `app.plots.pictures`, each loaded when its first figure comes; its function is called `draw_` and its
name.
"""


def draw(figure: Any, extension: str, appearance: Appearance = USUAL) -> bytes:
    """The picture of any figure of `app.plots.figures`. `extension`: png, svg or pdf."""
    from app.plots.canvas.colors import appearing
    from app.plots.canvas.fonts import all_letters_kept

    place = DRAWN_BY[type(figure)]
    module, name = import_module(f"app.plots.pictures.{place}"), place.rpartition(".")[2]
    with appearing(appearance), all_letters_kept(extension == "svg"):
        picture: bytes = getattr(module, f"draw_{name}")(entitled(figure, appearance), extension)
    return picture


def entitled(figure: Any, appearance: Appearance) -> Any:
    """The figure under the title that is asked for; without one it has no subtitle either."""
    if appearance.title is None:
        return figure
    if appearance.title:
        return replace(figure, title=appearance.title)
    return replace(figure, title="", subtitle=type(figure.subtitle)())


def warm_up() -> None:
    """Draw what is asked for most, so that fonts are found and read before anybody waits for a picture."""
    import numpy as np

    values = np.array([0.5, 0.25])
    series = Series(np.array([1, 2]), values, values, values, 1)
    curves = {
        (split, metric): series for split in ("train", "val") for metric in ("loss", "accuracy")
    }
    draw(CurvesFigure("warm", "up", ["loss", "accuracy"], curves, 2, chosen=[1]), "png")
