"""Files of a run: checkpoints that resume starts from, and artifacts that are published. File first, row second."""

import stat
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path, PurePosixPath

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.errors import NotFound
from app.storage.tables import Artifact, Checkpoint, utc_now
from lab_models.training.protocol import KEPT_CHECKPOINTS, SavedArtifact, SavedCheckpoint


def record_checkpoint(
    session: Session, run_id: str, attempt: int, saved: SavedCheckpoint
) -> list[str]:
    """Point the run at a new checkpoint; returns the paths of older ones whose files may go after the commit."""
    session.merge(
        Checkpoint(
            run_id=run_id,
            attempt=attempt,
            epoch=saved.epoch,
            step=saved.step,
            path=saved.path,
            sha256=saved.sha256,
            size_bytes=saved.size_bytes,
            created_at=utc_now(),
        )
    )
    session.flush()
    return _drop(session, _newest_first(session, run_id)[KEPT_CHECKPOINTS:])


def drop_checkpoints(session: Session, run_id: str) -> list[str]:
    """Forget all checkpoints of a finished run; returns the paths whose files may go after the commit."""
    return _drop(session, _newest_first(session, run_id))


def resumable(session: Session, run_id: str) -> tuple[SavedCheckpoint, ...]:
    """Where a new attempt may start, the newest first."""
    return tuple(
        SavedCheckpoint(
            path=row.path,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            epoch=row.epoch,
            step=row.step,
        )
        for row in _newest_first(session, run_id)
    )


def publish(session: Session, run_id: str, artifacts: Iterable[SavedArtifact]) -> None:
    """Give files their public names."""
    for saved in artifacts:
        session.add(
            Artifact(
                run_id=run_id,
                name=saved.name,
                media_type=saved.media_type,
                path=saved.path,
                sha256=saved.sha256,
                size_bytes=saved.size_bytes,
                created_at=utc_now(),
            )
        )


def artifacts_of(session: Session, run_id: str) -> list[Artifact]:
    """What a run has published, by name."""
    return list(
        session.exec(
            select(Artifact).where(col(Artifact.run_id) == run_id).order_by(col(Artifact.name))
        )
    )


def artifact_path(
    session: Session, runs_folder: Path, run_id: str, name: str
) -> tuple[Artifact, Path]:
    """An artifact's row and file, which lies within the run's folder with no link on the way; raises NotFound."""
    artifact = session.get(Artifact, (run_id, name))
    if artifact is None:
        raise NotFound(
            f"run {run_id} has no artifact {name!r}; GET /runs/{run_id}/artifacts lists them"
        )
    path = _file_within(runs_folder / run_id, artifact.path)
    if path is None:
        raise NotFound(f"the file of artifact {name!r} is gone from the disk")
    return artifact, path


def _file_within(folder: Path, relative: str) -> Path | None:
    """The regular file at `relative`, or None. Neither the folder nor anything below it may be a link: nothing here
    makes one.
    """
    wanted = PurePosixPath(relative)
    if wanted.is_absolute() or not wanted.parts or ".." in wanted.parts:
        return None
    steps = list(accumulate(wanted.parts, Path.joinpath, initial=folder))
    try:
        modes = [step.lstat().st_mode for step in steps]
    except (OSError, ValueError):
        # not there, a loop, a name too long for any file, or one with NUL
        return None
    return steps[-1] if all(map(stat.S_ISDIR, modes[:-1])) and stat.S_ISREG(modes[-1]) else None


def _newest_first(session: Session, run_id: str) -> list[Checkpoint]:
    order = (
        col(Checkpoint.epoch).desc(),
        col(Checkpoint.step).desc(),
        col(Checkpoint.attempt).desc(),
    )
    return list(
        session.exec(select(Checkpoint).where(col(Checkpoint.run_id) == run_id).order_by(*order))
    )


def _drop(session: Session, rows: list[Checkpoint]) -> list[str]:
    for row in rows:
        key = (
            col(Checkpoint.run_id) == row.run_id,
            col(Checkpoint.attempt) == row.attempt,
            col(Checkpoint.epoch) == row.epoch,
            col(Checkpoint.step) == row.step,
        )
        session.execute(delete(Checkpoint).where(*key))
    return [row.path for row in rows]
