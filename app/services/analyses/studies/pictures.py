"""A study's pictures: which there are, and what each is read from when it is asked for."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlmodel import Session

from app.plots.figures.scores import FactorFigure
from app.plots.figures.studies import (
    DifferencesFigure,
    HeatMapFigure,
    Panel,
    StudyCurvesFigure,
    StudyGradientsFigure,
    TradeoffFigure,
)
from app.services.analyses.curves import CellRuns, cells_figure, panels_of
from app.services.analyses.exhibits import Exhibit
from app.services.analyses.scores import ScoreKind, Scores
from app.services.analyses.studies.differences import differences_figure
from app.services.analyses.studies.factors import factor_figure
from app.services.analyses.studies.gradients import gradients_figure
from app.services.analyses.studies.heat_maps import heat_map_figure
from app.services.analyses.studies.tables import table_of
from app.services.analyses.studies.tradeoffs import CostKind, tradeoff_figure
from app.services.analyses.studies.verdicts import contrasts_of
from app.services.analyses.studies.words import subtitle_of
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.storage.files.store import FileStore
from app.storage.tables import Study

TRIO = (Panel("train", "loss"), Panel("val", "loss"), Panel("val", "accuracy"))

Figure = TypeVar("Figure")


def curves(session: Session, study: Study, metrics: list[str]) -> Exhibit[StudyCurvesFigure]:
    """Every cell's metrics over epochs, train beside val."""
    return _of(
        session,
        study,
        "curves",
        tuple(metrics),
        lambda whole: curves_figure(session, whole, panels_of(metrics)),
    )


def distillation(session: Session, study: Study) -> Exhibit[StudyCurvesFigure]:
    """Training loss, val loss and val accuracy of teacher, baseline and students."""
    return _of(
        session, study, "distillation", (), lambda whole: curves_figure(session, whole, TRIO)
    )


def factor(
    session: Session, study: Study, metric: ScoreKind, name: str | None
) -> Exhibit[FactorFigure]:
    """A score against a factor, by default the first that suits."""
    return _of(
        session,
        study,
        "factor",
        (metric.name, name),
        lambda whole: factor_figure(table_of(Scores(session, whole.runs), whole, metric), name),
    )


def differences(
    session: Session, files: FileStore, study: Study, metric: ScoreKind
) -> Exhibit[DifferencesFigure]:
    """Every contrast's differences."""

    def figure(whole: WholeStudy) -> DifferencesFigure:
        return differences_figure(whole, contrasts_of(session, files, whole, metric), metric)

    return _of(session, study, "differences", (metric.name,), figure)


def heat_map(
    session: Session, study: Study, metric: ScoreKind, x: str | None, y: str | None
) -> Exhibit[HeatMapFigure]:
    """Means over two factors, by default the first that vary."""
    return _of(
        session,
        study,
        "heat-map",
        (metric.name, x, y),
        lambda whole: heat_map_figure(table_of(Scores(session, whole.runs), whole, metric), x, y),
    )


def tradeoff(
    session: Session, study: Study, metric: ScoreKind, cost: CostKind
) -> Exhibit[TradeoffFigure]:
    """A score against what it costs."""
    return _of(
        session,
        study,
        "tradeoff",
        (metric.name, cost.value),
        lambda whole: tradeoff_figure(table_of(Scores(session, whole.runs), whole, metric), cost),
    )


def gradient_flow(session: Session, study: Study) -> Exhibit[StudyGradientsFigure]:
    """Layers' gradients, one panel per cell that measured them."""
    return _of(session, study, "gradient-flow", (), lambda whole: gradients_figure(session, whole))


def curves_figure(
    session: Session, whole: WholeStudy, panels: Sequence[Panel]
) -> StudyCurvesFigure:
    """A line for each cell of a study that has been read; cells that are the same have one."""
    cells = [
        CellRuns(whole.titles_of(cell), cell.experiment, cell.runs) for cell in whole.own_cells
    ]
    return cells_figure(session, whole.study.name, subtitle_of(whole), cells, panels)


def _of(
    session: Session,
    study: Study,
    kind: str,
    asked: tuple[str | None, ...],
    figure: Callable[[WholeStudy], Figure],
) -> Exhibit[Figure]:
    return Exhibit(
        f"study {kind}",
        asked,
        revisions.of_study(session, study),
        lambda: figure(studies.whole(session, study)),
    )
