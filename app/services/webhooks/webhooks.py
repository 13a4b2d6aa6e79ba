"""Webhooks themselves: made, found, changed, deleted; and which of them an occurrence is told to."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import NotFound, TooManyWebhooks
from app.roles import Role
from app.services.experiments import changes
from app.services.owners import keys
from app.services.owners.keys import Caller
from app.services.webhooks import deliveries
from app.services.webhooks.messages import Occurrence
from app.settings import Settings
from app.storage.tables import Webhook, WebhookSender, utc_now

THE_SENDER: Final = 1
"""The id of the only row of `webhook_sender`."""
BY_ITS_OWNER: Final = "its owner has disabled it"
WITHOUT_KEY: Final = (
    "its owner has no key any more that may see what it asks for; with one it can be enabled again"
)


def create(session: Session, settings: Settings, webhook: Webhook) -> None:
    """Store one, which is told of what ends from now on. Raises TooManyWebhooks."""
    webhook.since = _begin_to_read(
        session
    )  # first, since its lock makes others wait who do the same
    most = settings.max_webhooks_per_owner
    of_the_owner = select(func.count()).select_from(Webhook)
    has = session.exec(of_the_owner.where(col(Webhook.owner) == webhook.owner)).one()
    if has >= most:
        raise TooManyWebhooks(
            f"{webhook.owner} has {has} webhooks, and an owner may have {most} (LAB_MAX_WEBHOOKS_PER_OWNER); delete"
            " one first"
        )
    session.add(webhook)
    session.flush()


def visible(session: Session, caller: Caller, webhook_id: str, *, lock: bool = False) -> Webhook:
    """The webhook; NotFound where there is none that the caller may see. With `lock` nobody else changes it until the
    transaction ends.
    """
    found = session.get(Webhook, webhook_id, with_for_update=lock or None)
    if found is None or not _may_see(caller, found):
        raise NotFound(f"there is no webhook {webhook_id!r}; GET /webhooks lists them")
    return found


def listed(session: Session, caller: Caller) -> Sequence[Webhook]:
    """Those that the caller may see, the newest first."""
    rows = session.exec(
        select(Webhook).order_by(col(Webhook.created_at).desc(), col(Webhook.id))
    ).all()
    return [webhook for webhook in rows if _may_see(caller, webhook)]


def edit(session: Session, webhook: Webhook, values: Mapping[str, Any]) -> None:
    """Give its columns other values."""
    for name, value in values.items():
        setattr(webhook, name, value)
    session.flush()


def enable(session: Session, webhook: Webhook) -> None:
    """Tell it of what ends from now on; one that is enabled stays as it is."""
    if webhook.disabled_at is not None:
        webhook.since = _begin_to_read(session)
        webhook.disabled_at = webhook.disabled_reason = None
        session.flush()


def disable(session: Session, webhook: Webhook) -> None:
    """Tell it nothing more; one that is disabled stays as it is."""
    if webhook.disabled_at is None:
        deliveries.disable(session, webhook, BY_ITS_OWNER)


def are_any_to_tell(session: Session) -> bool:
    """Whether there is anybody to be told anything."""
    return session.exec(select(Webhook.id).where(_is_enabled()).limit(1)).first() is not None


def tell(session: Session, settings: Settings, occurrences: Sequence[Occurrence]) -> int:
    """Have each of these told to whoever asks for it; returns how many deliveries that makes."""
    enabled = session.exec(select(Webhook).where(_is_enabled()).order_by(col(Webhook.id))).all()
    asked = [
        (webhook, one) for one in occurrences for webhook in enabled if _asks_for(webhook, one)
    ]
    may = entitled(session, settings, {webhook.id: webhook for webhook, _ in asked}.values())
    stored = 0
    for webhook, one in asked:
        if webhook.disabled_at is not None:
            continue
        if webhook.id in may:
            stored += deliveries.store(session, webhook, one)
        else:
            deliveries.disable(session, webhook, WITHOUT_KEY)
    return stored


def entitled(session: Session, settings: Settings, some: Collection[Webhook]) -> set[str]:
    """The ids of those whose owner may still see what they ask for: has a key that is not revoked, an admin's where
    it asks for what is everybody's. Where no keys are asked for, of all.
    """
    if not some or settings.api_keys == "off" or not keys.are_asked_for(session, settings):
        return {webhook.id for webhook in some}
    live = keys.live_keys(session, {webhook.owner for webhook in some})
    admins = {owner for owner, held in live.items() if any(key.role is Role.ADMIN for key in held)}
    return {
        webhook.id for webhook in some if webhook.owner in (admins if webhook.all_owners else live)
    }


def disable_unentitled(session: Session, settings: Settings) -> None:
    """Disable every webhook whose owner may no longer see what it asks for."""
    enabled = session.exec(select(Webhook).where(_is_enabled())).all()
    may = entitled(session, settings, enabled)
    for webhook in enabled:
        if webhook.id not in may:
            deliveries.disable(session, webhook, WITHOUT_KEY)


def _may_see(caller: Caller, webhook: Webhook) -> bool:
    """Their owner's and admins. Not `read` keys, which see all else: the address of a chat is a secret that lets
    anybody write there. What is told of everybody only admins may turn elsewhere.
    """
    if caller.role is Role.ADMIN:
        return True
    return webhook.owner == caller.owner and not webhook.all_owners


def _asks_for(webhook: Webhook, one: Occurrence) -> bool:
    return (
        one.number > webhook.since
        and one.type in webhook.events
        and (webhook.all_owners or webhook.owner == one.owner)
        and all(one.labels.get(key) == value for key, value in webhook.labels.items())
    )


def _begin_to_read(session: Session) -> int:
    """The number of the last change. Where nobody was to be told of anything, the sender begins to read there. Holds
    the sender's row, so that it reads on only when this is committed.
    """
    sender = session.get_one(WebhookSender, THE_SENDER, with_for_update=True)
    number = changes.latest(session)
    if not are_any_to_tell(session):
        sender.told = max(sender.told, number)
        session.flush()
    return number


def _is_enabled() -> Any:
    return col(Webhook.disabled_at).is_(None)


def now_made(**values: Any) -> Webhook:
    """A webhook that is not stored yet."""
    return Webhook(created_at=utc_now(), since=0, **values)
