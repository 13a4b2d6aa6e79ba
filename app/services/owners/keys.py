"""Keys to the API: who calls, what they may do, and the keys themselves, made, found, listed and revoked."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from sqlalchemy import Select, bindparam
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.errors import InvalidRequest, Misconfigured, NotFound
from app.roles import Role
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import LOCAL, ApiKey, Owner, utc_now
from lab_models.common.validation import FieldError

PREFIX: Final = "lab_"
KEY_BYTES: Final = 32
"""256 random bits: nothing that can be guessed, so one fast hash (SHA-256) protects a stolen table as well as a slow
one.
"""

HINT_LENGTH: Final = len(PREFIX) + 6
OWNER_NAME: Final = re.compile(r"[a-z0-9._-]{1,64}")
ALLOWED: Final = "1 to 64 of a-z, 0-9, '.', '_' and '-'"


@dataclass(frozen=True)
class Caller:
    """Who sends a request; `key_id` is None while the service asks for no keys."""

    owner: str
    role: Role
    key_id: str | None = None

    @property
    def sees_all(self) -> bool:
        """Whether things of every owner are shown to the caller."""
        return self.role is not Role.SUBMIT

    def may_see(self, owner: str) -> bool:
        """Whether things of this owner are shown to the caller."""
        return self.sees_all or owner == self.owner

    def may_change(self, owner: str) -> bool:
        """Whether the caller may change things of this owner."""
        return self.role is Role.ADMIN or (self.role is Role.SUBMIT and owner == self.owner)


ANYONE: Final = Caller(LOCAL, Role.ADMIN)
"""Who calls a service that asks for no keys."""


def create_key(session: Session, owner: str, role: Role) -> tuple[ApiKey, str]:
    """Store a new key and return it with the secret, which nobody can read again; raises InvalidRequest for what is no
    owner's name.
    """
    if not OWNER_NAME.fullmatch(owner):
        message = f"{owner!r} is no owner's name: write {ALLOWED}"
        raise InvalidRequest(message, [FieldError("/owner", message)])
    secret = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    key = ApiKey(
        owner=owner,
        role=role,
        sha256=sha256_of(secret),
        hint=secret[:HINT_LENGTH],
        created_at=utc_now(),
    )
    session.add(key)
    if session.get(Owner, owner) is None:
        session.add(Owner(name=owner))
    session.flush()
    _note_role(session, owner)
    return key, secret


def live_keys(session: Session, owners: Collection[str]) -> dict[str, list[ApiKey]]:
    """The keys that are not revoked of those of the owners who have any, the oldest first."""
    found: dict[str, list[ApiKey]] = {}
    live = (col(ApiKey.owner).in_(owners), col(ApiKey.revoked_at).is_(None))
    for key in session.exec(
        select(ApiKey).where(*live).order_by(col(ApiKey.created_at), col(ApiKey.id))
    ):
        found.setdefault(key.owner, []).append(key)
    return found


def all_keys(session: Session) -> Sequence[ApiKey]:
    """Every key, by owner, the oldest first; revoked ones too."""
    return session.exec(
        select(ApiKey).order_by(col(ApiKey.owner), col(ApiKey.created_at), col(ApiKey.id))
    ).all()


def revoke_key(session: Session, key_id: str) -> ApiKey:
    """End a key; one that is revoked already stays as it is. Raises NotFound."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise NotFound(f"there is no key {key_id!r}; `lab keys list` shows their ids")
    key.revoked_at = key.revoked_at or utc_now()
    session.flush()
    _note_role(session, key.owner)
    return key


def revoke_keys_of(session: Session, owner: str) -> list[ApiKey]:
    """End every key of an owner; returns those that were not revoked before. Raises NotFound for who never had one."""
    if session.exec(select(ApiKey.id).where(col(ApiKey.owner) == owner).limit(1)).first() is None:
        raise NotFound(
            f"no key was ever made for {owner!r}; `lab keys list --all` shows whose there are"
        )
    return [revoke_key(session, key.id) for key in live_keys(session, {owner}).get(owner, [])]


