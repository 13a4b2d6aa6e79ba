"""Data sets over HTTP."""

import asyncio
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.api.catalog import schemas
from app.api.http import passes
from app.api.http.deps import TheAfterwards, TheCaller, TheDatabase, TheSettings, Writing
from app.errors import InvalidRequest, UploadInterrupted, UploadTooLarge
from app.services.datasets import datasets
from app.services.datasets.datasets import Share
from app.services.datasets.in_use import LeftBehind
from app.services.datasets.obstacles import presence_of
from app.services.owners.keys import Caller
from app.settings import Settings
from lab_models.datasets.catalog import Catalog, DatasetInfo, notes_on
from lab_models.datasets.sizing import LARGEST_SIDE, Wanted

WRITE_BYTES = 1 << 20
UPLOAD_IDLE_SECONDS = 60.0
"""A client that sends nothing for this long has gone: it keeps neither its owner's turn nor the service's shutdown
waiting.
"""

ZIP_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}

router = passes.router(tags=["catalog"])

DatasetName = Annotated[str, Path(description="A data set's name", max_length=100)]


class ImportQuery(BaseModel):
    """What the images shall become."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    size: int | None = Field(default=None, ge=1, le=LARGEST_SIDE)
    """Side in pixels; left out: the images' own size if all have the same and it is at most 224x224, else 32, or less
    where no image has as much.
    """
    channels: Literal["1", "3"] | None = None
    """1 for grey, 3 for RGB; left out: grey only if every image is."""
    enlarge: bool = False
    """Whether images smaller than `size` are enlarged to it; without, one such image has the import refused."""
    background: Literal["black", "white"] | None = None
    """What lies under transparent images; left out: black, or white where black leaves most images without content."""
    stretch: bool = False
    """Whether the largest value of all images is made white, by one factor for all: for masks, and for instruments that
    use a part of 16 bits.
    """
    on_bad: Literal["refuse", "skip"] = "refuse"
    """What a file that cannot be read does to the import; `skip` leaves up to one in a hundred out, and names them."""


@router.get("/datasets")
def list_datasets(settings: TheSettings) -> schemas.DatasetList:
    """The data sets, with shapes, sizes and normalization constants: the built-in ones, then the imported ones by
    name.
    """
    known = datasets.catalog(settings)
    return schemas.DatasetList(data=[_record(settings, info, known) for info in known.all()])


@router.get("/datasets/{name}")
def read_dataset(settings: TheSettings, name: DatasetName) -> schemas.DatasetAnswer:
    """One data set."""
    return _record(settings, datasets.get(settings, name), datasets.catalog(settings))


@router.put("/datasets/{name}", status_code=201, openapi_extra=ZIP_BODY)
async def import_dataset(
    request: Request,
    response: Response,
    settings: TheSettings,
    database: TheDatabase,
    caller: TheCaller,
    name: DatasetName,
    query: Annotated[ImportQuery, Query()],
) -> schemas.DatasetAnswer:
    """Make a data set of a zip of images: `curl -T flowers.zip localhost:8000/datasets/flowers`.

    In the zip lie `train/<class>/<image>` and, if there are any, `test/<class>/<image>` and `val/<class>/<image>`; or
    `<class>/<image>` alone. Without test, val serves as test, or else a fixed stratified fifth of train. A tar, also
    packed by gzip, is taken as a zip is, and so are NumPy archives, Parquet and tables of pixels. Nothing is kept
    unless every image can be read. It belongs to the caller, counts for their quota, and everybody may train on it.
    Each owner imports one data set at a time; the name is given to the first whose upload is whole.
    """
    announced = _refuse_what_is_no_zip(request, settings)
    wanted = datasets.wanted(
        query.size,
        None if query.channels is None else 1 if query.channels == "1" else 3,
        query.enlarge,
        background=query.background,
        stretch=query.stretch,
        skip_bad=query.on_bad == "skip",
    )
    lanes, client = passes.passes_of(request), passes.client_of(request)

    def look() -> Share:
        with database.reading() as session:
            return datasets.share_of(session, settings, caller)

    with datasets.turn_of(settings, caller, name):
        share = await lanes.go(lanes.reading, client, look)
        await run_in_threadpool(datasets.refuse_early, settings, caller, share, announced)
        with datasets.upload_file(settings) as file:
            await _receive(request, file, settings)
            async with lanes.importing.turn(client):
                if await request.is_disconnected():
                    raise UploadInterrupted("the client left before its images were read")
                record = await run_in_threadpool(
                    _import, settings, caller, share, name, file, wanted
                )
    response.headers["Location"] = f"/datasets/{name}"
    return record


@router.delete("/datasets/{name}")
def remove_dataset(
    session: Writing,
    settings: TheSettings,
    caller: TheCaller,
    afterwards: TheAfterwards,
    name: DatasetName,
) -> schemas.RemovedDataset:
    """Remove an imported data set, and say what it leaves behind; 409 for a built-in one, and while an experiment that
    is not finished uses it. With keys, its owner and admins may.
    """
    folder, left = datasets.take_away(session, settings, caller, name)
    afterwards.later(datasets.throw_away, folder)
    return schemas.RemovedDataset(
        name=name,
        trained_experiments=left.num_trained,
        cannot_predict=left.num_forgetful,
        notes=_notes_on_what_is_left(left),
    )


def _import(
    settings: Settings, caller: Caller, share: Share, name: str, file: BinaryIO, wanted: Wanted
) -> schemas.DatasetAnswer:
    info = datasets.import_zip(settings, caller, share, name, file, wanted)
    return _record(settings, info, datasets.catalog(settings))


def _refuse_what_is_no_zip(request: Request, settings: Settings) -> int:
    """What the headers tell, before anything is received: refuses a form and what is too large; returns the length, 0
    where it is not said.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise InvalidRequest("the body is a form; send the zip itself: curl -T FILE.zip URL")
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    if announced > settings.max_upload_bytes:
        raise _too_large(settings)
    return announced


