"""Confusion matrices over HTTP: read from what succeeded runs have published, added up over the seeds."""

from typing import Annotated, Any

from fastapi import Query, Response

from app.api.analyses import schemas
from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment, TheSettings
from app.api.http.pictures import (
    PICTURE_RESPONSES,
    IfNoneMatch,
    PictureFormat,
    TheAppearance,
    picture,
)
from app.services.analyses.confusion import (
    MOST_CONFUSED,
    Confusion,
    Counts,
    confusion_matrix,
    confusion_of,
    most_confused,
)
from app.services.experiments import experiments
from app.storage.files.places import file_store
from lab_models.training.assessment import row_fractions

router = passes.router(prefix="/experiments", tags=["plots"])

DECIMALS = 6


@router.get("/{experiment_id}/confusion-matrix.json")
def read_confusion_matrix(
    session: Reading, experiment: TheExperiment, settings: TheSettings
) -> schemas.ConfusionAnswer:
    """Which classes the test images of each class were taken for, run by run and added up. 404 until a run has
    succeeded.
    """
    runs = experiments.its_runs(session, experiment.id)
    confusion = confusion_of(session, file_store(settings), runs)
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
    appearance: TheAppearance,
    normalize: Annotated[
        bool,
        Query(
            description="Colors and first numbers are shares of the true class; false: numbers of images"
        ),
    ] = True,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """The confusion matrix on test, added up over the succeeded runs. 404 until a run has succeeded."""
    exhibit = confusion_matrix(session, file_store(settings), experiment, by_share=normalize)
    return picture(exhibit, extension, appearance, if_none_match)


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
