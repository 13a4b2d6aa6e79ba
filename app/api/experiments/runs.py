"""Runs over HTTP: one seed's record, numbers and files."""

from typing import Any

from fastapi.responses import FileResponse

from app.api.experiments import records, schemas
from app.api.http import passes
from app.api.http.deps import Reading, TheRun, TheSettings
from app.services.experiments import artifacts, progress
from app.storage.files.places import file_store
from app.storage.files.store import FileStore
from app.storage.tables import Artifact

router = passes.router(prefix="/runs", tags=["runs"])


@router.get("/{run_id}")
def read_run(session: Reading, run: TheRun) -> schemas.RunRecord:
    """One seed's execution, with its attempts."""
    return records.run_record(
        run, progress.attempts_of(session, run.id), progress.history_of(session, run.id)
    )


@router.get("/{run_id}/artifacts")
def list_artifacts(session: Reading, run: TheRun) -> schemas.ArtifactList:
    """The files a succeeded run has published."""
    return schemas.ArtifactList(
        data=[
            records.artifact_answer(artifact)
            for artifact in artifacts.artifacts_of(session, run.id)
        ]
    )


@router.get("/{run_id}/artifacts/{name}", response_class=FileResponse)
def download_artifact(session: Reading, run: TheRun, name: str, settings: TheSettings) -> Any:
    """One published file."""
    files, artifact = file_store(settings), artifacts.published(session, run.id, name)
    return (
        passes.Compute(lambda: _file_response(files, artifact), lane="files")
        if files.is_apart
        else _file_response(files, artifact)
    )


def _file_response(files: FileStore, artifact: Artifact) -> FileResponse:
    headers = {
        "ETag": f'"{artifact.sha256}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    return FileResponse(
        artifacts.file_of(files, artifact),
        media_type=artifact.media_type,
        filename=artifact.name,
        headers=headers,
    )
