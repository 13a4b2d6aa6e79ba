"""Curves over HTTP: drawn on read from the metrics, so live during training and never stale."""

from typing import Annotated, Any

from fastapi import Query, Response

from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.services.analyses.curves import experiment_curves, named_metrics

router = passes.router(prefix="/experiments", tags=["plots"])


@router.get(
    "/{experiment_id}/curves.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_experiment_curves(
    session: Reading,
    experiment: TheExperiment,
    extension: PictureFormat,
    appearance: TheAppearance,
    metric: Annotated[
        str,
        Query(
            description="Names separated by commas: loss, accuracy, learning_rate, seconds",
            max_length=100,
        ),
    ] = "loss,accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Metrics over epochs, train and val; with several seeds their mean and range."""
    exhibit = experiment_curves(session, experiment, named_metrics(metric))
    return picture(exhibit, extension, appearance, if_none_match)
