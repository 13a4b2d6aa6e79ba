"""Curves of several experiments in one picture: what studies and comparisons share."""

from collections.abc import Sequence

from sqlmodel import Session

from app.errors import InvalidRequest
from app.plots.figures.studies import CellCurves, Panel, StudyCurvesFigure
from app.plots.series import Series
from app.services.experiments.metrics import curves_of
from lab_models.common.validation import FieldError, did_you_mean

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
            raise InvalidRequest(
                f"there is no metric {name!r}",
                [FieldError("/metric", f"no metric {name!r}", did_you_mean(name, list(METRICS)))],
            )
    if not names:
        raise InvalidRequest(
            "no metric is named",
            [FieldError("/metric", "name at least one metric", "allowed: " + ", ".join(METRICS))],
        )
    return [
        Panel(split, name)
        for name in names
        for split in (("train",) if name in ONLY_TRAIN else ("train", "val"))
    ]


def curves_figure(
    session: Session,
    title: str,
    subtitle: str,
    cells: Sequence[tuple[str, Sequence[str]]],
    panels: list[Panel],
) -> StudyCurvesFigure:
    """One line per cell (title, ids of its runs), of the first cells where there are too many."""
    more = f"; the first {MOST_LINES} of {len(cells)} cells" if len(cells) > MOST_LINES else ""
    shown = cells[:MOST_LINES]
    names = list(
        dict.fromkeys(
            name
            for panel in panels
            for name in (panel.metric, *([HARD_LOSS] if panel.metric == "loss" else []))
        )
    )
    curves = curves_of(session, [runs for _, runs in shown], names)
    lines = [
        CellCurves(name, _panels(found, panels))
        for (name, _), found in zip(shown, curves.groups, strict=True)
    ]
    thinned = f"; {curves.note}" if curves.note else ""
    return StudyCurvesFigure(title, subtitle + more + thinned, panels, lines)


def _panels(found: dict[tuple[str, str], Series], panels: list[Panel]) -> dict[Panel, Series]:
    """A student's training loss is a mixture: its cross-entropy, which the others' can be compared with, is
    `hard_loss`.
    """
    chosen = {
        panel: found.get((panel.split, HARD_LOSS)) if panel.metric == "loss" else None
        for panel in panels
    }
    by_panel = {
        panel: hard or found.get((panel.split, panel.metric)) for panel, hard in chosen.items()
    }
    return {panel: series for panel, series in by_panel.items() if series is not None}
