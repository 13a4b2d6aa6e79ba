"""Browser sessions: what a cookie stands for in the place of a key. Begun with a key or a one-time code, found, kept
alive while they are used, ended.

A session ends with its key, at once, since it is looked up beside it.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, bindparam, delete
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.roles import Role
from app.services.owners.keys import (
    KEY_BYTES,
    Caller,
    look_up,
    look_up_at_a_glance,
    sha256_of,
)
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import ApiKey, BrowserSession, LoginCode, utc_now

IDLE: Final = timedelta(hours=12)
"""How long a session lives that nobody uses."""
LONGEST: Final = timedelta(days=7)
"""How long one lives at most."""
NOTED_EVERY: Final = timedelta(minutes=5)
"""How often its use is written down: a page asks many times a minute, and reads are to stay reads."""
MOST_OF_A_KEY: Final = 100
"""Sessions of one key at a time; a further one ends the oldest."""
CODE_LIFE: Final = timedelta(seconds=60)


@dataclass(frozen=True)
class Visit:
    """A request by a browser session: whose it is, and whether its use is to be written down."""

    caller: Caller
    sha256: str
    is_to_be_noted: bool


def begin(session: Session, key_id: str) -> str:
    """A new session with this key; returns the secret, which nobody can read again. Forgets those that have expired."""
    now = utc_now()
    for table in (BrowserSession, LoginCode):
        session.execute(delete(table).where(col(table.expires_at) <= now))
    _end_oldest(session, key_id)
    secret = secrets.token_urlsafe(KEY_BYTES)
    session.add(
        BrowserSession(
            sha256=sha256_of(secret),
            key_id=key_id,
            created_at=now,
            seen_at=now,
            expires_at=now + IDLE,
        )
    )
    session.flush()
    return secret


def end(session: Session, secret: str) -> None:
    """Log out; a session that is not known has ended already."""
    session.execute(delete(BrowserSession).where(col(BrowserSession.sha256) == sha256_of(secret)))


def visit(session: Session, secret: str) -> Visit | None:
    """Whose session this is; None for one that is not known, has expired, or whose key is revoked."""
    row = session.execute(_by_digest(), {"digest": sha256_of(secret)}).first()
    return None if row is None else _visit(*row)


def visit_at_a_glance(database: Database, secret: str) -> Visit | None:
    """The same of a SQLite file without a session. Raises sqlite3.Error where it cannot be had at once."""
    row = database.glance(
        "SELECT owner, role, id, browser_session.sha256, seen_at, expires_at FROM browser_session"
        " JOIN api_key ON api_key.id = key_id WHERE browser_session.sha256 = ? AND revoked_at IS NULL",
        sha256_of(secret),
    )
    if row is None:
        return None
    owner, role, key_id, sha256, *times = row
    seen_at, expires_at = (datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times)
    return _visit(owner, Role(role), key_id, sha256, seen_at, expires_at)


def recognize(
    session: Session, settings: Settings, key: str | None, cookie: str | None
) -> tuple[bool, Caller | Visit | None]:
    """Whether a request needs a key, and who sends it: by the secret of a key or of a session, whichever it has."""
    found = None if cookie is None or settings.api_keys == "off" else visit(session, cookie)
    return look_up(session, settings, key) if found is None else (True, found)


def recognize_at_a_glance(
    database: Database, settings: Settings, key: str | None, cookie: str | None
) -> tuple[bool, Caller | Visit | None]:
    """The same of a SQLite file without a session. Raises sqlite3.Error where it cannot be had at once."""
    found = (
        None
        if cookie is None or settings.api_keys == "off"
        else visit_at_a_glance(database, cookie)
    )
    return look_up_at_a_glance(database, settings, key) if found is None else (True, found)


def note(session: Session, sha256: str) -> None:
    """Write down that a session is used, from where on it lives as long as one that has just begun, but no longer than
    any may; one that has ended meanwhile stays so.
    """
    row = session.get(BrowserSession, sha256, with_for_update=True)
    now = utc_now()
    if row is not None and row.expires_at > now:
        row.seen_at = now
        row.expires_at = min(now + IDLE, row.created_at + LONGEST)
        session.flush()


def make_code(session: Session, key_id: str) -> str:
    """A code that begins one session with this key within a minute."""
    code = secrets.token_urlsafe(KEY_BYTES)
    session.add(LoginCode(sha256=sha256_of(code), key_id=key_id, expires_at=utc_now() + CODE_LIFE))
    session.flush()
    return code


def redeem(session: Session, code: str) -> str | None:
    """Use a code up: the id of its key, None for one that is not known, was used, has expired, or whose key is
    revoked.
    """
    row = session.get(LoginCode, sha256_of(code), with_for_update=True)  # of two at once, one
    if row is None:
        return None
    session.delete(row)
    session.flush()
    key = session.get_one(ApiKey, row.key_id)
    return key.id if row.expires_at > utc_now() and key.revoked_at is None else None


def _end_oldest(session: Session, key_id: str) -> None:
    """Leave room for one more."""
    kept = (
        select(BrowserSession.sha256)
        .where(BrowserSession.key_id == key_id)
        .order_by(col(BrowserSession.seen_at).desc())
        .limit(MOST_OF_A_KEY - 1)
    )
    session.execute(
        delete(BrowserSession).where(
            col(BrowserSession.key_id) == key_id, col(BrowserSession.sha256).not_in(kept)
        ),
        execution_options={"synchronize_session": False},
    )


@cache
def _by_digest() -> Select[*tuple[Any, ...]]:
    """Made once, since every request of a page asks it."""
    return (
        select_columns(
            col(ApiKey.owner),
            col(ApiKey.role),
            col(ApiKey.id),
            col(BrowserSession.sha256),
            col(BrowserSession.seen_at),
            col(BrowserSession.expires_at),
        )
        .join(ApiKey, col(ApiKey.id) == col(BrowserSession.key_id))
        .where(
            col(BrowserSession.sha256) == bindparam("digest"),
            col(ApiKey.revoked_at).is_(None),
        )
    )


def _visit(
    owner: str, role: Role, key_id: str, sha256: str, seen_at: datetime, expires_at: datetime
) -> Visit | None:
    now = utc_now()
    if expires_at <= now:
        return None
    return Visit(Caller(owner, role, key_id), sha256, seen_at + NOTED_EVERY <= now)
