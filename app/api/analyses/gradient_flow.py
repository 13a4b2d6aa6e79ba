"""Gradient flow over HTTP: every layer's numbers with their slopes as JSON, and the picture, drawn on read."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import Response

from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.api.schemas import Answer
from app.services.analyses.gradients.flows import gradient_flow, measured
from app.services.analyses.gradients.series import LayerSeries, pooled
from app.services.analyses.gradients.slopes import (
    THRESHOLD,
    FlowVerdict,
    Slope,
    pooled_slopes,
    slopes_of,
    summary,
)

router = passes.router(prefix="/experiments", tags=["plots"])

Numbers = list[list[float | None]]


class SlopeAnswer(Answer):
    """The fit of ln(gradient L2) to the layer's place at one epoch, head and shortcuts left out."""

    epoch: int
    """0 is initialization."""
    verdict: FlowVerdict
    sentence: str
    """The verdict with the numbers it rests on, for people."""
    num_layers: int
    """Layers with a measured gradient, exact zeros among them."""
    slope: float | None
    """Per layer toward the head: above 0 the gradient falls toward the input."""
    ci95: tuple[float, float] | None
    """Over several runs Student's t interval of the mean of their slopes, from these; of a single run null."""
    factor: float | None
    """How many times smaller the gradient is at the first layer than at the last, by the fit."""
    first_over_last: float | None
    """The same two layers as measured: first over last."""
    zero_layers: list[str]
    """Layers whose gradient is exactly 0."""


class FlowAnswer(Answer):
    """Numbers as one row per epoch and one column per layer, null where nothing was measured: a frozen layer, or no
    bias.
    """

    layers: list[str] = []
    """Input first, head last."""
    in_slope: list[bool] = []
    """Whether the slope is fitted to the layer: not the head, not projections on shortcuts."""
    epochs: list[int] = []
    """0 is initialization."""
    l2: Numbers = []
    """L2 norm of the weight's gradient, mean over the measured steps."""
    mean_abs: Numbers = []
    """Mean absolute value of the weight's gradient."""
    bias_l2: Numbers = []
    """L2 norm of the bias's gradient, apart from the weight's."""
    weight_norm: Numbers = []
    """L2 norm of the weight at the epoch's end."""
    ratio: Numbers = []
    """Gradient norm over weight norm."""
    slopes: list[SlopeAnswer] = []
    """One per epoch."""
    verdict: list[str] = []
    """In words: of the first epoch measured, and of the last."""


class RunFlowAnswer(FlowAnswer):
    """One seed's gradient flow; its lists are empty before anything was measured."""

    run_id: str
    seed: int


class PooledFlowAnswer(FlowAnswer):
    """Means over the runs, taken of logarithms."""

    num_runs: list[list[int]]
    """How many runs each number is the mean of."""
    verdicts: list[dict[str, int]]
    """Per epoch, how many runs got each verdict of their own."""


class GradientFlowAnswer(Answer):
    """Gradient flow of an experiment."""

    experiment_id: str
    threshold: float = THRESHOLD
    """Factor between first and last layer that makes a verdict, unless the slope's interval over runs includes 0."""
    runs: list[RunFlowAnswer]
    pooled: PooledFlowAnswer | None
    """null before anything was measured."""


@router.get("/{experiment_id}/gradient-flow.json")
def read_gradient_flow(session: Reading, experiment: TheExperiment) -> GradientFlowAnswer:
    """Every layer's gradient at initialization and in each epoch, its slope along depth, over several runs with a 95 %
    interval, and a verdict.
    """
    runs, series = measured(session, experiment)
    slopes = {run_id: slopes_of(found) for run_id, found in series.items()}
    return GradientFlowAnswer(
        experiment_id=experiment.id,
        runs=[
            RunFlowAnswer(
                run_id=run.id,
                seed=run.seed,
                **(_flow(series[run.id], slopes[run.id]) if run.id in series else {}),
            )
            for run in runs
        ],
        pooled=_pooled(list(series.values()), list(slopes.values())) if series else None,
    )


@router.get(
    "/{experiment_id}/gradient-flow.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_experiment_gradient_flow(
    session: Reading,
    experiment: TheExperiment,
    extension: PictureFormat,
    appearance: TheAppearance,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Gradient norms by layer and epoch as a heat map, and along the layers for initialization, first and last
    epoch.
    """
    return picture(gradient_flow(session, experiment), extension, appearance, if_none_match)


def _flow(series: LayerSeries, slopes: Sequence[Slope]) -> dict[str, Any]:
    matrices = {
        name: _numbers(getattr(series, name))
        for name in ("l2", "mean_abs", "bias_l2", "weight_norm", "ratio")
    }
    return {
        "layers": list(series.layers),
        "in_slope": series.is_fitted.tolist(),
        "epochs": series.epochs.tolist(),
        "slopes": [_slope(slope) for slope in slopes],
        "verdict": summary(slopes),
        **matrices,
    }


def _slope(slope: Slope) -> SlopeAnswer:
    return SlopeAnswer(
        epoch=slope.epoch,
        verdict=slope.verdict,
        sentence=slope.sentence,
        num_layers=slope.num_layers,
        slope=slope.slope,
        ci95=slope.ci95,
        factor=slope.factor,
        first_over_last=slope.first_over_last,
        zero_layers=list(slope.zero_layers),
    )


def _pooled(runs: Sequence[LayerSeries], slopes: Sequence[Sequence[Slope]]) -> PooledFlowAnswer:
    series = pooled(runs)
    counts: dict[int, Counter[str]] = {int(epoch): Counter() for epoch in series.epochs}
    for slope in chain.from_iterable(slopes):
        counts[slope.epoch][slope.verdict.value] += 1
    verdicts = [dict(counted) for counted in counts.values()]
    return PooledFlowAnswer(
        num_runs=series.num_runs.tolist(),
        verdicts=verdicts,
        **_flow(series, pooled_slopes(runs)),
    )


def _numbers(matrix: npt.NDArray[np.float64]) -> Numbers:
    return [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
