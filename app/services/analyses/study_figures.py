"""A study's results as the figures that are drawn of them."""

from collections.abc import Iterable, Sequence

import numpy as np
from sqlmodel import Session

from app.errors import InvalidRequest, NotFound
from app.plots.figures.studies import (
    DifferenceRow,
    DifferencesFigure,
    FactorFigure,
    GradientPanel,
    Group,
    HeatMapFigure,
    Point,
    StudyGradientsFigure,
)
from app.services.analyses.gradient_flow import LayerSeries, pooled, series_of, slope_at
from app.services.analyses.scores import ScoreKind
from app.services.analyses.study_tables import Table, TableRow
from app.services.analyses.study_verdicts import ContrastResult
from app.services.experiments.metrics import metrics_of
from app.services.studies.studies import StudyCell, WholeStudy
from app.storage.states import RunStatus
from lab_models.common.validation import FieldError
from lab_models.recipes.recipe import Factor
from lab_models.studies.design import factor_text
from lab_models.training.layer_metrics import LAYER_SPLITS

MOST_GRADIENT_PANELS = 12
MOST_DIFFERENCES = 60
MOST_POINTS = 250
"""Rows and points of one picture: what does not fit on a few pages, and takes seconds to draw."""


def subtitle_of(whole: WholeStudy) -> str:
    """Where the study stands, in one line."""
    datasets = dict.fromkeys(cell.experiment.spec["dataset"]["name"] for cell in whole.cells)
    counts = whole.counts
    unfinished = (
        ""
        if counts[RunStatus.SUCCEEDED] == len(whole.runs)
        else f"{counts[RunStatus.SUCCEEDED]} of "
    )
    seeds = f"{len(whole.design.seeds)} seed{'s' if len(whole.design.seeds) > 1 else ''}"
    return f"{', '.join(datasets)}, {len(whole.cells)} cells, {seeds}, {unfinished}{len(whole.runs)} runs"


def factor_figure(whole: WholeStudy, table: Table, factor: str | None) -> FactorFigure:
    """The score against a factor, one line for each combination of the others; raises NotFound where the study has no
    such factor.

    Without a name the first factor that is a number is taken, or else one row per cell.
    """
    name = _chosen(
        whole,
        factor,
        [_is_number(row.cell, name) for name in table.factors for row in table.rows[:1]],
    )
    groups: dict[str, list[Point]] = {}
    for row in table.rows[:MOST_POINTS]:
        value = row.cell.cell.title if name is None else row.cell.cell.factors.get(name)
        if value is not None:
            groups.setdefault(
                "all cells" if name is None else _others(row.cell, name, table.factors), []
            ).append(_point(row, _spoken(value)))
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


def differences_figure(
    whole: WholeStudy, results: Sequence[ContrastResult], metric: ScoreKind
) -> DifferencesFigure:
    """Every contrast's differences; raises NotFound where the study compares nothing."""
    if not results:
        raise NotFound(
            f"study {whole.study.id} has no contrasts, so there are no differences to draw; name some in `contrasts`"
            " when you start one"
        )
    rows = []
    for result in results[:MOST_DIFFERENCES]:
        paired = None if result.comparison is None else result.comparison.paired
        rows.append(
            DifferenceRow(
                title=result.title,
                differences=() if paired is None else paired.differences,
                mean=None if paired is None else paired.mean,
                ci95=None if paired is None else paired.ci95,
                verdict="not comparable"
                if result.comparison is None
                else result.judgement.verdict.text,
            )
        )
    margins = {
        result.comparison.paired.margin for result in results if result.comparison is not None
    }
    unit = metric.unit or metric.label.lower()
    more = (
        f"; the first {MOST_DIFFERENCES} of {len(results)} contrasts"
        if len(results) > MOST_DIFFERENCES
        else ""
    )
    return DifferencesFigure(
        whole.study.name,
        f"{metric.label}, {subtitle_of(whole)}{more}",
        unit,
        margins.pop() if len(margins) == 1 else None,
        rows,
    )


