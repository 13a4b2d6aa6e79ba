"""Webhooks over HTTP: made, listed, changed, tried out, and what was delivered."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Path, Request, Response
from sqlmodel import Session

from app.api.http import passes
from app.api.http.bodies import read_body
from app.api.http.deps import Body, Reading, TheCaller, TheSettings, Writing, require_admin
from app.api.webhooks.schemas import (
    DeliveryAnswer,
    DeliveryList,
    WebhookChanges,
    WebhookList,
    WebhookRecord,
    WebhookRequest,
)
from app.errors import InvalidRequest
from app.services.owners import limits
from app.services.webhooks import addresses, deliveries, signing, webhooks
from app.services.webhooks.messages import EventType
from app.settings import Settings
from app.storage.tables import Webhook, WebhookDelivery
from lab_models.common.validation import FieldError, validate

router = passes.router(prefix="/webhooks", tags=["webhooks"])

WebhookId = Annotated[str, Path(description="A webhook's id, `whk_…`", max_length=100)]
DeliveryId = Annotated[str, Path(description="A delivery's id, `msg_…`", max_length=100)]


@router.post("", status_code=201, response_model=WebhookRecord)
def create_webhook(
    request: Request, session: Writing, body: Body, caller: TheCaller, settings: TheSettings
) -> Any:
    """Have an address told when experiments and studies end, from now on. The answer shows the secret, once."""
    _, wanted = read_body(body, lambda document: validate(WebhookRequest, document), settings)
    if wanted.all_owners:
        require_admin(caller, "to be told of what is anybody's")
    limits.refuse_wishes(caller, wanted.labels, 0, settings)
    came_by = f"{request.url.scheme}://{request.url.netloc}"
    values = _checked(
        {
            "url": wanted.url,
            "secret": wanted.secret,
            "service_url": wanted.service_url or came_by,
        },
        settings,
    )
    webhook = webhooks.now_made(
        owner=caller.owner,
        all_owners=wanted.all_owners,
        format=wanted.format,
        events=[str(one) for one in wanted.events],
        labels=dict(wanted.labels),
        **values,
    )
    webhooks.create(session, settings, webhook)
    record = _record(session, webhook, secret=webhook.secret)
    return passes.answer(record, 201, {"Location": f"/webhooks/{webhook.id}"})


@router.get("")
def list_webhooks(session: Reading, caller: TheCaller) -> WebhookList:
    """The caller's webhooks, the newest first; an `admin` key sees everybody's."""
    return WebhookList(
        data=[_record(session, webhook) for webhook in webhooks.listed(session, caller)]
    )


@router.get("/{webhook_id}")
def read_webhook(session: Reading, caller: TheCaller, webhook_id: WebhookId) -> WebhookRecord:
    """One of them; the secret is not shown again."""
    return _record(session, webhooks.visible(session, caller, webhook_id))


@router.patch("/{webhook_id}")
def change_webhook(
    session: Writing, body: Body, caller: TheCaller, settings: TheSettings, webhook_id: WebhookId
) -> WebhookRecord:
    """Change where it leads or what it is told of, give it another secret, disable it or enable it again."""
    _, changes = read_body(body, lambda document: validate(WebhookChanges, document), settings)
    given = {name: getattr(changes, name) for name in changes.model_fields_set}
    enabled = given.pop("enabled", None)
    limits.refuse_wishes(caller, given.get("labels", {}), 0, settings)
    if "events" in given:
        given["events"] = [str(one) for one in given["events"]]
    values = _checked(given, settings)
    webhook = webhooks.visible(session, caller, webhook_id, lock=True)
    webhooks.edit(session, webhook, values)
    if enabled is not None:
        (webhooks.enable if enabled else webhooks.disable)(session, webhook)
    return _record(session, webhook, secret=values.get("secret"))


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(session: Writing, caller: TheCaller, webhook_id: WebhookId) -> Response:
    """Tell it nothing more, and forget it with its secret and deliveries."""
    session.delete(webhooks.visible(session, caller, webhook_id, lock=True))
    return Response(status_code=204)


@router.post("/{webhook_id}/test", status_code=202)
def test_webhook(session: Writing, caller: TheCaller, webhook_id: WebhookId) -> DeliveryAnswer:
    """Have a message of the type `webhook.test` sent, once, within a few seconds; the deliveries say what came of
    it.
    """
    webhook = webhooks.visible(session, caller, webhook_id, lock=True)
    return _delivery(deliveries.test(session, webhook))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(session: Reading, caller: TheCaller, webhook_id: WebhookId) -> DeliveryList:
    """What it was told, and is going to be: the last 50."""
    webhook = webhooks.visible(session, caller, webhook_id)
    return DeliveryList(data=[_delivery(one) for one in deliveries.newest(session, webhook.id)])


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202)
def redeliver(
    session: Writing, caller: TheCaller, webhook_id: WebhookId, delivery_id: DeliveryId
) -> DeliveryAnswer:
    """Have a delivery sent once more under the same id, with all its tries before it."""
    webhook = webhooks.visible(session, caller, webhook_id, lock=True)
    return _delivery(deliveries.redeliver(session, webhook, delivery_id))


def _checked(given: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The columns' values, with URLs in their usual form, and a new secret for None. Raises InvalidRequest."""
    if "secret" in given and given["secret"] is None:
        given = {**given, "secret": signing.new_secret()}
    private = settings.webhook_private
    readers: dict[str, Callable[[str], object]] = {
        "url": lambda url: addresses.read_url(url, private=private),
        "service_url": lambda url: addresses.read_url(url, private=True).rstrip("/"),
        "secret": signing.key_of,
    }
    faults, values = [], dict(given)
    for name, read in readers.items():
        if name in given:
            try:
                found = read(given[name])
            except ValueError as error:
                faults.append(FieldError(f"/{name}", str(error)))
            else:
                values[name] = given[name] if name == "secret" else found
    if faults:
        raise InvalidRequest(
            "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults), faults
        )
    return values


def _record(session: Session, webhook: Webhook, secret: str | None = None) -> WebhookRecord:
    return WebhookRecord(
        id=webhook.id,
        owner=webhook.owner,
        all_owners=webhook.all_owners,
        url=webhook.url,
        format="slack" if webhook.format == "slack" else "standard",
        events=[EventType(one) for one in webhook.events],
        labels=webhook.labels,
        service_url=webhook.service_url,
        secret=secret,
        created_at=webhook.created_at,
        enabled=webhook.disabled_at is None,
        disabled_at=webhook.disabled_at,
        disabled_reason=webhook.disabled_reason,
        last_success_at=webhook.succeeded_at,
        waiting=deliveries.num_waiting(session, webhook.id),
    )


def _delivery(delivery: WebhookDelivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        id=delivery.id,
        type=delivery.type,
        subject_id=delivery.subject_id,
        status=delivery.status,
        created_at=delivery.created_at,
        tries=delivery.tries,
        next_try_at=delivery.due_at,
        last_try_at=delivery.tried_at,
        http_status=delivery.http_status,
        answer=delivery.answer,
        error=delivery.error,
    )
