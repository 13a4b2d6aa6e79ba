"""What is sent of a webhook, and what is answered."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from app.api.schemas import Answer
from app.services.webhooks.messages import EventType, MessageFormat
from lab_models.specs import Frozen
from lab_models.specs.base import all_different
from lab_models.specs.request import Labels

Events = Annotated[
    tuple[Annotated[EventType, Field(strict=False)], ...],
    Field(min_length=1, strict=False),
    AfterValidator(all_different),
]
LONGEST: int = 2000
Text = Annotated[str, Field(max_length=LONGEST)]


class WebhookRequest(Frozen):
    """A webhook that is to be made."""

    url: Text
    """Where messages go: `https://…` or `http://…`, on port 80, 443 or one from 1024 on."""
    events: Events = tuple(EventType)
    """What it is told of; left out, of all that there are today."""
    secret: Text | None = None
    """What signs: `whsec_` and 24 to 64 bytes in base64; left out, a new one is made."""
    format: MessageFormat = "standard"
    """`slack` for a chat: `{"text": "…"}`, as Slack, Mattermost and Discord (`…/slack`) take it."""
    labels: Labels = {}
    """Only of what has all these labels."""
    all_owners: bool = False
    """Of what is anybody's; needs an `admin` key."""
    service_url: Text | None = None
    """Where links in messages lead; left out, the address under which this request came."""


class WebhookChanges(Frozen):
    """What can be changed of a webhook. What is left out stays."""

    url: Text = ""
    events: Events = tuple(EventType)
    secret: Text | None = None
    """Another secret; null makes a new one, which the answer shows."""
    format: MessageFormat = "standard"
    labels: Labels = {}
    """In the place of those before."""
    service_url: Text = ""
    enabled: bool = True
    """false: nothing more is told, and what waits is dropped. true: of what ends from now on."""


class WebhookRecord(Answer):
    """A webhook."""

    id: str
    owner: str
    all_owners: bool
    """Whether it is told of what is anybody's, not of its owner's alone."""
    url: str
    format: MessageFormat
    events: list[EventType]
    labels: dict[str, str]
    service_url: str
    secret: str | None
    """What signs, in the answer by which it came about and never again; null else."""
    created_at: datetime
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    """Why nothing is sent any more."""
    last_success_at: datetime | None
    """When it last took a delivery."""
    waiting: int
    """Deliveries that have not ended."""


class WebhookList(Answer):
    """Webhooks, the newest first."""

    data: list[WebhookRecord]


class DeliveryAnswer(Answer):
    """One event for one webhook."""

    id: str
    """What the receiver gets as `webhook-id`, on every try the same."""
    type: str
    subject_id: str
    """Of the experiment, study or, for a test, webhook."""
    status: str
    """`pending`, `succeeded`, `failed`, or `dropped` when the webhook was disabled."""
    created_at: datetime
    tries: int
    next_try_at: datetime | None
    last_try_at: datetime | None
    http_status: int | None
    """Of the last answer."""
    answer: str | None
    """Its first kilobyte."""
    error: str | None
    """Why there was none."""


class DeliveryList(Answer):
    """A webhook's last 50 deliveries, the newest first."""

    data: list[DeliveryAnswer]
