"""For those who run the service: health, readiness, version, workers."""

import platform

from fastapi import APIRouter, Response

from app.api import schemas
from app.api.deps import Reading, TheSettings
from app.db import schema_is_current
from app.services.lifecycle import queued_runs
from app.services.workers import online
from lab_models.revision import package_version, source_revision

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def read_health() -> schemas.HealthAnswer:
    """The process answers; says nothing about database or workers."""
    return schemas.HealthAnswer()


@router.get("/readyz", responses={503: {"model": schemas.ReadyAnswer}})
def read_readiness(session: Reading, settings: TheSettings, response: Response) -> schemas.ReadyAnswer:
    """200 when the database answers with the right schema; workers and broker are shown but do not decide."""
    current = schema_is_current(session)
    checks: dict[str, str | int] = {
        "database": "ok" if current else "wrong schema revision",
        "broker": "embedded" if settings.embedded else "redis",
        "workers_online": len(online(session)) if current else 0,
        "runs_queued": queued_runs(session) if current else 0,
    }
    if not current:
        response.status_code = 503
    return schemas.ReadyAnswer(status="ready" if current else "not ready", checks=checks)


@router.get("/version")
def read_version() -> schemas.VersionAnswer:
    """Which code answers."""
    return schemas.VersionAnswer(version=package_version() or "unknown", revision=source_revision(), python=platform.python_version())


@router.get("/workers")
def list_workers(session: Reading) -> schemas.WorkerList:
    """Workers that were seen lately."""
    return schemas.WorkerList(
        data=[
            schemas.WorkerAnswer(
                id=worker.id, host=worker.host, device=worker.device, threads=worker.threads, started_at=worker.started_at, seen_at=worker.seen_at
            )
            for worker in online(session)
        ]
    )
