"""The rows. A study has experiments, an experiment has runs, a run has attempts; metrics, checkpoints and artifacts
hang on a run.

What people make belongs to an owner, whose name a key gives; without keys everything is `local`'s.

Files lie under `<LAB_HOME>/runs/<run id>/`; a row's `path` is relative to that folder and is written after the file.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, MetaData, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.storage.changes import change_column, change_index
from app.storage.column_types import ReasonText, StatusText, UTCDateTime
from app.storage.machine_tables import Installation as Installation
from app.storage.machine_tables import Worker as Worker
from app.storage.owner_tables import ApiKey as ApiKey
from app.storage.owner_tables import BrowserSession as BrowserSession
from app.storage.owner_tables import LoginCode as LoginCode
from app.storage.owner_tables import Owner as Owner
from app.storage.owner_tables import QuotaColumns as QuotaColumns
from app.storage.owner_tables import RoleQuota as RoleQuota
from app.storage.owner_tables import TrainingDay as TrainingDay
from app.storage.rows import LOCAL as LOCAL
from app.storage.rows import new_id as new_id
from app.storage.rows import utc_now as utc_now
from app.storage.states import RunStatus, StatusReason, TrainsOn
from app.storage.summary_tables import ExperimentSummary as ExperimentSummary
from app.storage.webhook_tables import Webhook as Webhook
from app.storage.webhook_tables import WebhookDelivery as WebhookDelivery
from app.storage.webhook_tables import WebhookSender as WebhookSender


class Study(SQLModel, table=True):
    """Experiments that answer one question in one table. `design` is a `lab_models.studies.design.Design`;
    `nominal_seconds` is one run's cost by cell.
    """

    __tablename__ = "study"
    __table_args__ = (
        Index("ix_study_created_at_id", "created_at", "id"),
        change_index("study"),
        UniqueConstraint("owner", "idempotency_key"),
    )

    id: str = Field(primary_key=True, default_factory=lambda: new_id("stu"))
    created_at: datetime = Field(sa_type=UTCDateTime)
    owner: str = Field(default=LOCAL, index=True)
    name: str
    labels: dict[str, str] = Field(sa_type=JSON, default_factory=dict)
    recipe: str | None = Field(default=None, index=True)
    scale: str | None = None
    submitted: dict[str, Any] = Field(sa_type=JSON)
    design: dict[str, Any] = Field(sa_type=JSON)
    nominal_seconds: dict[str, float] = Field(sa_type=JSON)
    reuse: bool = True
    idempotency_key: str | None = None
    request_hash: str
    change: int | None = change_column("study")


class Experiment(SQLModel, table=True):
    """One spec, run with one or more seeds. In a study, `cell` is its place in the table; `nominal_seconds` is one
    run's cost on two cores. `arch` and `dataset` are names out of `spec`, to be found and counted by. `notes` are
    people's own, in Markdown; lists leave out what is `archived`. `device` is as the request says it.
    """

    __tablename__ = "experiment"
    __table_args__ = (
        Index("ix_experiment_created_at_id", "created_at", "id"),
        Index("ix_experiment_owner_created_at_id", "owner", "created_at", "id"),
        Index("ix_experiment_owner_dataset_archived", "owner", "dataset", "archived"),
        change_index("experiment"),
        UniqueConstraint("owner", "idempotency_key"),
    )

    id: str = Field(primary_key=True, default_factory=lambda: new_id("exp"))
    created_at: datetime = Field(sa_type=UTCDateTime)
    owner: str = Field(default=LOCAL)
    name: str | None = None
    labels: dict[str, str] = Field(sa_type=JSON, default_factory=dict)
    kind: str
    fingerprint: str = Field(index=True)
    submitted: dict[str, Any] = Field(sa_type=JSON)
    spec: dict[str, Any] = Field(sa_type=JSON)
    arch: str | None = None
    dataset: str | None = None
    priority: int = 0
    device: str = "auto"
    parameters: int = Field(sa_type=BigInteger)
    trainable_parameters: int | None = Field(default=None, sa_type=BigInteger)
    macs_per_sample: int = Field(sa_type=BigInteger)
    memory_bytes: int | None = Field(default=None, sa_type=BigInteger)
    nominal_seconds: float | None = None
    related: dict[str, Any] = Field(sa_type=JSON, default_factory=dict)
    study_id: str | None = Field(default=None, foreign_key="study.id", index=True)
    cell: str | None = None
    notes: str | None = Field(default=None, sa_type=Text)
    archived: bool = False
    idempotency_key: str | None = None
    request_hash: str
    change: int | None = change_column("experiment")


class Run(SQLModel, table=True):
    """One execution with one seed. `fence` grows by one with each claim; `heartbeat` with each sign of life.

    `train` are the published weights' scores on images that they were learned from, None in runs of older versions.
    `needs` is the run whose weights must exist first: a student's teacher. `reused_from` is the equal run, which may be
    gone by now, whose results this one took over instead of training. `artifact_bytes` is what it has published.
    `trains_on` is a `TrainsOn`.
    """

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("experiment_id", "seed"),
        Index("ix_run_queue", "status", "priority", "created_at", "position"),
        Index("ix_run_owner_status_artifact_bytes", "owner", "status", "artifact_bytes"),
        Index("ix_run_status_finished_at", "status", "finished_at"),
        Index("ix_run_status_error_code", "status", "error_code"),
        change_index("run"),
    )

    id: str = Field(primary_key=True, default_factory=lambda: new_id("run"))
    experiment_id: str = Field(foreign_key="experiment.id", ondelete="CASCADE", index=True)
    seed: int
    position: int
    owner: str = Field(default=LOCAL)
    priority: int = 0
    trains_on: str = TrainsOn.ANY.value
    created_at: datetime = Field(sa_type=UTCDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    status: RunStatus = Field(sa_type=StatusText)
    status_reason: StatusReason = Field(sa_type=ReasonText)
    cancel_requested: bool = False
    pause_requested: bool = False
    fence: int = 0
    heartbeat: int = 0
    worker_id: str | None = None
    attempt: int = 0
    crashes: int = 0
    micro_batches: int = 1
    epochs: int
    epochs_done: int = 0
    step: int = 0
    num_steps: int
    best: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    test: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    train: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    environment: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    error: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    error_code: str | None = None
    stop_reason: str | None = None
    needs: str | None = Field(default=None, foreign_key="run.id", index=True)
    reused_from: str | None = None
    artifact_bytes: int = Field(default=0, sa_type=BigInteger)
    change: int | None = change_column("run")


class Attempt(SQLModel, table=True):
    """One worker's try at a run. `phases` are seconds by what they went to, None in attempts of older versions."""

    __tablename__ = "attempt"

    run_id: str = Field(primary_key=True, foreign_key="run.id", ondelete="CASCADE")
    number: int = Field(primary_key=True)
    fence: int
    worker_id: str
    started_at: datetime = Field(sa_type=UTCDateTime)
    first_step_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    outcome: StatusReason | None = Field(default=None, sa_type=ReasonText)
    resumed_epoch: int | None = None
    resumed_step: int | None = None
    micro_batches: int = 1
    notes: list[str] = Field(sa_type=JSON, default_factory=list)
    phases: dict[str, float] | None = Field(default=None, sa_type=JSON)


