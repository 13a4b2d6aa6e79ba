"""A study's pictures over HTTP, drawn on read: curves, scores against a factor, differences, heat map, gradients,
distillation.
"""

from typing import Annotated, Any

from fastapi import Query, Response
from sqlmodel import Session

from app.api.analyses.study_curves import curves_figure, panels_of
from app.api.analyses.study_tables import MetricName
from app.api.http import passes
from app.api.http.deps import Reading, TheSettings, TheStudy
from app.api.http.pictures import PICTURE_RESPONSES, IfNoneMatch, PictureFormat, picture
from app.plots.figures.studies import (
    DifferencesFigure,
    FactorFigure,
    HeatMapFigure,
    Panel,
    StudyCurvesFigure,
)
from app.services.analyses.scores import read_metric
from app.services.analyses.study_figures import (
    differences_figure,
    factor_figure,
    gradients_figure,
    heat_map_figure,
    subtitle_of,
)
from app.services.analyses.study_tables import table_of
from app.services.analyses.study_verdicts import contrasts_of
from app.services.experiments import revisions
from app.services.studies import studies
from app.services.studies.studies import WholeStudy
from app.storage.tables import Study

router = passes.router(prefix="/studies", tags=["plots"])

TRIO = [Panel("train", "loss"), Panel("val", "loss"), Panel("val", "accuracy")]
FactorName = Annotated[
    str | None,
    Query(description="A factor of the study; null: the first that suits", max_length=200),
]


@router.get("/{study_id}/curves.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_curves(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    metric: str = "loss,accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Every cell's metrics over epochs, train beside val; means and ranges over seeds."""
    panels = panels_of(metric)
    return picture(
        _shown(session, study, "curves", metric),
        lambda: _curves(session, study, panels),
        extension,
        if_none_match,
    )


@router.get(
    "/{study_id}/distillation.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_distillation(
    session: Reading, study: TheStudy, extension: PictureFormat, if_none_match: IfNoneMatch = None
) -> Any:
    """Training loss (of distilled students the hard one), val loss and val accuracy of teacher, baseline and
    students.
    """
    return picture(
        _shown(session, study, "distillation"),
        lambda: _curves(session, study, TRIO),
        extension,
        if_none_match,
    )


@router.get("/{study_id}/factor.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_factor(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    metric: MetricName = "test.accuracy",
    factor: FactorName = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A score against a factor, such as accuracy against depth: every seed, means with 95 % intervals, and the source's
    numbers.
    """
    wanted = read_metric(metric)

    def figure() -> FactorFigure:
        whole = studies.whole(session, study)
        return factor_figure(whole, table_of(session, whole, wanted), factor)

    return picture(
        _shown(session, study, "factor", metric, factor), figure, extension, if_none_match
    )


@router.get(
    "/{study_id}/differences.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_differences(
    session: Reading,
    study: TheStudy,
    settings: TheSettings,
    extension: PictureFormat,
    metric: MetricName = "test.accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Every contrast: each seed's difference, the mean with its 95 % interval, the margin, the verdict."""
    wanted = read_metric(metric)

    def figure() -> DifferencesFigure:
        whole = studies.whole(session, study)
        return differences_figure(
            whole, contrasts_of(session, settings.runs_folder, whole, wanted), wanted
        )

    return picture(_shown(session, study, "differences", metric), figure, extension, if_none_match)


@router.get(
    "/{study_id}/heat-map.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_heat_map(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    metric: MetricName = "test.accuracy",
    x: FactorName = None,
    y: FactorName = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Means over two factors, such as temperature and alpha; a baseline is marked."""
    wanted = read_metric(metric)

    def figure() -> HeatMapFigure:
        whole = studies.whole(session, study)
        return heat_map_figure(whole, table_of(session, whole, wanted), x, y)

    return picture(
        _shown(session, study, "heat-map", metric, x, y), figure, extension, if_none_match
    )


@router.get(
    "/{study_id}/gradient-flow.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_gradients_of(
    session: Reading, study: TheStudy, extension: PictureFormat, if_none_match: IfNoneMatch = None
) -> Any:
    """Layers' gradients over epochs, one panel per cell that measured them, on one scale of colors."""
    shown = _shown(session, study, "gradient-flow")
    return picture(
        shown,
        lambda: gradients_figure(session, studies.whole(session, study)),
        extension,
        if_none_match,
    )


def _shown(session: Session, study: Study, *asked: str | None) -> list[str | None]:
    return ["study", *asked, revisions.of_study(session, study)]


def _curves(session: Session, study: Study, panels: list[Panel]) -> StudyCurvesFigure:
    whole = studies.whole(session, study)
    return curves_figure(session, study.name, subtitle_of(whole), cells_of(whole), panels)


def cells_of(whole: WholeStudy) -> list[tuple[str, list[str]]]:
    """Title and ids of the runs of each cell, for curves."""
    return [(cell.cell.title, [run.id for run in cell.runs]) for cell in whole.cells]
