"""What the API answers of the service itself, field by field."""

from datetime import datetime

from app.api.schemas import Answer


class TrainedAnswer(Answer):
    """A run that a worker trains. Of others' runs a student sees that they are there, not which."""

    run_id: str | None
    experiment_id: str | None
    name: str | None
    owner: str | None
    seed: int | None
    epochs_done: int
    epochs: int


class WorkerAnswer(Answer):
    """A worker that has shown itself lately."""

    id: str
    host: str | None
    """Null for a `submit` key."""
    device: str
    threads: int
    """CPU threads of a run of convolutions; an MLP takes one."""
    cores: int | None
    """As many a run may take that is alone on the machine. Null where the worker does not say it."""
    trouble: str | None
    """Why it cannot train: it claims nothing, and looks again by itself. Null for one that can."""
    caution: str | None
    """What people should know of a worker that can train, such as that it uses the CPU in place of a GPU."""
    started_at: datetime
    seen_at: datetime
    trains: list[TrainedAnswer]


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
