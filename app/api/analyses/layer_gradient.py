"""A parameter's gradient over the steps of training over HTTP: its numbers as JSON, and the picture."""

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from fastapi import Query, Response

from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment, TheSettings
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.api.schemas import Answer
from app.services.analyses.gradients.steps import RunSteps, layer_gradient, step_gradients
from app.storage.files.places import file_store
from lab_models.training.layer_metrics import MAGNITUDES

router = passes.router(prefix="/experiments", tags=["plots"])

Layer = Annotated[
    str | None,
    Query(
        description="One of `layer_gradients.layers`, such as layer2.1.conv2.weight; null: the first of them",
        max_length=100,
    ),
]


class RunStepsAnswer(Answer):
    """One seed's gradient, a number for each measured step; null where the parameter was frozen."""

    run_id: str
    seed: int
    steps: list[int]
    """Optimizer steps, counted from 1 over all epochs."""
    l2: list[float | None]
    """L2 norm, before it is clipped."""
    mean_abs: list[float | None]
    """Mean absolute value of its elements."""
    max_abs: list[float | None]
    """Largest absolute value of its elements."""


class HistogramAnswer(Answer):
    """How many elements have which magnitude, added up over the runs, at the steps that all of them have."""

    magnitudes: list[float]
    """Edges between the bins; the first bin is below the first edge, exact zeros too, the last above the last."""
    steps: list[int]
    counts: list[list[int]]
    """A row for each step, a column for each bin."""


class LayerGradientAnswer(Answer):
    """One parameter's gradient over the steps, of the runs that have succeeded."""

    experiment_id: str
    layer: str
    layers: list[str]
    """All that were measured."""
    every_steps: int
    steps_per_epoch: int | None
    """null before a run has succeeded."""
    num_runs: int
    """How many there are; those that have not succeeded have published nothing."""
    runs: list[RunStepsAnswer]
    histogram: HistogramAnswer | None
    """null where none was asked for, and before a run has succeeded."""


@router.get("/{experiment_id}/layer-gradient.json")
def read_layer_gradient(
    session: Reading, experiment: TheExperiment, settings: TheSettings, layer: Layer = None
) -> LayerGradientAnswer:
    """A parameter's gradient over the steps of training, where the spec has `layer_gradients`; kept by a run when it
    succeeds.
    """
    found = step_gradients(session, file_store(settings), experiment, layer)
    counts = found.counts
    return LayerGradientAnswer(
        experiment_id=experiment.id,
        layer=found.layer,
        layers=list(found.asked.layers),
        every_steps=found.asked.every_steps,
        steps_per_epoch=found.steps_per_epoch,
        num_runs=found.num_runs,
        runs=[_run(one) for one in found.runs],
        histogram=None
        if counts is None
        else HistogramAnswer(
            magnitudes=list(MAGNITUDES), steps=found.common_steps.tolist(), counts=counts.tolist()
        ),
    )


@router.get(
    "/{experiment_id}/layer-gradient.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_layer_gradient(
    session: Reading,
    experiment: TheExperiment,
    settings: TheSettings,
    extension: PictureFormat,
    appearance: TheAppearance,
    layer: Layer = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """The L2 norm of a parameter's gradient over the steps; below it, where histograms were asked for, the magnitudes
    of its elements.
    """
    exhibit = layer_gradient(session, file_store(settings), experiment, layer)
    return picture(exhibit, extension, appearance, if_none_match)


def _run(one: RunSteps) -> RunStepsAnswer:
    return RunStepsAnswer(
        run_id=one.run.id,
        seed=one.run.seed,
        steps=one.steps.tolist(),
        l2=_numbers(one.of("l2")),
        mean_abs=_numbers(one.of("mean_abs")),
        max_abs=_numbers(one.of("max_abs")),
    )


def _numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
