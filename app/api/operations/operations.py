"""For those who run the service: health, readiness, version, workers."""

import platform
from typing import Any

from fastapi import Request, Response

from app.api.http import passes
from app.api.http.deps import Reading, TheCaller, TheDatabase, TheLocalWorkers, TheSettings
from app.api.http.sharing import Shared
from app.api.operations import schemas
from app.doorbell import broker_answers
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.lifecycle.workers import online, trained_by
from app.services.upkeep import readiness
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Worker
from lab_models.common.revision import package_version, source_revision

router = passes.router(tags=["operations"])


@router.get("/healthz")
async def read_health() -> schemas.HealthAnswer:
    """The process answers; says nothing about database or workers."""
    return schemas.HealthAnswer()


@router.get(
    "/readyz", response_model=schemas.ReadyAnswer, responses={503: {"model": schemas.ReadyAnswer}}
)
async def read_readiness(
    request: Request,
    database: TheDatabase,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
) -> Any:
    """200 when the database answers with the right schema and LAB_HOME can be written and has space left; workers and
    broker are shown but do not decide.

    Looked at once a second at most, whoever asks.
    """
    lanes = passes.passes_of(request)
    shared: Shared[tuple[bytes, int]] = request.app.state.readiness
    body, status = await shared.get(
        lambda: lanes.go(
            lanes.readiness, "all", lambda: _readiness(database, settings, local_workers)
        )
    )
    return Response(body, status, media_type="application/json")


def _readiness(
    database: Database, settings: Settings, local_workers: LocalWorkers
) -> tuple[bytes, int]:
    """The answer's body and status."""
    with database.reading() as session:
        rows = readiness.database_state(session)
    storage = readiness.storage_state(settings.home, settings.min_free_bytes)
    ready = rows.state == storage.state == readiness.OK
    checks: dict[str, str | int] = {
        "database": rows.state,
        "storage": storage.state,
        "free_bytes": storage.free_bytes,
        "broker": _broker(settings),
        "workers": local_workers.state(rows.workers_online, rows.trouble),
        "workers_online": rows.workers_online,
        "runs_queued": rows.runs_queued,
        "oldest_wait_seconds": rows.oldest_wait_seconds,
    }
    return schemas.ReadyAnswer(
        status="ready" if ready else "not ready", checks=checks
    ).model_dump_json().encode(), 200 if ready else 503


@router.get("/version")
async def read_version() -> schemas.VersionAnswer:
    """Which code answers."""
    return schemas.VersionAnswer(
        version=package_version() or "unknown",
        revision=source_revision(),
        python=platform.python_version(),
    )


@router.get("/workers")
def list_workers(session: Reading, caller: TheCaller) -> schemas.WorkerList:
    """Workers that were seen lately, also those that cannot train, with the reason; on which machines is for `read` and
    `admin` keys alone.
    """
    workers = online(session)
    rows = trained_by(session, [worker.id for worker in workers])
    return schemas.WorkerList(
        data=[
            _worker(
                worker,
                [
                    _trained(row, caller.may_see(row.owner))
                    for row in rows
                    if row.worker_id == worker.id
                ],
                named=caller.sees_all,
            )
            for worker in workers
        ]
    )


def _worker(
    worker: Worker, trains: list[schemas.TrainedAnswer], *, named: bool
) -> schemas.WorkerAnswer:
    return schemas.WorkerAnswer(
        id=worker.id if named else worker.id.removeprefix(f"{worker.host}-"),
        host=worker.host if named else None,
        device=worker.device,
        threads=worker.threads,
        cores=worker.cores,
        trouble=worker.trouble,
        caution=worker.caution,
        started_at=worker.started_at,
        seen_at=worker.seen_at,
        trains=trains,
    )


def _trained(row: Any, shown: bool) -> schemas.TrainedAnswer:
    return schemas.TrainedAnswer(
        run_id=row.run_id if shown else None,
        experiment_id=row.experiment_id if shown else None,
        name=row.name if shown else None,
        owner=row.owner if shown else None,
        seed=row.seed if shown else None,
        epochs_done=row.epochs_done,
        epochs=row.epochs,
    )


def _broker(settings: Settings) -> str:
    if settings.embedded:
        return "embedded"
    return (
        "redis"
        if broker_answers(settings.broker_url)
        else "redis does not answer; idle workers look for runs by themselves"
    )
