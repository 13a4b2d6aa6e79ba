"""Keys: of the caller, and of a request that is to be carried out once."""

import os
from typing import Final
from uuid import uuid4

from training_lab.config import config_path, stored
from training_lab.errors import Unusable

AUTO: Final = "auto"
DEFAULT_URL: Final = "http://127.0.0.1:8000"


def key_for(idempotency_key: str | None) -> str | None:
    """The key that is meant; `auto` is a new one."""
    return uuid4().hex if idempotency_key == AUTO else idempotency_key


def url_for(url: str | None) -> str:
    """The service that is meant: this, else LAB_URL, else what `lab login` stored, else one on this machine; raises
    Unusable.
    """
    return _plain(url or url_with_source()[0])


def url_with_source() -> tuple[str, str]:
    """The service that is spoken to where nobody names one, and what says so."""
    said = os.environ.get("LAB_URL")
    if said:
        return said, "LAB_URL"
    login = stored()
    return (DEFAULT_URL, "the default") if login is None else (login.url, str(config_path()))


def key_with_source(url: str) -> tuple[str | None, str]:
    """The key for that service, and what says so: LAB_API_KEY, or what `lab login` stored for it; another service never
    gets that.
    """
    said = os.environ.get("LAB_API_KEY", "").strip()
    if said:
        return said, "LAB_API_KEY"
    login = stored()
    if login is None or login.key is None or _plain(login.url) != url:
        return None, ""
    return login.key, str(config_path())


def key_header(key: str | None, url: str) -> dict[str, str]:
    """The header that says to that service who is asking, by this key, or the one that is meant; raises Unusable for
    what can be no key.
    """
    found, source = key_with_source(url) if key is None else (key.strip(), "key=")
    if not found:
        return {}
    if not (found.isascii() and found.isprintable() and " " not in found):
        what = "key= is" if source == "key=" else f"{source} holds"
        raise Unusable(
            f"{what} no key: `lab keys create` prints one, which begins with lab_ and has no spaces"
        )
    return {"Authorization": f"Bearer {found}"}


def _plain(url: str) -> str:
    chosen = url.strip().rstrip("/")
    if not chosen.startswith(("http://", "https://")):
        raise Unusable(f"{chosen!r} is no address of a service: write http://HOST:PORT")
    return chosen
