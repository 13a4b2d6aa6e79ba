"""A study's scores against a factor, as a figure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.plots.figures.scores import FactorFigure, Group, Point
from app.services.analyses.chance import chance_of
from app.services.analyses.scores import ScoreKind
from app.services.analyses.studies.tables import Table, TableRow
from app.services.analyses.studies.words import (
    axis_label,
    is_number,
    known_factor,
    spoken,
    subtitle_of,
    together,
    words_of,
)
from app.services.studies.studies import StudyCell
from lab_models.datasets.catalog import spoken_name
from lab_models.studies.design import factor_text

DATASET = ("dataset", "dataset.name")
"""Says itself, above a panel."""
MOST_POINTS = 250
"""Points of one picture: what does not fit on a few pages, and takes seconds to draw."""


def factor_figure(table: Table, factor: str | None) -> FactorFigure:
    """The score against a factor, one line for each combination of the others; raises NotFound where the study has no
    such factor.

    Without a name the first factor that is a number is taken, drawn ones before listed ones, or else one row per cell.
    Against one of several that were drawn together it is a cloud of points, in which the others differ too.
    """
    whole = table.whole
    name = known_factor(whole, factor) if factor is not None else _first_number(table)
    drawn_together = together(whole)
    is_scatter = name in drawn_together
    is_of_several = table.num_datasets > 1 and name not in DATASET
    others = [
        other
        for other in table.factors
        if other not in (name, *DATASET) and not (is_scatter and other in drawn_together)
    ]
    groups: dict[tuple[str, str], list[Point]] = {}
    for row in table.rows[:MOST_POINTS]:
        value = row.cell.cell.title if name is None else row.cell.cell.factors.get(name)
        if value is not None:
            group = "all cells" if name is None else _said(row.cell, others)
            dataset = spoken_name(row.dataset) if is_of_several else ""
            point = _point(row, spoken(value), table.metric)
            # of a cloud the seeds say how far chance reaches; intervals of two or three hide it
            point = replace(point, ci95=None) if is_scatter else point
            groups.setdefault((dataset, group), []).append(point)
    more = (
        f"; the first {MOST_POINTS} of {len(table.rows)} cells"
        if len(table.rows) > MOST_POINTS
        else ""
    )
    drawn = whole.design.drawn.get(name or "")
    others_said = ", ".join(words_of(other) for other in drawn_together if other != name)
    too = f"differing in {others_said} too"
    return FactorFigure(
        title=whole.study.name,
        subtitle="; ".join([subtitle_of(whole) + more, *table.on_survivors]),
        metric=table.metric.axis,
        factor="" if name is None else axis_label(whole, name),
        groups=[
            Group(f"{title}, {too}" if is_scatter else title, points, dataset)
            for (dataset, title), points in groups.items()
        ],
        as_percent=table.metric.is_fraction,
        is_scatter=is_scatter,
        is_log=drawn is not None and drawn.log is not None,
        chances=_chances(table, is_of_several=is_of_several),
    )


def _chances(table: Table, *, is_of_several: bool) -> dict[str, float]:
    if table.metric.name.rpartition(".")[2] != "accuracy":
        return {}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.rows:
        dataset = spoken_name(row.dataset) if is_of_several else ""
        found.setdefault(dataset, []).append(row.cell.experiment.spec)
    chances = {dataset: chance_of(specs) for dataset, specs in found.items()}
    return {dataset: chance for dataset, chance in chances.items() if chance is not None}


def _first_number(table: Table) -> str | None:
    """By the first row, since the values of one factor are alike."""
    drawn = table.whole.design.drawn
    names = [name for name in table.factors if is_number(table.rows[0].cell.cell.factors.get(name))]
    return next((name for name in names if name in drawn), names[0] if names else None)


def _said(cell: StudyCell, names: Sequence[str]) -> str:
    """The values of those factors, as a line's name."""
    said = [
        (
            (words_of(name) if value else f"no {words_of(name)}" if name != "residual" else "plain")
            if isinstance(value, bool)
            else f"{words_of(name)} {factor_text(value)}"
        )
        for name in names
        if (value := cell.cell.factors.get(name)) is not None
    ]
    return ", ".join(said) or "all cells"


def _point(row: TableRow, x: float | str, metric: ScoreKind) -> Point:
    values = () if row.score is None else row.score.values
    ends = None if row.score is None else row.score.ci95
    return Point(
        x,
        values,
        None if ends is None else metric.cut(ends),
        None if row.published is None else row.published.value,
        row.seeds,
    )
