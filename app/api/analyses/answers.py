"""What a run has answered on test over HTTP, image by image, and the images."""

import io
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Path, Query, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from app.api.analyses.predict import TheTrainedRun
from app.api.http import passes
from app.api.http.deps import Reading, TheRun, TheSettings
from app.api.http.pictures import UNCHANGED, IfNoneMatch, is_current
from app.api.schemas import Answer
from app.services.analyses.predicting import answers, predictions
from app.services.analyses.predicting.answers import AnswersWanted
from app.services.datasets import datasets
from app.services.experiments import experiments
from app.storage.files.places import file_store
from lab_models.datasets.decoding import Pixels
from lab_models.datasets.facts import facts_kept
from lab_models.inference.rows import Split

router = passes.router(prefix="/runs", tags=["runs"])

FOR_A_DAY = "private, max-age=86400"


class AnswersQuery(BaseModel):
    """Which answers, and in which order."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    label: int | None = Field(default=None, ge=0)
    """Only images of this class, by its number."""
    predicted: int | None = Field(default=None, ge=0)
    """Only images that were taken for this class."""
    wrong: bool | None = None
    """`true`: only mistakes; `false`: only right answers."""
    sort: Literal["confidence", "-confidence"] = "-confidence"
    """By the probability that the network gives its own answer; `-`: the surest first."""
    limit: int = Field(default=50, ge=1, le=500)
    """Most rows of one page."""
    offset: int = Field(default=0, ge=0, le=10**9)
    """How many are left out before the first."""


class TestAnswerRow(Answer):
    """The network's answer to one image of test."""

    __test__ = False

    row: int
    """The image's number within test, from 0."""
    label: int
    name: str
    """The true class and its name."""
    predicted: int
    predicted_name: str
    confidence: float
    """The probability that the network gives its own answer, in [0, 1]."""
    probability: float
    """The one that it gives the true class."""
    links: dict[str, str]


class AnswersPage(Answer):
    """A page of answers; `num_found` are of that kind, of `num_images` in all."""

    run_id: str
    num_images: int
    num_found: int
    class_names: list[str]
    data: list[TestAnswerRow]


@router.get("/{run_id}/predictions")
def list_answers(
    session: Reading, run: TheRun, settings: TheSettings, query: Annotated[AnswersQuery, Query()]
) -> AnswersPage:
    """What the best epoch's network has answered on each image of test: the mistakes it was surest of first, or one
    cell of the confusion matrix. 404 until the run has succeeded.
    """
    found, num_found, num_images = answers.answers_of(
        session,
        file_store(settings),
        run.id,
        AnswersWanted(query.label, query.predicted, query.wrong),
        surest_first=query.sort == "-confidence",
        offset=query.offset,
        limit=query.limit,
    )
    names = _class_names(session, settings, run)
    return AnswersPage(
        run_id=run.id,
        num_images=num_images,
        num_found=num_found,
        class_names=names,
        data=[
            TestAnswerRow(
                **vars(one),
                name=_name(names, one.label),
                predicted_name=_name(names, one.predicted),
                links={"image": f"/runs/{run.id}/images/test/{one.row}.png"},
            )
            for one in found
        ],
    )


@router.get(
    "/{run_id}/images/{split}/{row}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **UNCHANGED},
)
def read_image(
    trained: TheTrainedRun,
    settings: TheSettings,
    split: Annotated[
        Split, Path(description="`train` has val in it: the images as they lie on disk")
    ],
    row: Annotated[int, Path(ge=0, description="Its number within the split, from 0")],
    if_none_match: IfNoneMatch = None,
) -> Any:
    """An image of the data set that the run has learned from, as the network gets it but for the normalization. 409
    where the images are not on this machine, or are others by now.
    """
    headers = {
        "ETag": f'"{(trained.dataset_sha256 or "")[:32]}-{split}-{row}"',
        "Cache-Control": FOR_A_DAY,
    }
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)

    def encoded() -> Response:
        pixels = predictions.stored(settings, trained, split, row).pixels
        return Response(_png(pixels), media_type="image/png", headers=headers)

    return passes.Compute(encoded, lane="files")


def _png(pixels: Pixels) -> bytes:
    """(C, H, W) as a PNG file."""
    shown = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(shown)).save(file, "PNG")
    return file.getvalue()


def _class_names(session: Reading, settings: TheSettings, run: TheRun) -> list[str]:
    """Of the images that the run has learned; none where neither it nor the service knows them any more."""
    environment = run.environment or {}
    info = facts_kept(environment.get("dataset"))
    if info is None:  # an older version has made it
        known = datasets.catalog(settings)
        name = experiments.get(session, run.experiment_id).spec["dataset"]["name"]
        is_same = known.sha256(name) == environment.get("dataset_sha256")
        info = known.get(name) if is_same else None
    return [] if info is None else list(info.class_names)


def _name(names: list[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)
