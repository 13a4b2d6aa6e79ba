"""Trained networks over HTTP: what they say of an image, and the network itself as an ONNX file."""

import base64
import os
from functools import partial
from typing import Annotated, Any, BinaryIO, Final

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api.analyses.explanations import MethodName, TheExplaining, rounded_map
from app.api.http import passes
from app.api.http.deps import Reading, TheRun, TheSettings
from app.api.http.parameters import Given, Loaded
from app.api.http.pictures import IfNoneMatch, is_current
from app.api.schemas import Answer
from app.errors import BadBody, BodyTooLarge, InvalidRequest, UnusableImage, UploadInterrupted
from app.services.analyses.predicting import predictions
from app.services.analyses.predicting.explanations import Explaining
from app.services.analyses.predicting.onnx_files import OnnxFiles
from app.services.analyses.predicting.predictions import TrainedRun
from app.settings import Settings
from lab_models.common.documents import NotJSON, parse_json
from lab_models.common.validation import InvalidDocument, validate
from lab_models.datasets.decoding import Pixels
from lab_models.explanations.question import Method
from lab_models.inference.rows import Split

router = passes.router(prefix="/runs", tags=["runs"])

PIECE_BYTES: Final = 1 << 18

IMAGE_TYPES = ("image/png", "image/jpeg", "image/bmp", "image/gif", "image/webp")


class StoredImageRequest(BaseModel):
    """An image of the run's own data set."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    split: Split = "test"
    """`train` has val in it: the images as they lie on disk, before a run cuts them."""
    row: int = Field(ge=0)
    """Its number within the split, from 0; of test the row of `predictions.safetensors`."""


class ClassProbability(Answer):
    """A class and its probability."""

    label: int
    name: str
    probability: float


class MapAnswer(Answer):
    """Where in the image the network has found its answer."""

    method: Method
    stage: str
    """Of the network, whose feature maps were weighed: its last one with convolutions."""
    map: list[list[float]]
    """Of the predicted class, at the feature maps' resolution, on a scale of its own; with `cam` negative where the
    maps speak against it.
    """
    picture: str
    """A PNG in base64: the image as the network has seen it, with the map laid over it."""


class PredictionAnswer(Answer):
    """What a run's network says of an image."""

    run_id: str
    predicted: ClassProbability
    """The most probable class."""
    probabilities: list[ClassProbability]
    """The `top` most probable classes, in order; those of all classes add up to 1."""
    label: int | None
    """The true class, of an image of the data set; null for one that was sent."""
    input_shape: tuple[int, int, int]
    """Channels, height and width that the image was brought to."""
    explanation: MapAnswer | None = None
    """With `explain`."""


def _trained(session: Reading, settings: TheSettings, run: TheRun) -> TrainedRun:
    return predictions.trained_run(session, settings, run)