def _note_role(session: Session, owner: str) -> None:
    """The owner's role is that of the mightiest key that they have, or had before the last was revoked: quotas of that
    role are theirs.
    """
    there = [key.role for key in live_keys(session, {owner}).get(owner, [])]
    if there:
        session.get_one(Owner, owner).role = max(there, key=list(Role).index)
        session.flush()


def caller_of(session: Session, secret: str) -> Caller | None:
    """Whose key this is; None for what is no key, or a revoked one."""
    digest = sha256_of(secret)
    key = session.execute(_by_digest(), {"digest": digest}).first()
    if key is None or not hmac.compare_digest(key.sha256, digest) or key.revoked_at is not None:
        return None
    return Caller(key.owner, key.role, key.id)


@cache
def _by_digest() -> Select[str, str, Role, str, datetime | None]:
    """Made once, since every request asks it."""
    return select_columns(
        col(ApiKey.id),
        col(ApiKey.owner),
        col(ApiKey.role),
        col(ApiKey.sha256),
        col(ApiKey.revoked_at),
    ).where(col(ApiKey.sha256) == bindparam("digest"))


def are_asked_for(session: Session, settings: Settings) -> bool:
    """Whether a request needs a key: `on` always, `off` never, `auto` from the first key on, also when it is revoked.

    So revoking the last key locks the service instead of opening it to everybody.
    """
    return (
        _decided(settings)
        if settings.api_keys != "auto"
        else session.exec(select(ApiKey.id).limit(1)).first() is not None
    )


def look_up(session: Session, settings: Settings, secret: str | None) -> tuple[bool, Caller | None]:
    """Whether a request needs a key, and whose `secret` is. One statement for a key that is known, since where there is
    one it is asked for.
    """
    if settings.api_keys == "off":
        return False, None
    caller = None if secret is None else caller_of(session, secret)
    return caller is not None or are_asked_for(session, settings), caller


def still_good(session: Session, settings: Settings, callers: Collection[Caller]) -> set[Caller]:
    """Those of the callers whose key has not been revoked; without a key, as long as none is asked for."""
    if settings.api_keys == "off" or not are_asked_for(session, settings):
        return set(callers)
    ids = [caller.key_id for caller in callers if caller.key_id is not None]
    live = select(ApiKey.id).where(col(ApiKey.id).in_(ids), col(ApiKey.revoked_at).is_(None))
    good = set(session.exec(live))
    return {caller for caller in callers if caller.key_id in good}


def look_up_at_a_glance(
    database: Database, settings: Settings, secret: str | None
) -> tuple[bool, Caller | None]:
    """The same of a SQLite file without a session: a read or two by an index. Raises sqlite3.Error where they cannot
    be had at once.
    """
    if settings.api_keys == "off":
        return False, None
    row = secret and database.glance(
        "SELECT owner, role, id FROM api_key WHERE sha256 = ? AND revoked_at IS NULL",
        sha256_of(secret),
    )
    if row:
        return True, Caller(row[0], Role(row[1]), row[2])
    return (
        _decided(settings)
        if settings.api_keys != "auto"
        else database.glance("SELECT 1 FROM api_key LIMIT 1") is not None
    ), None


def _decided(settings: Settings) -> bool:
    return settings.api_keys == "on"


def refuse_open_door(session: Session, settings: Settings, host: str) -> None:
    """Raises Misconfigured where a service that others can reach at `host` would let everybody in, or nobody."""
    if settings.allow_no_keys:
        return
    beyond = f"listening on {host} lets every machine that reaches this one start, read and delete experiments"
    allow = (
        "or set LAB_ALLOW_NO_KEYS=true if something else, such as a firewall, keeps strangers out"
    )
    if settings.api_keys == "off":
        raise Misconfigured(
            f"{beyond}, and LAB_API_KEYS=off asks nobody for a key: leave LAB_API_KEYS out, {allow}"
        )
    if (
        session.exec(select(ApiKey.id).where(col(ApiKey.revoked_at).is_(None)).limit(1)).first()
        is None
    ):
        raise Misconfigured(
            f"{beyond}, and there is no key to ask for: make one with `lab keys create YOUR-NAME --role admin`, {allow}"
        )


def sha256_of(secret: str) -> str:
    """What is kept of a secret, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
