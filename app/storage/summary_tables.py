"""What lists filter and sort by, kept for each experiment; see `summaries`."""

from datetime import datetime

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from app.storage.column_types import StatusText, UTCDateTime
from app.storage.rows import LOCAL
from app.storage.states import RunStatus


class ExperimentSummary(SQLModel, table=True):
    """`status` is `states.experiment_status` of its runs; scores are means over those that have succeeded, val's those
    of the best epoch. `finished_at` and `lasted`, in microseconds, are None until all have ended. The rest is the
    experiment's own.
    """

    __tablename__ = "experiment_summary"
    __table_args__ = (
        Index("ix_experiment_summary_status", "status", "created_at", "experiment_id"),
        Index(
            "ix_experiment_summary_owner_status", "owner", "status", "created_at", "experiment_id"
        ),
        Index("ix_experiment_summary_counted", "owner", "dataset", "archived", "status"),
        Index(
            "ix_experiment_summary_test_accuracy", "test_accuracy", "created_at", "experiment_id"
        ),
    )

    experiment_id: str = Field(primary_key=True)
    owner: str = Field(default=LOCAL)
    created_at: datetime = Field(sa_type=UTCDateTime)
    dataset: str | None = None
    archived: bool = False
    status: RunStatus = Field(sa_type=StatusText)
    finished_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    lasted: int | None = Field(default=None, sa_type=BigInteger)
    test_accuracy: float | None = None
    test_loss: float | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
