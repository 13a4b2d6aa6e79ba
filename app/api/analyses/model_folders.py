"""A trained network over HTTP as a folder in the layout of Hugging Face's hub: weights, ONNX file, card and numbers."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, BinaryIO, Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session
from starlette.types import Receive, Scope, Send

from app.api.analyses.bundle_texts import as_json
from app.api.analyses.bundles import METRICS, drawn_for
from app.api.analyses.model_card import Described, card, config, license_note, preprocessing
from app.api.analyses.predict import TheOnnxFiles
from app.api.analyses.zip_stream import ZipStream
from app.api.experiments import records
from app.api.http import passes
from app.api.http.deps import Reading, TheLocalWorkers, TheRun, TheSettings
from app.api.http.drawings import Draw
from app.api.http.parameters import Loaded
from app.api.http.pictures import IfNoneMatch, PictureFormat, drawings_of, is_current
from app.api.http.streams import in_a_pass
from app.errors import NotFound
from app.plots.artists import DrawingFailed
from app.services.analyses.curves import experiment_curves
from app.services.analyses.predicting import predictions
from app.services.analyses.predicting.predictions import TrainedRun
from app.services.experiments import exports
from app.services.experiments.wholes import whole
from lab_models.common.naming import as_file_name

router = passes.router(prefix="/runs", tags=["runs"])

FOLDER_VERSION: Final = 1
"""Grows with what stands in a folder, so that a copy of the old one is not kept."""
PIECE_BYTES: Final = 1 << 20


def _trained(session: Reading, settings: TheSettings, run: TheRun) -> TrainedRun:
    return predictions.trained_run(session, settings, run, "be taken out as a folder")


TheTakenOut = Annotated[TrainedRun, Loaded(_trained)]


@dataclass(frozen=True)
class _Folder:
    """What goes into the zip."""

    described: Described
    title: str
    at: datetime
    runs: list[tuple[str, int]]
    curves: Draw


@router.get(
    "/{run_id}/model.zip",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {}}, "description": "The zip, made while it is sent"},
        304: {"description": "The folder the caller has is the current one"},
        409: {"description": "The run has no weights, or they are no network any more"},
    },
)
def download_model_folder(
    request: Request,
    session: Reading,
    run: TheRun,
    trained: TheTakenOut,
    files: TheOnnxFiles,
    local_workers: TheLocalWorkers,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """A succeeded run's network as a folder in the layout of Hugging Face's hub: model card, spec, weights, ONNX file,
    preprocessing, classes, numbers, curves, the terms of the data set, and checksums. 409 until the run has succeeded,
    404 when its files are gone.
    """
    found = whole(session, run.experiment_id)
    exhibit = experiment_curves(session, found.experiment, METRICS)
    said = json.dumps([FOLDER_VERSION, run.id, trained.network.digest, exhibit.fingerprint()])
    headers = {
        "ETag": f'"{hashlib.sha256(said.encode()).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",
    }
    if is_current(headers, if_none_match):
        return Response(status_code=304, headers=headers)
    described = Described(records.experiment_record(found, local_workers), run, trained)
    title = as_file_name(f"{found.experiment.name or described.network}-seed-{run.seed}", 90)
    folder = _Folder(
        described,
        title,
        run.finished_at or found.experiment.created_at,
        [(one.id, one.seed) for one in found.runs],
        drawings_of(exhibit, (PictureFormat.SVG,))[PictureFormat.SVG],
    )
    headers["Content-Disposition"] = f'attachment; filename="{run.id}-model.zip"'

    def made() -> Response:
        with ExitStack() as opened:
            onnx = opened.enter_context(files.open(trained.network))
            try:
                weights = opened.enter_context(trained.network.weights.open("rb"))
            except OSError as error:
                raise NotFound(
                    f"{trained.network.weights.name} cannot be read: {error.strerror}"
                ) from error
            return _Sent(request, folder, weights, onnx, headers, opened.pop_all())

    return passes.Compute(made)


class _Sent(StreamingResponse):
    """The folder while it is sent; its files are open already, and closed with the answer."""

    def __init__(
        self,
        request: Request,
        folder: _Folder,
        weights: BinaryIO,
        onnx: BinaryIO,
        headers: dict[str, str],
        opened: ExitStack,
    ) -> None:
        self._opened = opened
        parts = _parts(request, folder, weights, onnx)
        super().__init__(parts, media_type="application/zip", headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._opened:
            await super().__call__(scope, receive, send)


async def _parts(
    request: Request, folder: _Folder, weights: BinaryIO, onnx: BinaryIO
) -> AsyncIterator[bytes]:
    """As of a bundle: whatever is read and packed is so in a pass, and nothing is held between two."""
    packed, described, at = ZipStream(folder.title), folder.described, folder.at
    await in_a_pass(request, lambda _: _begin(packed, described, at))
    yield packed.take()
    for name, source in (("model.safetensors", weights), ("model.onnx", onnx)):
        with packed.file(name, at, is_packed=False) as file:
            read = partial(_piece, source)
            while piece := await in_a_pass(request, read):
                file.write(piece)
                yield packed.take()
    missing: tuple[str, ...] = ()
    try:
        packed.add("curves.svg", await drawn_for(request, folder.curves), at)
    except DrawingFailed:
        missing = ("curves.svg",)
    pieces = await in_a_pass(request, partial(exports.tidy_pieces, runs=folder.runs))
    with packed.file("metrics.csv", at) as file:
        for piece_of in pieces:
            await in_a_pass(
                request,
                lambda session, piece_of=piece_of, file=file: file.write(piece_of(session)),  # type: ignore[misc]
            )
            yield packed.take()
    packed.add("README.md", card(described, missing).encode(), at)
    packed.close(at)
    yield packed.take()


def _begin(packed: ZipStream, described: Described, at: datetime) -> None:
    packed.add("config.json", as_json(config(described)), at)
    packed.add("preprocessing.json", as_json(preprocessing(described)), at)
    packed.add("classes.json", as_json(list(described.info.class_names)), at)
    packed.add("LICENSE-DATA.md", license_note(described).encode(), at)


def _piece(source: BinaryIO, _: Session) -> bytes:
    return source.read(PIECE_BYTES)
