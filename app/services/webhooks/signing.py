"""Secrets and signatures of Standard Webhooks 1.0 (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
FEWEST_BYTES, MOST_BYTES = 24, 64
"""What the standard allows."""


def new_secret() -> str:
    """A secret of 256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that sign. Raises ValueError for what is no secret."""
    try:
        if not secret.startswith(PREFIX):
            raise ValueError("no prefix")
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError(
            f"must be '{PREFIX}' and {FEWEST_BYTES} to {MOST_BYTES} bytes in base64; leave it out for a new one"
        ) from error
    if not FEWEST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(
            f"has {len(key)} bytes behind '{PREFIX}', and a secret has {FEWEST_BYTES} to {MOST_BYTES}"
        )
    return key


def signed(message_id: str, moment: datetime, body: bytes, secret: str) -> dict[str, str]:
    """The three headers by which a receiver knows that the body is ours, unchanged, and sent at that moment."""
    timestamp = str(int(moment.timestamp()))
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(key_of(secret), content, hashlib.sha256).digest())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature.decode()}",
    }
