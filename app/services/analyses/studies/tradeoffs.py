"""A study's scores against what its cells cost, as a figure."""

from enum import StrEnum

from app.plots.figures.studies import Priced, TradeoffFigure
from app.services.analyses.studies.tables import Table, TableRow
from app.services.analyses.studies.words import subtitle_of

MOST_POINTS = 60
"""Cells of one picture: more names cannot be read beside each other."""


class CostKind(StrEnum):
    """What a cell costs."""

    SECONDS = "seconds"
    PARAMETERS = "parameters"
    MACS = "macs"


SAID = {
    CostKind.SECONDS: "seconds of training and validation, mean of the runs",
    CostKind.PARAMETERS: "parameters",
    CostKind.MACS: "multiply-adds for one image",
}


def tradeoff_figure(table: Table, cost: CostKind) -> TradeoffFigure:
    """Each cell that has a score and a cost; cells that are the same are one."""
    rows = [row for row in table.rows if row.cell.same_as is None]
    points = [
        Priced(
            table.whole.titles_of(row.cell)
            + (f", {row.dataset}" if table.num_datasets > 1 else ""),
            price,
            row.score.mean,
            None if row.score.ci95 is None else table.metric.cut(row.score.ci95),
            row.score.n,
        )
        for row in rows
        if row.score is not None and (price := _price(row, cost)) is not None
    ]
    more = f"; the first {MOST_POINTS} of {len(points)} cells" if len(points) > MOST_POINTS else ""
    return TradeoffFigure(
        title=table.whole.study.name,
        subtitle="; ".join([subtitle_of(table.whole) + more, *table.on_survivors]),
        metric=table.metric.axis,
        cost=SAID[cost],
        points=points[:MOST_POINTS],
        as_percent=table.metric.is_fraction,
        lower_is_better=table.metric.lower_is_better,
        # where a distance is what is compared, more of the number itself is neither better nor worse
        is_ranked=table.num_datasets == 1 and not table.metric.measured_from,
    )


def _price(row: TableRow, cost: CostKind) -> float | None:
    match cost:
        case CostKind.SECONDS:
            return row.seconds
        case CostKind.PARAMETERS:
            return float(row.parameters)
        case CostKind.MACS:
            return float(row.macs_per_sample)
