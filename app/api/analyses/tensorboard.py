"""An experiment for TensorBoard over HTTP: a zip with a folder of event files for each seed, made while it is sent."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from app.api.analyses.zip_stream import ZipStream
from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.streams import in_a_pass
from app.services.experiments import experiments
from app.services.experiments.exports import (
    EPOCHS_AT_ONCE,
    EVERYTHING,
    EpochRange,
    blocks,
    epochs_of,
    with_ends,
)
from lab_models.common.naming import as_file_name
from training_lab import event_files
from training_lab.sync.texts import number_name

router = passes.router(prefix="/experiments", tags=["experiments"])


@dataclass
class _Written:
    """A run whose numbers are packed, one part after the other."""

    id: str
    seed: int
    test: dict[str, Any]
    seconds: float
    """Since 1970, at the end of the last epoch that was packed: its start and what its epochs took."""
    step: int = 0


@router.get(
    "/{experiment_id}/tensorboard.zip",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {}}, "description": "The zip, made while it is sent"}
    },
)
def read_tensorboard(request: Request, session: Reading, experiment: TheExperiment) -> Any:
    """Every number of every epoch as TensorBoard reads it, a folder for each seed, and test scores at the last epoch:
    unpack it and `tensorboard --logdir` the folder.
    """
    runs = experiments.its_runs(session, experiment.id)
    made_at = experiment.created_at
    written = [
        _Written(run.id, run.seed, dict(run.test or {}), (run.started_at or made_at).timestamp())
        for run in runs
    ]
    ends = with_ends(session, [(run.id, run.seed) for run in runs])
    name = as_file_name(f"{experiment.name or 'tensorboard'}-{experiment.id}")
    return StreamingResponse(
        _parts(request, ZipStream(name), made_at, list(zip(written, ends, strict=True))),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="{experiment.id}-tensorboard.zip"'},
    )


async def _parts(
    request: Request,
    zipped: ZipStream,
    made_at: datetime,
    runs: list[tuple[_Written, tuple[str, int, int]]],
) -> AsyncIterator[bytes]:
    for written, end in runs:
        place = f"{event_files.seed_folder(written.seed)}/{event_files.file_name(written.id)}"
        with zipped.file(place, made_at) as file:
            file.write(event_files.beginning(written.seconds))
            for parts in blocks([end], EPOCHS_AT_ONCE, EVERYTHING):
                file.write(
                    await in_a_pass(request, partial(_records, written=written, parts=parts))
                )
                yield zipped.take()
            scores = {
                number_name("test", name): float(value)
                for name, value in written.test.items()
                if isinstance(value, int | float)
            }
            if scores:
                file.write(event_files.scalars(written.seconds, written.step, scores))
    zipped.close(made_at)
    yield zipped.take()


def _records(session: Session, written: _Written, parts: list[EpochRange]) -> bytes:
    return b"".join(_each(session, written, parts))


def _each(session: Session, written: _Written, parts: list[EpochRange]) -> Iterator[bytes]:
    for part in parts:
        for epoch, rows in epochs_of(session, part):
            values: dict[str, float] = {}
            for _, split, name, value in rows:
                if value is None:
                    continue
                values[number_name(split, name)] = value
                written.seconds += value if name == "seconds" else 0.0
            written.step = epoch
            yield event_files.scalars(written.seconds, epoch, values)
