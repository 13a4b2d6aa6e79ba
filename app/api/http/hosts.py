"""Under which names a service is reached, from where, and whose pages may ask it for something."""

import socket
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from app.errors import OpenDoor, OtherOrigin, UnknownHost
from app.settings import Settings

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
MACHINE_NAMES: Final = frozenset(
    {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
)
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class OwnNames:
    """The names of a service that listens at `host`; one on loopback goes by few and refuses others.

    One for a network, or where that is not known (None), goes by any unless `LAB_ALLOWED_HOSTS` names some, but only
    while it asks for keys: without them it goes by the names and the address of its machine, and serves other machines
    only if `LAB_ALLOW_NO_KEYS` says so, whoever has started it.
    """

    def __init__(self, settings: Settings, host: str | None) -> None:
        self._allow_no_keys = settings.allow_no_keys
        listed = [
            name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()
        ]
        allowed = frozenset(map(_without_port, listed))
        self._origins = frozenset(
            origin
            for name in listed
            for scheme in DEFAULT_PORTS
            if (origin := _origin(f"{scheme}://{name}")) is not None
        )
        at_home = host is not None and is_loopback(host)
        own = {_bracketed(host)} if host is not None and at_home else frozenset()
        self._names = allowed | LOOPBACK_NAMES | own if at_home or allowed else None

    def check(self, scope: Scope, headers: Headers) -> None:
        """Pages of strangers stay out: one whose name was made to point here (DNS rebinding) says its own name, any
        other says its origin. Raises UnknownHost, OtherOrigin.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._names is not None and _without_port(host) not in self._names:
            raise _unknown(host)
        if origin is not None and not self._is_own(origin, scope.get("scheme", "http"), host):
            raise OtherOrigin(
                f"a page of {origin[:100]!r} has sent this, and only pages of this service may"
            )

    def check_without_keys(self, scope: Scope, host: str) -> None:
        """What a service that asks for no key must know of a request: that it comes from this machine, or may come from
        others, and under which name. Raises OpenDoor, UnknownHost.
        """
        at = str(scope["server"][0]) if scope.get("server") else ""
        if not self._allow_no_keys and _is_beyond(at):
            raise OpenDoor(
                f"this service is reached at {at}, from beyond its machine, and asks nobody for a key: whoever runs it"
                " makes one with `lab keys create YOUR-NAME --role admin`, or sets LAB_ALLOW_NO_KEYS=true if something"
                " else, such as a firewall, keeps strangers out"
            )
        if self._names is None and _without_port(host) not in LOOPBACK_NAMES | MACHINE_NAMES | {
            _bracketed(at)
        }:
            raise _unknown(host)

    def _is_own(self, origin: str, scheme: str, host: str) -> bool:
        """Scheme, name and port are those of the request, or of an allowed name. A proxy may speak HTTPS for a service
        that hears HTTP, never the reverse.
        """
        there = _origin(origin)
        if there is None:
            return False
        return there in self._origins or (
            there[0] in {"https", scheme} and there == _origin(f"{there[0]}://{host}")
        )


def require_own_page(headers: Headers) -> None:
    """Raises OtherOrigin for what no page of this service has sent, as far as its headers tell; for a request whose
    `Origin`, if it has one, was found to be this service's own.
    """
    if "origin" not in headers and headers.get("sec-fetch-site") != "same-origin":
        raise OtherOrigin(
            "a cookie is sent by pages of strangers too, and neither 'Origin' nor 'Sec-Fetch-Site: same-origin' says"
            " that a page of this service has sent this; programs send a key: 'Authorization: Bearer lab_…'"
        )


def address_of(scope: Scope) -> str:
    """Whose connection it is."""
    return str(scope["client"][0]) if scope.get("client") else "unknown"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_beyond(address: str) -> bool:
    """Whether connections to this address may come from other machines."""
    try:
        return not ip_address(address.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False


def _unknown(host: str) -> UnknownHost:
    return UnknownHost(
        f"the request is for {host[:100]!r}, which is no name of this service; LAB_ALLOWED_HOSTS adds names"
    )


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, name and port of a web page's origin; None for what is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if (
        parts.scheme not in DEFAULT_PORTS
        or not parts.hostname
        or parts.path
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        return None
    return parts.scheme, parts.hostname, DEFAULT_PORTS[parts.scheme] if port is None else port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_port(host: str) -> str:
    """`localhost:8000` and `[::1]:8000` without their ports, in lower case."""
    name, colon, port = host.rpartition(":")
    return (
        name if colon and (port.isdecimal() or not port) and not name.endswith(":") else host
    ).lower()
