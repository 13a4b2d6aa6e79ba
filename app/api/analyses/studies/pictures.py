"""A study's pictures over HTTP, drawn on read: curves, scores against a factor, differences, heat map, gradients,
distillation, and scores against what they cost.
"""

from typing import Annotated, Any

from fastapi import Query, Response

from app.api.analyses.parameters import MetricName
from app.api.http import passes
from app.api.http.deps import Reading, TheSettings, TheStudy
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.services.analyses.curves import named_metrics
from app.services.analyses.scores import read_metric
from app.services.analyses.studies import pictures
from app.services.analyses.studies.tradeoffs import CostKind
from app.storage.files.places import file_store

router = passes.router(prefix="/studies", tags=["plots"])

FactorName = Annotated[
    str | None,
    Query(
        description="A factor of the study, such as depth or model.depth; null: the first that suits",
        max_length=200,
    ),
]


@router.get("/{study_id}/curves.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_curves(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: str = "loss,accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Every cell's metrics over epochs, train beside val; means and ranges over seeds."""
    exhibit = pictures.curves(session, study, named_metrics(metric))
    return picture(exhibit, extension, appearance, if_none_match)


@router.get(
    "/{study_id}/distillation.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_distillation(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    appearance: TheAppearance,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Training loss (of distilled students the hard one), val loss and val accuracy of teacher, baseline and
    students.
    """
    return picture(pictures.distillation(session, study), extension, appearance, if_none_match)


@router.get("/{study_id}/factor.{extension}", response_class=Response, responses=PICTURE_RESPONSES)
def draw_study_factor(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: MetricName = "test.accuracy",
    factor: FactorName = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A score against a factor, such as accuracy against depth: every seed, means with 95 % intervals, and the source's
    numbers.
    """
    exhibit = pictures.factor(session, study, read_metric(metric), factor)
    return picture(exhibit, extension, appearance, if_none_match)


@router.get(
    "/{study_id}/differences.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_differences(
    session: Reading,
    study: TheStudy,
    settings: TheSettings,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: MetricName = "test.accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Every contrast: each seed's difference, the mean with its 95 % interval, the margin, the verdict."""
    exhibit = pictures.differences(session, file_store(settings), study, read_metric(metric))
    return picture(exhibit, extension, appearance, if_none_match)


@router.get(
    "/{study_id}/heat-map.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_heat_map(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: MetricName = "test.accuracy",
    x: FactorName = None,
    y: FactorName = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Means over two factors, such as temperature and alpha; a baseline is marked."""
    exhibit = pictures.heat_map(session, study, read_metric(metric), x, y)
    return picture(exhibit, extension, appearance, if_none_match)


@router.get(
    "/{study_id}/gradient-flow.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_gradients_of(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    appearance: TheAppearance,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Layers' gradients over epochs, one panel per cell that measured them, on one scale of colors."""
    return picture(pictures.gradient_flow(session, study), extension, appearance, if_none_match)


@router.get(
    "/{study_id}/tradeoff.{extension}", response_class=Response, responses=PICTURE_RESPONSES
)
def draw_study_tradeoff(
    session: Reading,
    study: TheStudy,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: MetricName = "test.accuracy",
    cost: Annotated[
        CostKind,
        Query(
            description=(
                "Seconds of training and validation, numbers in the network, or multiply-adds for one image"
            )
        ),
    ] = CostKind.SECONDS,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A score against what it costs: every cell's mean with its 95 % interval, and those that no other cell beats in
    both.
    """
    exhibit = pictures.tradeoff(session, study, read_metric(metric), cost)
    return picture(exhibit, extension, appearance, if_none_match)
