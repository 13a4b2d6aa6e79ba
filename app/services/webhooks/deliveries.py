"""What webhooks are told: stored with the change that it tells of, due, tried, ended, and the last of it kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.errors import NotFound, WebhookDisabled
from app.services.webhooks import messages, schedule
from app.services.webhooks.messages import Occurrence
from app.services.webhooks.schedule import Attempted
from app.storage.rows import new_id
from app.storage.tables import Webhook, WebhookDelivery, utc_now

KEPT: Final = 50
"""Deliveries of a webhook that have ended; what still waits is kept beside them."""
MOST_WAITING: Final = 10_000
"""Deliveries of one webhook that wait; with one more it is disabled."""
PENDING: Final = "pending"
DROPPED: Final = "dropped"


@dataclass(frozen=True)
class Due:
    """A delivery that is to be tried now."""

    id: str
    webhook_id: str
    owner: str
    url: str
    secret: str
    body: str


def store(session: Session, webhook: Webhook, occurrence: Occurrence) -> bool:
    """Have it told; False where it has been, or is going to be, already."""
    identity = messages.message_id(webhook.id, occurrence)
    if session.get(WebhookDelivery, identity) is not None:
        return False
    if num_waiting(session, webhook.id) >= MOST_WAITING:
        disable(session, webhook, f"{MOST_WAITING:,} deliveries wait, which is the most")
        return False
    body = messages.body_of(occurrence, _format(webhook), webhook.service_url)
    _add(session, identity, webhook, occurrence.type, occurrence.id, body)
    return True


def test(session: Session, webhook: Webhook) -> WebhookDelivery:
    """Have a test told, which is tried once. Raises WebhookDisabled."""
    _refuse_disabled(webhook)
    body = messages.test_body(webhook.id, utc_now(), _format(webhook), webhook.service_url)
    return _add(session, new_id("msg"), webhook, messages.TEST, webhook.id, body)


def redeliver(session: Session, webhook: Webhook, delivery_id: str) -> WebhookDelivery:
    """Have the same told once more, under the same id, with all its tries before it. Raises NotFound,
    WebhookDisabled.
    """
    found = session.get(WebhookDelivery, delivery_id, with_for_update=True)
    if found is None or found.webhook_id != webhook.id:
        raise NotFound(
            f"webhook {webhook.id} has no delivery {delivery_id!r}; GET /webhooks/{webhook.id}/deliveries lists the"
            f" last {KEPT}"
        )
    _refuse_disabled(webhook)
    found.status, found.tries, found.due_at = PENDING, 0, utc_now()
    session.flush()
    return found


def newest(session: Session, webhook_id: str) -> Sequence[WebhookDelivery]:
    """The last 50, the newest first."""
    return session.exec(
        select(WebhookDelivery)
        .where(col(WebhookDelivery.webhook_id) == webhook_id)
        .order_by(col(WebhookDelivery.created_at).desc(), col(WebhookDelivery.id))
        .limit(KEPT)
    ).all()


def num_waiting(session: Session, webhook_id: str) -> int:
    """How many deliveries of a webhook have not ended."""
    return session.exec(
        select(func.count())
        .select_from(WebhookDelivery)
        .where(
            col(WebhookDelivery.webhook_id) == webhook_id, col(WebhookDelivery.due_at).is_not(None)
        )
    ).one()


def due(
    session: Session, now: datetime, busy: Collection[str], busy_owners: Collection[str], most: int
) -> list[Due]:
    """Of each webhook that is not busy, nor its owner, the delivery that has been due for longest; at most so many,
    those first that have waited longest.
    """
    oldest = (
        select_columns(col(WebhookDelivery.webhook_id))
        .join(Webhook, col(Webhook.id) == col(WebhookDelivery.webhook_id))
        .where(
            col(WebhookDelivery.due_at) <= now,
            col(Webhook.disabled_at).is_(None),
            col(Webhook.id).not_in(busy),
            col(Webhook.owner).not_in(busy_owners),
        )
        .group_by(col(WebhookDelivery.webhook_id))
        .order_by(func.min(col(WebhookDelivery.due_at)))
        .limit(most)
    )
    return [
        _first_due(session, webhook_id, now)
        for webhook_id in session.execute(oldest).scalars().all()
    ]


def record(session: Session, tried: Due, attempted: Attempted, now: datetime) -> None:
    """Write down what came of a try, and what follows; of what has been deleted meanwhile nothing."""
    webhook = session.get(Webhook, tried.webhook_id, with_for_update=True)
    delivery = session.get(WebhookDelivery, tried.id, with_for_update=True)
    if webhook is None or delivery is None:
        return
    taken = webhook.succeeded_at
    tries = delivery.tries + 1
    consequence = schedule.consequence_of(
        attempted,
        tries,
        now,
        is_test=delivery.type == messages.TEST,
        has_taken_others=taken is not None and taken > delivery.created_at,
    )
    delivery.tries, delivery.tried_at = tries, now
    delivery.http_status, delivery.answer = attempted.http_status, attempted.answer
    delivery.error = attempted.error
    delivery.status, delivery.due_at = consequence.status, consequence.due_at
    if attempted.is_success:
        webhook.succeeded_at = now
    if consequence.disabled_reason is not None and webhook.disabled_at is None:
        disable(session, webhook, consequence.disabled_reason)
    elif webhook.disabled_at is not None and delivery.due_at is not None:
        delivery.status, delivery.due_at = DROPPED, None
    session.flush()
    prune(session, webhook.id)


def disable(session: Session, webhook: Webhook, reason: str) -> None:
    """Tell it nothing more, nor what waits."""
    webhook.disabled_at, webhook.disabled_reason = utc_now(), reason
    session.flush()
    session.execute(
        update(WebhookDelivery)
        .where(
            col(WebhookDelivery.webhook_id) == webhook.id, col(WebhookDelivery.due_at).is_not(None)
        )
        .values(status=DROPPED, due_at=None)
    )
    prune(session, webhook.id)


def prune(session: Session, webhook_id: str) -> None:
    """Keep the last 50 that have ended, and what waits."""
    ended = (col(WebhookDelivery.webhook_id) == webhook_id, col(WebhookDelivery.due_at).is_(None))
    kept = (
        select_columns(col(WebhookDelivery.id))
        .where(*ended)
        .order_by(col(WebhookDelivery.created_at).desc(), col(WebhookDelivery.id))
        .limit(KEPT)
    )
    session.execute(
        delete(WebhookDelivery).where(*ended, col(WebhookDelivery.id).not_in(kept)),
        execution_options={"synchronize_session": False},
    )


def _first_due(session: Session, webhook_id: str, now: datetime) -> Due:
    delivery, webhook = session.execute(
        select_columns(WebhookDelivery, Webhook)
        .join(Webhook, col(Webhook.id) == col(WebhookDelivery.webhook_id))
        .where(col(WebhookDelivery.webhook_id) == webhook_id, col(WebhookDelivery.due_at) <= now)
        .order_by(
            col(WebhookDelivery.due_at), col(WebhookDelivery.created_at), col(WebhookDelivery.id)
        )
        .limit(1)
    ).one()
    return Due(delivery.id, webhook.id, webhook.owner, webhook.url, webhook.secret, delivery.body)


def _add(
    session: Session, identity: str, webhook: Webhook, kind: str, subject_id: str, body: str
) -> WebhookDelivery:
    now = utc_now()
    delivery = WebhookDelivery(
        id=identity,
        webhook_id=webhook.id,
        type=kind,
        subject_id=subject_id,
        body=body,
        created_at=now,
        status=PENDING,
        due_at=now,
    )
    session.add(delivery)
    session.flush()
    return delivery


def _format(webhook: Webhook) -> messages.MessageFormat:
    return "slack" if webhook.format == "slack" else "standard"


def _refuse_disabled(webhook: Webhook) -> None:
    if webhook.disabled_at is not None:
        raise WebhookDisabled(
            f"webhook {webhook.id} is disabled ({webhook.disabled_reason}); PATCH it with"
            ' {"enabled": true} first'
        )