async def _receive(request: Request, file: BinaryIO, settings: Settings) -> None:
    """The body into a file; raises UploadTooLarge as soon as it is, UploadInterrupted when nothing comes any more or
    all takes too long, StorageFull.
    """
    try:
        async with asyncio.timeout(settings.max_upload_seconds):
            await _receive_all(request, file, settings)
    except TimeoutError as error:
        raise UploadInterrupted(
            f"the upload took longer than {settings.max_upload_seconds:,g} s (LAB_MAX_UPLOAD_SECONDS)"
        ) from error


async def _receive_all(request: Request, file: BinaryIO, settings: Settings) -> None:
    """A megabyte at a time."""
    received, waiting = 0, bytearray()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(UPLOAD_IDLE_SECONDS):
                chunk = await anext(stream, None)
        except (ClientDisconnect, TimeoutError) as error:
            raise UploadInterrupted(f"the upload ended after {received:,} bytes") from error
        if chunk is None:
            break
        received += len(chunk)
        if received > settings.max_upload_bytes:
            raise _too_large(settings)
        waiting += chunk
        if len(waiting) >= WRITE_BYTES:
            await run_in_threadpool(datasets.receive, settings, file, bytes(waiting))
            waiting.clear()
    await run_in_threadpool(datasets.receive, settings, file, bytes(waiting))


def _too_large(settings: Settings) -> UploadTooLarge:
    return UploadTooLarge(
        f"the upload is larger than {settings.max_upload_bytes:,} bytes (LAB_MAX_UPLOAD_BYTES)"
    )


def _notes_on_what_is_left(left: LeftBehind) -> list[str]:
    if not left.num_trained:
        return []
    many = left.num_trained > 1
    were, stay = ("experiments were", "stay") if many else ("experiment was", "stays")
    notes = [
        f"{left.num_trained:,} {were} trained on it and {stay}: results, pictures and weights, predictions for images"
        " that are sent, ONNX files; images by their rows, explanations and more training need the same images imported"
        " again under its name"
    ]
    if left.num_forgetful:
        notes.append(
            f"{left.num_forgetful:,} of them, of an older version, kept too little of it: until then there are no"
            " predictions and ONNX files either"
        )
    return notes


def _record(settings: Settings, info: DatasetInfo, known: Catalog) -> schemas.DatasetAnswer:
    found = presence_of(settings, info)
    return schemas.DatasetAnswer(
        name=info.name,
        title=info.title,
        imported=info.imported,
        imported_at=info.imported_at,
        owner=datasets.owner_of(info),
        shape=info.shape,
        num_classes=info.num_classes,
        class_names=list(info.class_names),
        num_train=info.num_train,
        num_val=info.num_val,
        num_test=info.num_test,
        mean=list(info.mean),
        std=list(info.std),
        statistics_source=info.statistics_source,
        source=info.source,
        sha256=known.sha256(info.name),
        disk_bytes=known.disk_bytes(info.name),
        here=found.here,
        download_bytes=found.download_bytes,
        notes=list(notes_on(info)),
        links={"self": f"/datasets/{info.name}"},
    )
