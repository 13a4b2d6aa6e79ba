"""What the API answers of the service itself, field by field."""

from datetime import datetime

from app.api.schemas import Answer


class WorkerAnswer(Answer):
    """A worker that has shown itself lately."""

    id: str
    host: str | None
    """Null for a `submit` key."""
    device: str
    threads: int
    started_at: datetime
    seen_at: datetime


class WorkerList(Answer):
    """Workers online."""

    data: list[WorkerAnswer]


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
