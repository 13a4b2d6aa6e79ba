"""A study's scores against a factor, as a figure."""

from collections.abc import Sequence

from app.plots.figures.studies import FactorFigure, Group, Point
from app.services.analyses.studies.tables import Table, TableRow
from app.services.analyses.studies.words import is_number, known_factor, spoken, subtitle_of
from app.services.studies.studies import StudyCell, WholeStudy
from lab_models.studies.design import factor_text

MOST_POINTS = 250
"""Points of one picture: what does not fit on a few pages, and takes seconds to draw."""


def factor_figure(table: Table, factor: str | None) -> FactorFigure:
    """The score against a factor, one line for each combination of the others; raises NotFound where the study has no
    such factor.

    Without a name the first factor that is a number is taken, or else one row per cell.
    """
    whole = table.whole
    name = _chosen(
        whole,
        factor,
        [
            is_number(row.cell.cell.factors.get(name))
            for name in table.factors
            for row in table.rows[:1]
        ],
    )
    groups: dict[str, list[Point]] = {}
    for row in table.rows[:MOST_POINTS]:
        value = row.cell.cell.title if name is None else row.cell.cell.factors.get(name)
        if value is not None:
            groups.setdefault(
                "all cells" if name is None else _others(row.cell, name, table.factors), []
            ).append(_point(row, spoken(value)))
    more = (
        f"; the first {MOST_POINTS} of {len(table.rows)} cells"
        if len(table.rows) > MOST_POINTS
        else ""
    )
    return FactorFigure(
        title=whole.study.name,
        subtitle=subtitle_of(whole) + more,
        metric=table.metric.label,
        factor=name or "",
        groups=[Group(title, points) for title, points in groups.items()],
        as_percent=table.metric.is_fraction,
    )


def _chosen(whole: WholeStudy, factor: str | None, are_numbers: Sequence[bool]) -> str | None:
    if factor is not None:
        return known_factor(whole, factor)
    factors = whole.design.factors
    return next(
        (name for name, is_number in zip(factors, are_numbers, strict=False) if is_number), None
    )


def _others(cell: StudyCell, name: str, factors: Sequence[str]) -> str:
    """The other factors' values, as a line's name."""
    said = [
        (
            (other if value else f"no {other}" if other != "residual" else "plain")
            if isinstance(value, bool)
            else f"{other} {factor_text(value)}"
        )
        for other in factors
        if other != name and (value := cell.cell.factors.get(other)) is not None
    ]
    return ", ".join(said) or "all cells"


def _point(row: TableRow, x: float | str) -> Point:
    values = () if row.score is None else row.score.values
    return Point(
        x,
        values,
        None if row.score is None else row.score.ci95,
        None if row.published is None else row.published.value,
    )