def heat_map_figure(whole: WholeStudy, table: Table, x: str | None, y: str | None) -> HeatMapFigure:
    """Means over two factors; a cell without both is the baseline if there is just one such. Raises NotFound below two
    factors.
    """
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
    x_name = _known(whole, x) if x is not None else next(name for name in names if name != y)
    y_name = _known(whole, y) if y is not None else next(name for name in names if name != x_name)
    placed = {
        (row.cell.cell.factors[y_name], row.cell.cell.factors[x_name]): row
        for row in table.rows
        if _has(row.cell, x_name) and _has(row.cell, y_name)
    }
    x_values = _in_order(row.cell.cell.factors[x_name] for row in placed.values())
    y_values = _in_order(row.cell.cell.factors[y_name] for row in placed.values())
    means, counts = (
        np.full((len(y_values), len(x_values)), np.nan),
        np.zeros((len(y_values), len(x_values)), dtype=np.int64),
    )
    for (y_value, x_value), row in placed.items():
        if row.score is not None:
            place = y_values.index(y_value), x_values.index(x_value)
            means[place], counts[place] = row.score.mean, row.score.n
    baselines = [
        row.score.mean
        for row in table.rows
        if row.score is not None and "baseline" in row.cell.cell.key
    ]
    return HeatMapFigure(
        title=whole.study.name,
        subtitle=subtitle_of(whole),
        metric=table.metric.label,
        x_name=x_name,
        y_name=y_name,
        x_values=[_spoken(value) for value in x_values],
        y_values=[_spoken(value) for value in y_values],
        means=means,
        counts=counts,
        baseline=baselines[0] if len(baselines) == 1 else None,
        as_percent=table.metric.is_fraction,
    )


def gradients_figure(session: Session, whole: WholeStudy) -> StudyGradientsFigure:
    """One panel per cell that measured gradients; raises NotFound where none has yet."""
    panels = []
    for cell in whole.cells:
        metrics = metrics_of(session, [run.id for run in cell.runs], LAYER_SPLITS)
        found = [
            series for numbers in metrics.values() if (series := series_of(numbers)) is not None
        ]
        if found:
            panels.append(_gradient_panel(cell, pooled(found)))
    if not panels:
        raise NotFound(
            f'no cell of study {whole.study.id} has measured gradients (yet); a cell does with "probes":'
            ' ["gradient_flow"]'
        )
    more = (
        f"; the first {MOST_GRADIENT_PANELS} of {len(panels)} cells"
        if len(panels) > MOST_GRADIENT_PANELS
        else ""
    )
    return StudyGradientsFigure(
        whole.study.name, subtitle_of(whole) + more, panels[:MOST_GRADIENT_PANELS]
    )


def _gradient_panel(cell: StudyCell, series: LayerSeries) -> GradientPanel:
    caption = slope_at(series, -1).sentence
    return GradientPanel(
        cell.cell.title,
        caption,
        series.layers,
        tuple(int(epoch) for epoch in series.epochs),
        series.l2,
    )


def _chosen(whole: WholeStudy, factor: str | None, are_numbers: Sequence[bool]) -> str | None:
    if factor is not None:
        return _known(whole, factor)
    factors = whole.design.factors
    return next(
        (name for name, is_number in zip(factors, are_numbers, strict=False) if is_number), None
    )


def _known(whole: WholeStudy, factor: str) -> str:
    if factor not in whole.design.factors:
        raise NotFound(
            f"study {whole.study.id} has no factor {factor!r}; it varies {', '.join(whole.design.factors) or 'none'}"
        )
    return factor


def _is_number(cell: StudyCell, name: str) -> bool:
    return _number(cell.cell.factors.get(name))


def _number(value: Factor) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has(cell: StudyCell, name: str) -> bool:
    return cell.cell.factors.get(name) is not None


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


def _spoken(value: Factor) -> float | str:
    """A number as it is, for an axis; anything else as people read it."""
    return (
        value
        if isinstance(value, int | float) and not isinstance(value, bool)
        else factor_text(value)
    )


def _in_order(values: Iterable[Factor]) -> list[Factor]:
    """Each value once: numbers rising, others as they come."""
    distinct = list(dict.fromkeys(values))
    return (
        sorted(distinct, key=lambda value: float(value or 0))
        if all(_number(value) for value in distinct)
        else distinct
    )
