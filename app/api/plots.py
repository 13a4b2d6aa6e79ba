"""Pictures over HTTP: drawn on read from the metrics, so live during training and never stale."""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from app.api.deps import Reading, TheExperiment
from app.errors import InvalidRequest
from app.plots import AXIS_LABEL, FORMATS, Curve, CurvesFigure, draw_curves
from app.services import experiments
from app.services.experiments import Whole
from app.services.metrics import RunMetrics, metrics_of
from lab_models.specs import TrainSpec
from lab_models.validation import FieldError, did_you_mean

router = APIRouter(prefix="/experiments", tags=["plots"])

PLOT_VERSION = 1  # grows with the drawing code, so that a browser's copy of the old picture is not kept


class Extension(StrEnum):
    """Formats of a picture."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


@router.get(
    "/{experiment_id}/curves.{extension}",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in FORMATS.values()}}, 304: {"description": "The picture the caller has is the current one"}},
)
def draw_experiment_curves(
    session: Reading,
    experiment: TheExperiment,
    extension: Extension,
    metric: Annotated[str, Query(description="Names separated by commas: loss, accuracy, learning_rate, seconds", max_length=100)] = "loss,accuracy",
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Metrics over epochs, train and val; with several seeds their mean and range."""
    names = _metrics(metric)
    whole = experiments.whole(session, experiment)
    figure = _figure(whole, metrics_of(session, [run.id for run in whole.runs]), names)
    etag = f'"{hashlib.sha256(json.dumps([PLOT_VERSION, extension, _plain(figure)]).encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(draw_curves(figure, extension.value), media_type=FORMATS[extension.value], headers=headers)


def _metrics(listed: str) -> list[str]:
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        if name not in AXIS_LABEL:
            raise InvalidRequest(f"there is no metric {name!r}", [FieldError("/metric", f"no metric {name!r}", did_you_mean(name, list(AXIS_LABEL)))])
    if not names:
        raise InvalidRequest("no metric is named", [FieldError("/metric", "name at least one metric", "allowed: " + ", ".join(AXIS_LABEL))])
    return list(dict.fromkeys(names))


def _figure(whole: Whole, numbers: dict[str, RunMetrics], metrics: list[str]) -> CurvesFigure:
    begun = [run for run in whole.runs if numbers[run.id]]
    single = begun[0] if len(begun) == 1 else None
    return CurvesFigure(
        title=whole.experiment.name or whole.experiment.id,
        subtitle=_subtitle(whole),
        metrics=metrics,
        curves=[
            Curve(split, name, epochs=list(series), values=list(series.values()))
            for run in begun
            for split in ("train", "val")
            for name in metrics
            if (series := {epoch: splits[split][name] for epoch, splits in numbers[run.id].items() if name in splits.get(split, {})})
        ],
        epochs=max(run.epochs for run in whole.runs),
        best_epoch=single.best["epoch"] if single is not None and single.best else None,
    )


def _subtitle(whole: Whole) -> str:
    spec = TrainSpec.model_validate(whole.experiment.spec)
    widths = spec.model.widths
    shape = f"{len(widths)} x {widths[0]}" if len(set(widths)) == 1 else "-".join(map(str, widths))
    residual = "residual " if spec.model.residual else ""
    seeds = f"{len(whole.runs)} seeds" if len(whole.runs) > 1 else f"seed {whole.runs[0].seed}"
    return f"{spec.dataset.name}, {residual}{spec.model.arch} {shape}, {whole.experiment.parameters:,} parameters, {seeds}, {whole.status}"


def _plain(figure: CurvesFigure) -> Any:
    return [
        figure.title,
        figure.subtitle,
        list(figure.metrics),
        figure.epochs,
        figure.best_epoch,
        [[c.split, c.name, list(c.epochs), list(c.values)] for c in figure.curves],
    ]
