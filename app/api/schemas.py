"""What the API answers, field by field."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.states import RunStatus, StatusReason


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class EstimateAnswer(Answer):
    """Size and cost, known before anything runs."""

    parameters: int
    """Trainable numbers."""
    macs_per_sample: int
    """Multiply-accumulates of one image's forward pass."""
    steps: int | None = None
    """Optimizer steps of one run."""
    seconds: float | None = None
    """Nominal seconds of one run on two CPU cores."""


class DryRun(Answer):
    """What an experiment would be; nothing was stored."""

    valid: bool = True
    spec: dict[str, Any]
    """The effective spec: every default written out."""
    fingerprint: str
    seeds: list[int]
    estimate: EstimateAnswer
    warnings: list[str]


class ProgressAnswer(Answer):
    """How far it is: `fraction` of all steps, `epoch` of `epochs` begun."""

    fraction: float
    epoch: int
    epochs: int


class AttemptAnswer(Answer):
    """One worker's try at a run."""

    number: int
    worker: str
    started_at: datetime
    first_step_at: datetime | None
    finished_at: datetime | None
    outcome: str | None
    resumed_from: dict[str, int] | None
    notes: list[str]


class RunAnswer(Answer):
    """One seed's execution."""

    id: str
    seed: int
    status: RunStatus
    status_reason: StatusReason
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    progress: ProgressAnswer
    best: dict[str, Any] | None
    """Epoch of lowest val loss, and its val scores."""
    test: dict[str, float] | None
    """Test scores of the best epoch's weights."""
    error: dict[str, Any] | None
    links: dict[str, str]


class RunRecord(RunAnswer):
    """One seed's execution with its attempts."""

    experiment_id: str
    environment: dict[str, Any] | None
    attempts: list[AttemptAnswer]


class SummaryAnswer(Answer):
    """A number over seeds; `std` and `ci95` (Student's t) need at least two."""

    mean: float
    std: float | None
    n: int
    ci95: tuple[float, float] | None
    values: list[float]


class QueueAnswer(Answer):
    """Place in the queue, from 1; null when no run is queued."""

    position: int | None
    ahead: int


class ExperimentRow(Answer):
    """An experiment in a list."""

    id: str
    name: str | None
    labels: dict[str, str]
    kind: str
    fingerprint: str
    status: RunStatus
    is_terminal: bool
    created_at: datetime
    num_runs: int
    progress: ProgressAnswer
    links: dict[str, str]


class ExperimentPage(Answer):
    """A page of experiments, the newest first."""

    data: list[ExperimentRow]
    has_more: bool
    next_cursor: str | None


class ExperimentRecord(Answer):
    """Everything a poller needs."""

    id: str
    name: str | None
    labels: dict[str, str]
    kind: str
    study_id: str | None = None
    fingerprint: str
    status: RunStatus
    is_terminal: bool
    status_reason: StatusReason
    """Why; one of a documented list, for scripts."""
    status_message: str
    """The same as a sentence, for people."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    estimated_finish_at: datetime | None
    queue: QueueAnswer
    progress: ProgressAnswer
    submitted: dict[str, Any]
    """The body as it was sent."""
    spec: dict[str, Any]
    """The effective spec: every default written out."""
    estimate: EstimateAnswer
    runs: list[RunAnswer]
    results: dict[str, dict[str, SummaryAnswer]]
    """Over the succeeded runs: test scores, and val scores at the best epoch."""
    environment: dict[str, Any] | None
    error: dict[str, Any] | None
    """The first failed run's error."""
    links: dict[str, str]


class EpochMetrics(Answer):
    """One epoch's numbers by split."""

    epoch: int
    train: dict[str, float | None] = {}
    val: dict[str, float | None] = {}


class RunMetricsAnswer(Answer):
    """One run's numbers, epoch by epoch."""

    run_id: str
    seed: int
    epochs: list[EpochMetrics]


class MetricsAnswer(Answer):
    """All numbers of an experiment."""

    experiment_id: str
    runs: list[RunMetricsAnswer]


class ArtifactAnswer(Answer):
    """A published file."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: datetime
    links: dict[str, str]


class ArtifactList(Answer):
    """What a run has published."""

    data: list[ArtifactAnswer]


class DatasetAnswer(Answer):
    """A data set's facts; `shape` is channels, height, width."""

    name: str
    title: str
    shape: tuple[int, int, int]
    num_classes: int
    class_names: list[str]
    num_train: int
    num_test: int
    mean: list[float]
    std: list[float]
    statistics_source: str
    source: str


class DatasetList(Answer):
    """The data sets this service knows."""

    data: list[DatasetAnswer]


class ArchitectureAnswer(Answer):
    """An architecture with the JSON Schema of its spec, and sizes of some members on a data set."""

    name: str
    title: str
    json_schema: dict[str, Any]
    examples: list[dict[str, Any]]


class ArchitectureList(Answer):
    """The architectures this service knows."""

    data: list[ArchitectureAnswer]


class WorkerAnswer(Answer):
    """A worker that has shown itself lately."""

    id: str
    host: str
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
