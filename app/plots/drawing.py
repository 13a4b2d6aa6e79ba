"""Which module draws which figure, in which formats and appearances."""

from collections.abc import Callable
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

LATEX: Final = {"tex", "tikz"}
"""Extensions of a picture as LaTeX source: a whole document, or the picture alone."""
WRITTEN_BY: Final[dict[type, str]] = {
    CurvesFigure: "curves",
    FactorFigure: "factor",
    StudyCurvesFigure: "study_curves",
}
"""Modules of `app.plots.pgfplots`, for figures that there is as LaTeX source; `write_` and its name."""


def draw(figure: Any, extension: str, appearance: Appearance = USUAL) -> bytes:
    """The picture of any figure of `app.plots.figures`. `extension`: png, svg or pdf; tex or tikz where it is one of
    `WRITTEN_BY`.
    """
    from app.plots.canvas.colors import appearing
    from app.plots.canvas.fonts import all_letters_kept

    make = _maker(type(figure), extension)
    with appearing(appearance), all_letters_kept(extension == "svg"):
        picture: bytes = make(entitled(figure, appearance), extension)
    return picture


def _maker(kind: type, extension: str) -> Callable[[Any, str], bytes]:
    is_source = extension in LATEX
    place = WRITTEN_BY[kind] if is_source else DRAWN_BY[kind]
    module = import_module(f"app.plots.{'pgfplots' if is_source else 'pictures'}.{place}")
    found: Callable[[Any, str], bytes] = getattr(
        module, f"{'write' if is_source else 'draw'}_{place.rpartition('.')[2]}"
    )
    return found


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
