"""Files of a run: checkpoints that resume starts from, and artifacts that are published. File first, row second."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from sqlalchemy import delete
from sqlmodel import Session, col, select

from app.errors import NotFound
from app.storage.files.store import FileStore
from app.storage.tables import Artifact, Checkpoint, utc_now
from lab_models.training.protocol import KEPT_CHECKPOINTS, SavedArtifact, SavedCheckpoint

WEIGHTS_NAME: Final = "weights.safetensors"
"""The weights of the best epoch."""


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


def weights_of(session: Session, run_ids: Collection[str]) -> dict[str, str]:
    """SHA-256 of the best weights of those of the runs that have published them."""
    named = (col(Artifact.run_id).in_(run_ids), col(Artifact.name) == WEIGHTS_NAME)
    return dict(session.exec(select(Artifact.run_id, Artifact.sha256).where(*named)).all())


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
    session: Session, files: FileStore, run_id: str, name: str
) -> tuple[Artifact, Path]:
    """An artifact's row and its file, as the two below."""
    artifact = published(session, run_id, name)
    return artifact, file_of(files, artifact)


def published(session: Session, run_id: str, name: str) -> Artifact:
    """An artifact's row; raises NotFound."""
    artifact = session.get(Artifact, (run_id, name))
    if artifact is None:
        raise NotFound(
            f"run {run_id} has no artifact {name!r}; GET /runs/{run_id}/artifacts lists them"
        )
    return artifact


def file_of(files: FileStore, artifact: Artifact) -> Path:
    """An artifact's file, here to be read, which takes a while where it must be fetched; raises NotFound and
    StoreOutOfReach.
    """
    path = files.path_of(artifact.run_id, artifact.path, artifact.sha256)
    if path is None:
        where = "the store, or damaged there" if files.is_apart else "the disk"
        raise NotFound(f"the file of artifact {artifact.name!r} is gone from {where}")
    return path


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
