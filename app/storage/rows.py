"""What all rows share: how constraints are named, ids, times, and whose everything is while nobody has a key."""

import secrets
from datetime import UTC, datetime

from sqlmodel import SQLModel

SQLModel.metadata.naming_convention = {  # every constraint has a name, so that migrations can drop it
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

LOCAL = "local"
"""The owner of everything while the service asks for no keys."""

# Crockford's base 32: nothing to mistake when read aloud
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 13


def new_id(prefix: str) -> str:
    """A random id of 65 bits, such as `exp_4k7z…`."""
    return prefix + "_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def utc_now() -> datetime:
    """The time, aware and in UTC."""
    return datetime.now(UTC)
