"""Curves over HTTP: drawn on read from the metrics, so live during training and never stale."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Response
from sqlmodel import Session

from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.pictures import PICTURE_RESPONSES, IfNoneMatch, PictureFormat, picture
from app.errors import InvalidRequest
from app.plots.figures.experiments import AXIS_LABEL, CurvesFigure
from app.services.experiments import experiments, revisions
from app.services.experiments.metrics import curves_of, last_epochs
from app.storage.states import experiment_status
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.specs import read_spec

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
    names = _metrics(metric)
    shown = ["curves", names, revisions.of_experiments(session, [experiment.id])]
    return picture(shown, lambda: _figure(session, experiment, names), extension, if_none_match)


def _metrics(listed: str) -> list[str]:
    names = [name.strip() for name in listed.split(",") if name.strip()]
    for name in names:
        if name not in AXIS_LABEL:
            raise InvalidRequest(
                f"there is no metric {name!r}",
                [
                    FieldError(
                        "/metric", f"no metric {name!r}", did_you_mean(name, list(AXIS_LABEL))
                    )
                ],
            )
    if not names:
        raise InvalidRequest(
            "no metric is named",
            [
                FieldError(
                    "/metric", "name at least one metric", "allowed: " + ", ".join(AXIS_LABEL)
                )
            ],
        )
    return list(dict.fromkeys(names))


def _figure(session: Session, experiment: Experiment, metrics: list[str]) -> CurvesFigure:
    runs = experiments.its_runs(session, experiment.id)
    last = last_epochs(session, [run.id for run in runs])
    begun = [run for run in runs if last.get(run.id)]
    best = begun[0].best["epoch"] if len(begun) == 1 and begun[0].best else None
    curves = curves_of(
        session, [[run.id for run in begun]], metrics, [] if best is None else [best]
    )
    return CurvesFigure(
        title=experiment.name or experiment.id,
        subtitle=", ".join(filter(None, (subtitle(experiment, runs), curves.note))),
        metrics=metrics,
        curves=curves.groups[0],
        epochs=max(run.epochs for run in runs),
        best_epoch=best,
    )


def subtitle(experiment: Experiment, runs: Sequence[Run]) -> str:
    """What is trained and where it stands, in one line, for any picture of an experiment."""
    spec = read_spec(experiment.spec)
    seeds = f"{len(runs)} seeds" if len(runs) > 1 else f"seed {runs[0].seed}"
    status = experiment_status(run.status for run in runs)
    return f"{spec.dataset.name}, {describe(spec.network)}, {experiment.parameters:,} parameters, {seeds}, {status}"
