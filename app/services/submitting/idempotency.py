"""One key, one answer: what an earlier request with the same Idempotency-Key has made."""

import hashlib
import json
from typing import Any, TypeVar

from sqlmodel import Session, col, select

from app.errors import IdempotencyConflict
from app.storage.advisory_locks import AdvisoryLock, hold
from app.storage.tables import LOCAL, Experiment, Study

Made = TypeVar("Made", Experiment, Study)

LOCKS: dict[type[Any], AdvisoryLock] = {
    Study: AdvisoryLock.KEYS_OF_STUDIES,
    Experiment: AdvisoryLock.KEYS_OF_EXPERIMENTS,
}


def earlier(
    session: Session,
    table: type[Made],
    key: str | None,
    submitted: dict[str, Any],
    owner: str = LOCAL,
    *,
    lock: bool = True,
) -> Made | None:
    """The experiment or study that this key of the owner's has made, None without a key; raises IdempotencyConflict
    when that one had another body.

    With `lock`, for who writes, nobody else finds out until the transaction ends, so that two requests with one key
    cannot both find nothing.
    """
    if key is None:
        return None
    if lock:
        hold(session.connection(), LOCKS[table], key)
    there = select(table).where(col(table.owner) == owner, col(table.idempotency_key) == key)
    found = session.exec(there).first()
    if found is not None and found.request_hash != request_hash(submitted):
        raise IdempotencyConflict(
            f"the key {key!r} belongs to {table.__tablename__} {found.id}, which had another body"
        )
    return found


def request_hash(submitted: dict[str, Any]) -> str:
    """SHA-256 of a body, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(submitted, sort_keys=True).encode()).hexdigest()
