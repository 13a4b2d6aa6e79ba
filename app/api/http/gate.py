"""The one place that every request passes: is it meant for this service, who sends it, how often, and may that key
change anything at all?
"""

import re
import socket
import sqlite3
import time
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http import documentation
from app.api.http.database_problems import database_error
from app.api.http.passes import Passes
from app.api.http.problems import service_error
from app.api.http.rates import Rates
from app.errors import (
    Forbidden,
    OpenDoor,
    OtherOrigin,
    ServiceError,
    TooManyRequests,
    Unauthorized,
    UnknownHost,
)
from app.roles import Role
from app.services.owners.keys import ANYONE, Caller, look_up, look_up_at_a_glance
from app.settings import Settings
from app.storage.db import Database

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/version"}) | documentation.PATHS
"""Served to everybody: what health checks ask for, and the description of the API, which is the same for every service
and tells nothing of this one.
"""

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
MACHINE_NAMES: Final = frozenset(
    {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
)
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
BEARER: Final = re.compile(r"bearer +([^\s]+) *", re.IGNORECASE)
HOW: Final = (
    "send it as 'Authorization: Bearer lab_…'; for the lab command set LAB_API_KEY; whoever runs the service makes keys"
    " with `lab keys create`"
)


class Gate:
    """An ASGI application behind a gate.

    `host` is where the service listens. One on loopback goes by few names and refuses others. One for a network, or
    where that is not known (None), goes by any unless `LAB_ALLOWED_HOSTS` names some, but only while it asks for keys:
    without them it goes by the names and the address of its machine, and serves other machines only if
    `LAB_ALLOW_NO_KEYS` says so, whoever has started it.
    """

    def __init__(self, app: ASGIApp, settings: Settings, host: str | None) -> None:
        self._app = app
        self._settings = settings
        listed = [
            name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()
        ]
        self._allowed = frozenset(map(_without_port, listed))
        self._origins = frozenset(
            origin
            for name in listed
            for scheme in DEFAULT_PORTS
            if (origin := _origin(f"{scheme}://{name}")) is not None
        )
        at_home = host is not None and is_loopback(host)
        own = {_bracketed(host)} if host is not None and at_home else frozenset()
        self._names = self._allowed | LOOPBACK_NAMES | own if at_home or self._allowed else None
        self._rates = Rates(settings.max_requests_per_minute, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass with its caller in `request.state`, or answer it."""
        if scope["type"] == "http":
            refusal = await self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        try:
            self._check_names(scope, headers)
            if scope["path"] in OPEN_PATHS:
                self._count(f"open {_address(scope)}")
                return None
            caller = await self._caller(scope, headers.getlist("authorization"))
            if caller is ANYONE:
                self._check_without_keys(scope, headers.get("host", ""))
            state = scope.setdefault("state", {})
            self._count_caller(scope, caller)
            state["client"] = _asker(scope, caller)
            state["caller"] = _admitted(caller, scope["method"])
        except ServiceError as error:
            return service_error(error)
        except (OperationalError, NoConnectionFree) as error:
            return database_error(Request(scope), error)
        return None

    def _check_names(self, scope: Scope, headers: Headers) -> None:
        """Pages of strangers stay out: one whose name was made to point here (DNS rebinding) says its own name, any
        other says its origin.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._names is not None and _without_port(host) not in self._names:
            raise _unknown(host)
        if origin is not None and not self._is_own(origin, scope.get("scheme", "http"), host):
            raise OtherOrigin(
                f"a page of {origin[:100]!r} has sent this, and only pages of this service may"
            )

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

    def _check_without_keys(self, scope: Scope, host: str) -> None:
        """What a service that asks for no key must know of a request: that it comes from this machine, or may come from
        others, and under which name.
        """
        at = str(scope["server"][0]) if scope.get("server") else ""
        if not self._settings.allow_no_keys and _is_beyond(at):
            raise OpenDoor(
                f"this service is reached at {at}, from beyond its machine, and asks nobody for a key: whoever runs it"
                " makes one with `lab keys create YOUR-NAME --role admin`, or sets LAB_ALLOW_NO_KEYS=true if something"
                " else, such as a firewall, keeps strangers out"
            )
        if self._names is None and _without_port(host) not in LOOPBACK_NAMES | MACHINE_NAMES | {
            _bracketed(at)
        }:
            raise _unknown(host)

    async def _caller(self, scope: Scope, given: list[str]) -> Caller | Unauthorized:
        """Who sends this, looked up at every request: a revoked key ends at once. SQLite answers at a glance, in the
        event loop; a server in a pass.
        """
        state, settings = scope["app"].state, self._settings
        database: Database = state.database
        match = BEARER.fullmatch(given[0]) if len(given) == 1 else None
        secret = None if match is None else match[1]
        try:
            asked_for, caller = (
                look_up_at_a_glance(database, settings, secret)
                if database.is_sqlite
                else await self._looked_up(scope, secret)
            )
        except sqlite3.Error:
            asked_for, caller = await self._looked_up(scope, secret)
        if not asked_for:
            return ANYONE
        if not given:
            return Unauthorized(f"this service asks for a key: {HOW}")
        if secret is None:
            return Unauthorized(f"the header 'Authorization' does not hold a key: {HOW}")
        return caller or Unauthorized(
            "this key is not known, or it has been revoked: ask whoever runs the service for another"
        )

    async def _looked_up(self, scope: Scope, secret: str | None) -> tuple[bool, Caller | None]:
        state = scope["app"].state
        passes: Passes = state.passes
        database: Database = state.database

        def work() -> tuple[bool, Caller | None]:
            with database.looking() as session:
                return look_up(session, self._settings, secret)

        return await passes.go(passes.door, _address(scope), work)

    def _count_caller(self, scope: Scope, caller: Caller | Unauthorized) -> None:
        """Known keys count by themselves, so that people behind one address do not stop each other. Raises
        TooManyRequests.
        """
        if caller is not ANYONE:
            self._count(
                f"key {caller.key_id}"
                if isinstance(caller, Caller)
                else f"address {_address(scope)}"
            )

    def _count(self, client: str) -> None:
        wait = self._rates.wait_seconds(client)
        if wait:
            raise TooManyRequests(
                f"more than {self._settings.max_requests_per_minute:,} requests in a minute"
                " (LAB_MAX_REQUESTS_PER_MINUTE)",
                wait,
            )


def _asker(scope: Scope, caller: Caller | Unauthorized) -> str:
    """Who stands in the lines: an owner, however many keys are theirs; without keys, an address."""
    return (
        f"owner {caller.owner}"
        if isinstance(caller, Caller) and caller is not ANYONE
        else f"address {_address(scope)}"
    )


def _address(scope: Scope) -> str:
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


def _admitted(caller: Caller | Unauthorized, method: str) -> Caller:
    if isinstance(caller, Unauthorized):
        raise caller
    if caller.role is Role.READ and method not in READING:
        raise Forbidden(
            f"the key of {caller.owner} has the role 'read', which changes nothing; {method} needs 'submit' or 'admin'"
        )
    return caller


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_port(host: str) -> str:
    """`localhost:8000` and `[::1]:8000` without their ports, in lower case."""
    name, colon, port = host.rpartition(":")
    return (
        name if colon and (port.isdecimal() or not port) and not name.endswith(":") else host
    ).lower()