async def _body(request: Request) -> bytes:
    """The raw body, whatever its content type says; reading stops at the limit."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise UnusableImage(
            "the body is a form; send the image itself: curl --data-binary @FILE URL"
        )
    settings: Settings = request.app.state.settings
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > settings.max_image_bytes:
                raise BodyTooLarge(
                    f"the body is larger than {settings.max_image_bytes:,} bytes (LAB_MAX_IMAGE_BYTES)"
                )
    except ClientDisconnect as error:
        raise UploadInterrupted(f"the upload ended after {len(received):,} bytes") from error
    return bytes(received)


TheOnnxFiles = Annotated[OnnxFiles, Given(lambda request: request.app.state.onnx_files)]
TheTrainedRun = Annotated[TrainedRun, Loaded(_trained)]

BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in IMAGE_TYPES
        }
        | {
            "application/json": {
                "schema": StoredImageRequest.model_json_schema(),
                "example": {"split": "test", "row": 17},
            }
        },
    }
}
ONNX_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {}}},
    304: {"description": "The file the caller has is the current one"},
}


@router.post("/{run_id}/predict", openapi_extra=BODIES, response_model=PredictionAnswer)
def predict(
    trained: TheTrainedRun,
    explaining: TheExplaining,
    body: Annotated[bytes, Depends(_body)],
    top: Annotated[
        int, Query(ge=1, le=100_000, description="How many of the most probable classes are listed")
    ] = 10,
    explain: Annotated[
        MethodName | None,
        Query(
            description="Say where in the image as well: `cam`, `gradcam` or `gradcam++`; 409 where there are no maps"
        ),
    ] = None,
) -> Any:
    """What a succeeded run's best epoch says of an image: `curl --data-binary @digit.png
    localhost:8000/runs/run_…/predict`.

    The body is a PNG, JPEG, BMP, GIF or WebP of any size, brought to the data set's channels and size as an import does
    it; or `{"split": "test", "row": 17}`, which names an image of the data set. 409 until the run has succeeded.
    """
    return passes.Compute(lambda: _prediction(trained, explaining, body, top, explain))


def _prediction(
    trained: TrainedRun, explaining: Explaining, body: bytes, top: int, method: Method | None
) -> PredictionAnswer:
    pixels, label = _image(body, trained, explaining.settings)
    guesses = [
        ClassProbability(label=guess.label, name=guess.name, probability=guess.probability)
        for guess in predictions.predict(explaining.predictors, trained, pixels)
    ]
    return PredictionAnswer(
        run_id=trained.run_id,
        predicted=guesses[0],
        probabilities=guesses[:top],
        label=label,
        input_shape=trained.network.dataset.shape,
        explanation=None if method is None else _map(trained, explaining, pixels, method),
    )


def _map(trained: TrainedRun, explaining: Explaining, pixels: Pixels, method: Method) -> MapAnswer:
    found = explaining.explain_one(trained, pixels, method)
    # late: with onnx, which only a service that is asked pays for
    from lab_models.explanations.single import overlaid

    return MapAnswer(
        method=method,
        stage=found.stage,
        map=rounded_map(found.map),
        picture=base64.b64encode(overlaid(pixels, found.map)).decode(),
    )


@router.get("/{run_id}/model.onnx", response_class=Response, responses=ONNX_RESPONSES)
def download_model(
    trained: TheTrainedRun, files: TheOnnxFiles, if_none_match: IfNoneMatch = None
) -> Any:
    """A succeeded run's network and best weights as an ONNX file, with the normalization in it: uint8 pixels in, logits
    and probabilities out.
    """
    headers = {
        "ETag": f'"{trained.network.digest}"',
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)
    headers["Content-Disposition"] = f'attachment; filename="{trained.run_id}.onnx"'

    def made() -> Response:
        return OpenFile(files.open(trained.network), "application/octet-stream", headers)

    return passes.Compute(made)


class OpenFile(StreamingResponse):
    """A file that is open already, read as fast as the client does, whatever becomes of its name; closed with the
    answer.
    """

    def __init__(self, file: BinaryIO, media_type: str, headers: dict[str, str]) -> None:
        self._file = file
        headers = {**headers, "Content-Length": str(os.fstat(file.fileno()).st_size)}
        super().__init__(
            iter(partial(file.read, PIECE_BYTES), b""), media_type=media_type, headers=headers
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await super().__call__(scope, receive, send)


def _image(body: bytes, trained: TrainedRun, settings: Settings) -> tuple[Pixels, int | None]:
    """Pixels of the image that the body is or names, and its true class where that is known. No image format begins
    with a bracket.
    """
    if not body:
        raise UnusableImage('the body is empty: send an image, or {"split": "test", "row": 17}')
    if not body.lstrip().startswith((b"{", b"[")):
        return predictions.decoded(body, trained), None
    try:
        named = validate(StoredImageRequest, parse_json(body))
    except NotJSON as error:
        raise BadBody(str(error)) from error
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error
    image = predictions.stored(settings, trained, named.split, named.row)
    return image.pixels, image.label
