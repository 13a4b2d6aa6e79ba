"""Confusion matrices over HTTP: read from what succeeded runs have published, added up over the seeds."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Response

from app.api.analyses import schemas
from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment, TheSettings
from app.api.http.pictures import PICTURE_RESPONSES, IfNoneMatch, PictureFormat, picture
from app.plots.figures.experiments import ConfusionFigure
from app.services.analyses.assessments import Confusion, Counts, confusion_of, most_confused
from app.services.experiments import experiments, revisions
from app.services.experiments.results import summarise
from app.storage.tables import Experiment, Run
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec
from lab_models.training.assessment import row_fractions

router = passes.router(prefix="/experiments", tags=["plots"])

MOST_CONFUSED = 12
DECIMALS = 6


@router.get("/{experiment_id}/confusion-matrix.json")
def read_confusion_matrix(
    session: Reading, experiment: TheExperiment, settings: TheSettings
) -> schemas.ConfusionAnswer:
    """Which classes the test images of each class were taken for, run by run and added up. 404 until a run has
    succeeded.
    """
    runs = experiments.its_runs(session, experiment.id)
    confusion = confusion_of(session, settings.runs_folder, runs)
    return schemas.ConfusionAnswer(
        experiment_id=experiment.id,
        class_names=list(confusion.class_names),
        num_images=confusion.num_images,
        pooled=schemas.MatrixAnswer(**_matrix(confusion.pooled)),
        most_confused=_pairs(confusion),
        runs=[
            schemas.RunMatrixAnswer(run_id=run.id, seed=run.seed, **_matrix(counts))
            for run, counts in zip(confusion.runs, confusion.counts, strict=True)
        ],
    )


@router.get(
    "/{experiment_id}/confusion-matrix.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_confusion_matrix(
    session: Reading,
    experiment: TheExperiment,
    settings: TheSettings,
    extension: PictureFormat,
    normalize: Annotated[
        bool,
        Query(
            description="Colors and first numbers are shares of the true class; false: numbers of images"
        ),
    ] = True,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """The confusion matrix on test, added up over the succeeded runs. 404 until a run has succeeded."""
    shown = ["confusion-matrix", normalize, revisions.of_experiments(session, [experiment.id])]

    def figure() -> ConfusionFigure:
        runs = experiments.its_runs(session, experiment.id)
        return _figure(
            experiment, runs, confusion_of(session, settings.runs_folder, runs), normalize
        )

    return picture(shown, figure, extension, if_none_match)


def _matrix(counts: Counts) -> dict[str, list[list[int]] | list[list[float]]]:
    return {"counts": counts.tolist(), "fractions": row_fractions(counts).round(DECIMALS).tolist()}


def _pairs(confusion: Confusion) -> list[schemas.ConfusedPair]:
    counts, fractions = confusion.pooled, row_fractions(confusion.pooled)
    return [
        schemas.ConfusedPair(
            true=confusion.class_names[true],
            predicted=confusion.class_names[predicted],
            count=int(counts[true, predicted]),
            fraction=round(float(fractions[true, predicted]), DECIMALS),
        )
        for true, predicted in most_confused(counts, MOST_CONFUSED)
    ]


def _figure(
    experiment: Experiment, runs: Sequence[Run], confusion: Confusion, by_share: bool
) -> ConfusionFigure:
    counts = confusion.pooled
    return ConfusionFigure(
        title=experiment.name or experiment.id,
        subtitle=_subtitle(experiment, runs, confusion),
        class_names=confusion.class_names,
        counts=counts,
        fractions=row_fractions(counts),
        by_share=by_share,
        most_confused=most_confused(counts, MOST_CONFUSED),
    )


def _subtitle(
    experiment: Experiment, all_runs: Sequence[Run], confusion: Confusion
) -> tuple[str, str]:
    spec = read_spec(experiment.spec)
    runs = len(confusion.runs)
    seeds = (
        f"{runs} of {len(all_runs)} seeds"
        if runs < len(all_runs)
        else f"{runs} seeds"
        if runs > 1
        else f"seed {confusion.runs[0].seed}"
    )
    accuracy = summarise([float(counts.trace() / counts.sum()) for counts in confusion.counts])
    interval = (
        ""
        if accuracy.ci95 is None
        else " (95 % interval {:.2f} to {:.2f} %)".format(*(100 * end for end in accuracy.ci95))
    )
    images = (
        f"{runs} x {confusion.num_images:,} test images"
        if runs > 1
        else f"{confusion.num_images:,} test images"
    )
    return (
        f"{spec.dataset.name}, {describe(spec.network)}, {experiment.parameters:,} parameters, {seeds}",
        f"test accuracy {100 * accuracy.mean:.2f} %{interval}, {images}",
    )
