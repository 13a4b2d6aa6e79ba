"""A study's pictures over HTTP, drawn on read: curves, scores against a factor, differences, heat map, gradients, distillation."""

from typing import Annotated, Any

from fastapi import Query, Response

from app.api import passes
from app.api.deps import Reading, TheSettings, TheStudy
from app.api.pictures import PICTURE_RESPONSES, Extension, IfNoneMatch, picture
from app.api.study_curves import curves_figure, curves_picture, panels_of
from app.api.study_tables import MetricName
from app.plots.differences import draw_differences
from app.plots.factor import draw_factor
from app.plots.heat_map import draw_heat_map
from app.plots.study_curves import Panel
from app.plots.study_gradients import draw_study_gradients
from app.services import studies
from app.services.scores import read_metric
from app.services.studies import WholeStudy
from app.services.study_figures import differences_figure, factor_figure, gradients_figure, heat_map_figure, subtitle_of
from app.services.study_tables import table_of
from app.services.study_verdicts import contrasts_of
from app.tables import Run

router = passes.router(prefix="/studies", tags=["plots"])

TRIO = [Panel("train", "loss"), Panel("val", "loss"), Panel("val", "accuracy")]
FactorName = Annotated[str | None, Query(description="A factor of the study; null: the first that suits", max_length=200)]


@router.get("/{study_id}/curves.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_curves(session: Reading, study: TheStudy, extension: Extension, metric: str = "loss,accuracy", if_none_match: IfNoneMatch = None) -> Any:
    """Every cell's metrics over epochs, train beside val; means and ranges over seeds."""
    whole = studies.whole(session, study)
    return curves_picture(curves_figure(session, study.name, subtitle_of(whole), cells_of(whole), panels_of(metric)), extension, if_none_match)


@router.get("/{study_id}/distillation.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_distillation(session: Reading, study: TheStudy, extension: Extension, if_none_match: IfNoneMatch = None) -> Any:
    """Training loss (of distilled students the hard one), val loss and val accuracy of teacher, baseline and students."""
    whole = studies.whole(session, study)
    return curves_picture(curves_figure(session, study.name, subtitle_of(whole), cells_of(whole), TRIO), extension, if_none_match)


@router.get("/{study_id}/factor.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_factor(
    session: Reading, study: TheStudy, extension: Extension, metric: MetricName = "test.accuracy", factor: FactorName = None, if_none_match: IfNoneMatch = None
) -> Any:
    """A score against a factor, such as accuracy against depth: every seed, means with 95 % intervals, and the source's numbers."""
    whole = studies.whole(session, study)
    figure = factor_figure(whole, table_of(session, whole, read_metric(metric)), factor)
    return picture(repr(figure), lambda: draw_factor(figure, extension.value), extension, if_none_match)


@router.get("/{study_id}/differences.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_differences(
    session: Reading, study: TheStudy, settings: TheSettings, extension: Extension, metric: MetricName = "test.accuracy", if_none_match: IfNoneMatch = None
) -> Any:
    """Every contrast: each seed's difference, the mean with its 95 % interval, the margin, the verdict."""
    whole, wanted = studies.whole(session, study), read_metric(metric)
    figure = differences_figure(whole, contrasts_of(session, settings.runs_folder, whole, wanted), wanted)
    return picture(repr(figure), lambda: draw_differences(figure, extension.value), extension, if_none_match)


@router.get("/{study_id}/heat-map.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_heat_map(
    session: Reading,
    study: TheStudy,
    extension: Extension,
    metric: MetricName = "test.accuracy",
    x: FactorName = None,
    y: FactorName = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Means over two factors, such as temperature and alpha; a baseline is marked."""
    whole = studies.whole(session, study)
    figure = heat_map_figure(whole, table_of(session, whole, read_metric(metric)), x, y)
    shown = [repr(figure), figure.means.tolist(), figure.counts.tolist()]
    return picture(shown, lambda: draw_heat_map(figure, extension.value), extension, if_none_match)


@router.get("/{study_id}/gradient-flow.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_gradients_of(session: Reading, study: TheStudy, extension: Extension, if_none_match: IfNoneMatch = None) -> Any:
    """Layers' gradients over epochs, one panel per cell that measured them, on one scale of colors."""
    figure = gradients_figure(session, studies.whole(session, study))
    shown = [repr(figure), [panel.norms.tolist() for panel in figure.panels]]
    return picture(shown, lambda: draw_study_gradients(figure, extension.value), extension, if_none_match)


def cells_of(whole: WholeStudy) -> list[tuple[str, list[Run]]]:
    """Title and runs of each cell, for curves."""
    return [(cell.cell.title, cell.runs) for cell in whole.cells]