class StatusChange(SQLModel, table=True):
    """One move of a run: who, when and why."""

    __tablename__ = "status_change"
    __table_args__ = (Index("ix_status_change_actor_from_status", "actor", "from_status"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="run.id", ondelete="CASCADE", index=True)
    attempt: int
    from_status: RunStatus | None = Field(sa_type=StatusText)
    to_status: RunStatus = Field(sa_type=StatusText)
    reason: StatusReason = Field(sa_type=ReasonText)
    actor: str
    at: datetime = Field(sa_type=UTCDateTime)


class Metric(SQLModel, table=True):
    """A number at (run, epoch, split, name); a repeated epoch overwrites its own rows."""

    __tablename__ = "metric"

    run_id: str = Field(primary_key=True, foreign_key="run.id", ondelete="CASCADE")
    epoch: int = Field(primary_key=True)
    split: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    value: float | None


class Checkpoint(SQLModel, table=True):
    """A file that resume can start from: after `epoch` whole epochs and `step` steps of the next."""

    __tablename__ = "checkpoint"

    run_id: str = Field(primary_key=True, foreign_key="run.id", ondelete="CASCADE")
    attempt: int = Field(primary_key=True)
    epoch: int = Field(primary_key=True)
    step: int = Field(primary_key=True)
    path: str
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UTCDateTime)


class Artifact(SQLModel, table=True):
    """A published file that never changes."""

    __tablename__ = "artifact"

    run_id: str = Field(primary_key=True, foreign_key="run.id", ondelete="CASCADE")
    name: str = Field(primary_key=True)
    media_type: str
    path: str
    sha256: str
    size_bytes: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=UTCDateTime)


class ChangeCounter(SQLModel, table=True):
    """One row: how many changes there have been."""

    __tablename__ = "change_counter"

    id: int = Field(primary_key=True)
    value: int = Field(sa_type=BigInteger)


class Tombstone(SQLModel, table=True):
    """An experiment or study that is no longer there, kept for a day for who watches."""

    __tablename__ = "tombstone"
    __table_args__ = (change_index("tombstone"),)

    id: str = Field(primary_key=True)
    kind: str
    owner: str = LOCAL
    study_id: str | None = None
    at: datetime = Field(sa_type=UTCDateTime, default_factory=utc_now)
    change: int | None = change_column("tombstone")


def metadata() -> MetaData:
    """All tables, for migrations."""
    return SQLModel.metadata
