"""Curves over HTTP: drawn on read from the metrics, so live during training and never stale."""

from typing import Annotated, Any

from fastapi import Query, Response

from app.api import passes
from app.api.deps import Reading, TheExperiment
from app.api.pictures import PICTURE_RESPONSES, Extension, IfNoneMatch, picture
from app.errors import InvalidRequest
from app.plots.curves import AXIS_LABEL, Curve, CurvesFigure, draw_curves
from app.services import experiments
from app.services.experiments import Whole
from app.services.metrics import RunMetrics, metrics_of
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec
from lab_models.validation import FieldError, did_you_mean

router = passes.router(prefix="/experiments", tags=["plots"])


@router.get(
    "/{experiment_id}/curves.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_experiment_curves(
    session: Reading,
    experiment: TheExperiment,
    extension: Extension,
    metric: Annotated[str, Query(description="Names separated by commas: loss, accuracy, learning_rate, seconds", max_length=100)] = "loss,accuracy",
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Metrics over epochs, train and val; with several seeds their mean and range."""
    names = _metrics(metric)
    whole = experiments.whole(session, experiment)
    figure = _figure(whole, metrics_of(session, [run.id for run in whole.runs]), names)
    return picture(_plain(figure), lambda: draw_curves(figure, extension.value), extension, if_none_match)


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
        subtitle=subtitle(whole),
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


def subtitle(whole: Whole) -> str:
    """What is trained and where it stands, in one line, for any picture of an experiment."""
    spec = read_spec(whole.experiment.spec)
    seeds = f"{len(whole.runs)} seeds" if len(whole.runs) > 1 else f"seed {whole.runs[0].seed}"
    return f"{spec.dataset.name}, {describe(spec.network)}, {whole.experiment.parameters:,} parameters, {seeds}, {whole.status}"


def _plain(figure: CurvesFigure) -> Any:
    return [
        figure.title,
        figure.subtitle,
        list(figure.metrics),
        figure.epochs,
        figure.best_epoch,
        [[c.split, c.name, list(c.epochs), list(c.values)] for c in figure.curves],
    ]
