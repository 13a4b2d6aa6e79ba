"""A study's means over two factors, as a figure."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from app.errors import InvalidRequest, NotFound
from app.plots.figures.studies import HeatMapFigure
from app.services.analyses.studies.tables import Table, TableRow
from app.services.analyses.studies.words import (
    axis_label,
    is_number,
    known_factor,
    spoken,
    subtitle_of,
    together,
)
from app.services.studies.studies import StudyCell
from lab_models.common.validation import FieldError
from lab_models.recipes.recipe import Factor
from lab_models.statistics.summary import is_vague


def heat_map_figure(table: Table, x: str | None, y: str | None) -> HeatMapFigure:
    """Means over two factors; a cell beside them that those on the map are compared with is the baseline if there is
    just one such. Raises NotFound below two factors.
    """
    whole = table.whole
    if together(whole):
        raise NotFound(
            f"study {whole.study.id} has points that were drawn, not a grid: factor.png shows a score against one of"
            f" {', '.join(together(whole))}"
        )
    x, y = (None if name is None else known_factor(whole, name) for name in (x, y))
    if x is not None and x == y:
        raise InvalidRequest(
            f"x and y are both {x!r}", [FieldError("/y", "must be another factor than x")]
        )
    names = [
        name
        for name in table.factors
        if len({row.cell.cell.factors.get(name) for row in table.rows} - {None}) > 1
    ]
    if len(names) < 2 and (x is None or y is None):
        raise NotFound(
            f"study {whole.study.id} varies {' and '.join(names) or 'nothing'}: a heat map needs two factors that vary"
        )
    x_name = x or next(name for name in names if name != y)
    y_name = y or next(name for name in names if name != x_name)
    on_map = [row for row in table.rows if _has(row.cell, x_name) and _has(row.cell, y_name)]
    placed = {(row.cell.cell.factors[y_name], row.cell.cell.factors[x_name]): row for row in on_map}
    x_values = _in_order(row.cell.cell.factors[x_name] for row in placed.values())
    y_values = _in_order(row.cell.cell.factors[y_name] for row in placed.values())
    means, half_widths = (np.full((len(y_values), len(x_values)), np.nan) for _ in range(2))
    counts = np.zeros((len(y_values), len(x_values)), dtype=np.int64)
    for (y_value, x_value), row in placed.items():
        if row.score is not None:
            place = y_values.index(y_value), x_values.index(x_value)
            means[place], counts[place] = row.score.mean, row.score.n
            ends = row.score.ci95
            if ends and not (table.metric.is_fraction and is_vague(ends)):
                half_widths[place] = (ends[1] - ends[0]) / 2
    baselines = [row.score.mean for row in _baselines(table, on_map) if row.score is not None]
    return HeatMapFigure(
        title=whole.study.name,
        subtitle="; ".join([subtitle_of(whole), *table.on_survivors]),
        metric=table.metric.axis,
        x_name=axis_label(whole, x_name),
        y_name=axis_label(whole, y_name),
        x_values=[spoken(value) for value in x_values],
        y_values=[spoken(value) for value in y_values],
        means=means,
        counts=counts,
        baseline=baselines[0] if len(baselines) == 1 else None,
        as_percent=table.metric.is_fraction,
        half_widths=half_widths,
    )


def _baselines(table: Table, on_map: Sequence[TableRow]) -> Iterator[TableRow]:
    """The rows beside the map that are the control of a contrast with one on it, whatever they are called."""
    keys = {row.cell.cell.key for row in on_map}
    contrasts = table.whole.design.contrasts
    controls = {contrast.control for contrast in contrasts if contrast.treatment in keys} - keys
    return (row for row in table.rows if row.cell.cell.key in controls)


def _has(cell: StudyCell, name: str) -> bool:
    return cell.cell.factors.get(name) is not None


def _in_order(values: Iterable[Factor]) -> list[Factor]:
    """Each value once: numbers rising, others as they come."""
    distinct = list(dict.fromkeys(values))
    return (
        sorted(distinct, key=lambda value: float(value or 0))
        if all(is_number(value) for value in distinct)
        else distinct
    )
