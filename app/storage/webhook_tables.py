"""The rows of webhooks: who is told of what, what is told, and who tells it."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Index, Text
from sqlmodel import Field, SQLModel

from app.storage.column_types import UTCDateTime
from app.storage.rows import new_id


class Webhook(SQLModel, table=True):
    """An address that is told of ends. `secret` signs, and so is kept as it is. It is told of changes with a number
    above `since`; `succeeded_at` is when it last took a delivery.
    """

    __tablename__ = "webhook"

    id: str = Field(primary_key=True, default_factory=lambda: new_id("whk"))
    owner: str = Field(index=True)
    all_owners: bool = False
    url: str
    format: str
    events: list[str] = Field(sa_type=JSON)
    labels: dict[str, str] = Field(sa_type=JSON, default_factory=dict)
    secret: str
    service_url: str
    created_at: datetime = Field(sa_type=UTCDateTime)
    since: int = Field(sa_type=BigInteger)
    succeeded_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    disabled_reason: str | None = None


class WebhookDelivery(SQLModel, table=True):
    """One event for one webhook. `id` is what the receiver gets as `webhook-id`, on every try the same, and `body` the
    bytes that it gets. Until it has ended the next try is at `due_at`; `answer` is the beginning of what came back.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_webhook_id_created_at", "webhook_id", "created_at"),
        Index("ix_webhook_delivery_due_at", "due_at"),
    )

    id: str = Field(primary_key=True)
    webhook_id: str = Field(foreign_key="webhook.id", ondelete="CASCADE")
    type: str
    subject_id: str
    body: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UTCDateTime)
    status: str
    tries: int = 0
    due_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    tried_at: datetime | None = Field(default=None, sa_type=UTCDateTime)
    http_status: int | None = None
    answer: str | None = Field(default=None, sa_type=Text)
    error: str | None = None


class WebhookSender(SQLModel, table=True):
    """One row: up to which change all is told, and who sends. `fence` grows by one with each holder, `heartbeat` with
    each sign of life.
    """

    __tablename__ = "webhook_sender"

    id: int = Field(primary_key=True)
    told: int = Field(sa_type=BigInteger)
    holder: str | None = None
    fence: int = 0
    heartbeat: int = Field(default=0, sa_type=BigInteger)
