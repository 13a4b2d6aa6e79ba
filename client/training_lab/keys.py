"""Keys: of the caller, and of a request that is to be carried out once."""

import os
from typing import Final
from uuid import uuid4

from training_lab.errors import Unusable

AUTO: Final = "auto"
DEFAULT_URL: Final = "http://127.0.0.1:8000"


def key_for(idempotency_key: str | None) -> str | None:
    """The key that is meant; `auto` is a new one."""
    return uuid4().hex if idempotency_key == AUTO else idempotency_key


def url_for(url: str | None) -> str:
    """The service that is meant: this, else LAB_URL, else one on this machine; raises Unusable."""
    chosen = (url or os.environ.get("LAB_URL") or DEFAULT_URL).strip().rstrip("/")
    if not chosen.startswith(("http://", "https://")):
        raise Unusable(f"{chosen!r} is no address of a service: write http://HOST:PORT")
    return chosen


def key_header(key: str | None) -> dict[str, str]:
    """The header that says who is asking, by this key or LAB_API_KEY; raises Unusable for what can be no key."""
    said = (os.environ.get("LAB_API_KEY", "") if key is None else key).strip()
    if not said:
        return {}
    if not (said.isascii() and said.isprintable() and " " not in said):
        what = "LAB_API_KEY holds" if key is None else "key= is"
        raise Unusable(
            f"{what} no key: `lab keys create` prints one, which begins with lab_ and has no spaces"
        )
    return {"Authorization": f"Bearer {said}"}
