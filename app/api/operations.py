"""For those who run the service: health, readiness, version, workers."""

import platform

from fastapi import APIRouter, Response

from app.api import schemas
from app.api.deps import Reading, TheCaller, TheSettings
from app.api.schemas import Answer
from app.queue import broker_answers
from app.services import readiness
from app.services.workers import online
from app.settings import Settings
from app.tables import Worker
from lab_models.revision import package_version, source_revision

router = APIRouter(tags=["operations"])


class VersionAnswer(Answer):
    """Which code answers."""

    version: str
    revision: str | None
    python: str


class HealthAnswer(Answer):
    """The process answers."""

    status: str = "ok"


class ReadyAnswer(Answer):
    """Whether requests can be served, and what else is there."""

    status: str
    checks: dict[str, str | int]


@router.get("/healthz")
def read_health() -> HealthAnswer:
    """The process answers; says nothing about database or workers."""
    return HealthAnswer()


@router.get("/readyz", responses={503: {"model": ReadyAnswer}})
def read_readiness(session: Reading, settings: TheSettings, response: Response) -> ReadyAnswer:
    """200 when the database answers with the right schema and LAB_HOME can be written and has space left; workers and broker are shown but do not decide."""
    database, storage = readiness.database_state(session), readiness.storage_state(settings.home, settings.min_free_bytes)
    ready = database.state == storage.state == readiness.OK
    if not ready:
        response.status_code = 503
    checks: dict[str, str | int] = {
        "database": database.state,
        "storage": storage.state,
        "free_bytes": storage.free_bytes,
        "broker": _broker(settings),
        "workers_online": database.workers_online,
        "runs_queued": database.runs_queued,
        "oldest_wait_seconds": database.oldest_wait_seconds,
    }
    return ReadyAnswer(status="ready" if ready else "not ready", checks=checks)


@router.get("/version")
def read_version() -> VersionAnswer:
    """Which code answers."""
    return VersionAnswer(version=package_version() or "unknown", revision=source_revision(), python=platform.python_version())


@router.get("/workers")
def list_workers(session: Reading, caller: TheCaller) -> schemas.WorkerList:
    """Workers that were seen lately; on which machines is for `read` and `admin` keys alone."""
    return schemas.WorkerList(data=[_worker(worker, named=caller.sees_all) for worker in online(session)])


def _worker(worker: Worker, *, named: bool) -> schemas.WorkerAnswer:
    return schemas.WorkerAnswer(
        id=worker.id if named else worker.id.removeprefix(f"{worker.host}-"),
        host=worker.host if named else None,
        device=worker.device,
        threads=worker.threads,
        started_at=worker.started_at,
        seen_at=worker.seen_at,
    )


def _broker(settings: Settings) -> str:
    if settings.embedded:
        return "embedded"
    return "redis" if broker_answers(settings.broker_url) else "redis does not answer; idle workers look for runs by themselves"
