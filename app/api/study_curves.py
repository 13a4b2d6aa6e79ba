"""Curves of several experiments in one picture: what studies and comparisons share."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from app.api.pictures import Extension, picture
from app.errors import InvalidRequest
from app.plots.study_curves import CellCurves, Panel, StudyCurvesFigure, draw_study_curves
from app.services.metrics import RunMetrics, metrics_of
from app.tables import Run
from lab_models.validation import FieldError, did_you_mean

METRICS = ("loss", "accuracy", "learning_rate", "seconds")
ONLY_TRAIN = ("learning_rate",)
HARD_LOSS = "hard_loss"

MOST_LINES = 40
"""Cells of one picture: more lines cannot be told apart, and take seconds to draw."""


def panels_of(listed: str) -> list[Panel]:
    """Panels for metrics separated by commas, train beside val; raises InvalidRequest."""
    names = list(dict.fromkeys(name.strip() for name in listed.split(",") if name.strip()))
    for name in names:
        if name not in METRICS:
            raise InvalidRequest(f"there is no metric {name!r}", [FieldError("/metric", f"no metric {name!r}", did_you_mean(name, list(METRICS)))])
    if not names:
        raise InvalidRequest("no metric is named", [FieldError("/metric", "name at least one metric", "allowed: " + ", ".join(METRICS))])
    return [Panel(split, name) for name in names for split in (("train",) if name in ONLY_TRAIN else ("train", "val"))]


def curves_figure(session: Session, title: str, subtitle: str, cells: Sequence[tuple[str, list[Run]]], panels: list[Panel]) -> StudyCurvesFigure:
    """One line per cell (title, runs), of the first cells where there are too many."""
    more = f"; the first {MOST_LINES} of {len(cells)} cells" if len(cells) > MOST_LINES else ""
    shown = cells[:MOST_LINES]
    numbers = metrics_of(session, [run.id for _, runs in shown for run in runs])
    lines = [CellCurves(name, [_panels(numbers[run.id], panels) for run in runs if numbers[run.id]]) for name, runs in shown]
    return StudyCurvesFigure(title, subtitle + more, panels, lines)


def curves_picture(figure: StudyCurvesFigure, extension: Extension, if_none_match: str | None) -> Any:
    """The picture, or 304."""
    return picture(repr(figure), lambda: draw_study_curves(figure, extension.value), extension, if_none_match)


def _panels(numbers: RunMetrics, panels: list[Panel]) -> dict[Panel, dict[int, float | None]]:
    return {panel: series for panel in panels if (series := _series(numbers, panel))}


def _series(numbers: RunMetrics, panel: Panel) -> dict[int, float | None]:
    """A student's training loss is a mixture: its cross-entropy, which the others' can be compared with, is `hard_loss`."""
    found: dict[int, float | None] = {}
    for epoch, splits in numbers.items():
        scores = splits.get(panel.split, {})
        name = HARD_LOSS if panel.metric == "loss" and HARD_LOSS in scores else panel.metric
        if name in scores:
            found[epoch] = scores[name]
    return found
