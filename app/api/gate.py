"""The one place that every request passes: is it meant for this service, who sends it, how often, and may that key change anything at all?"""

import re
import time
from ipaddress import ip_address
from typing import Final

from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import documentation
from app.api.problems import database_error, problem
from app.api.rates import Rates
from app.db import Database
from app.errors import Forbidden, OtherOrigin, ServiceError, TooManyRequests, Unauthorized, UnknownHost
from app.services import keys
from app.services.keys import ANYONE, Caller, Role
from app.settings import Settings

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/version", "/openapi.json"}) | documentation.PATHS
"""Served to everybody: what health checks ask for, and the description of the API, which is the same for every service and tells nothing of this one."""

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
BEARER: Final = re.compile(r"bearer +([^\s]+) *", re.IGNORECASE)
HOW: Final = "send it as 'Authorization: Bearer lab_…'; for the lab command set LAB_API_KEY; whoever runs the service makes keys with `lab keys create`"


class Gate:
    """An ASGI application behind a gate.

    `host` is where the service listens. One on loopback goes by few names and refuses others; one for a network, or where that is
    not known (None), goes by any unless `LAB_ALLOWED_HOSTS` names some, and asks for keys instead.
    """

    def __init__(self, app: ASGIApp, settings: Settings, host: str | None) -> None:
        self._app = app
        self._settings = settings
        self._allowed = frozenset(_without_port(name.strip()) for name in settings.allowed_hosts.split(",") if name.strip())
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
            self._check_names(headers)
            if scope["path"] in OPEN_PATHS:
                return None
            caller = await run_in_threadpool(self._caller, scope["app"].state.database, headers.getlist("authorization"))
            wait = self._wait(scope, caller)
            if wait:
                slow_down = TooManyRequests(f"more than {self._settings.max_requests_per_minute:,} requests in a minute (LAB_MAX_REQUESTS_PER_MINUTE)")
                return _answer(slow_down, {"Retry-After": str(wait)})
            scope.setdefault("state", {})["caller"] = _admitted(caller, scope["method"])
        except ServiceError as error:
            return _answer(error, CHALLENGE if isinstance(error, Unauthorized) else None)
        except OperationalError as error:
            return database_error(Request(scope), error)
        return None

    def _check_names(self, headers: Headers) -> None:
        """Pages of strangers stay out: one whose name was made to point here (DNS rebinding) says its own name, any other says its origin."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._names is not None and _without_port(host) not in self._names:
            raise UnknownHost(f"the request is for {host[:100]!r}, which is no name of this service; LAB_ALLOWED_HOSTS adds names")
        if origin is not None and (there := origin.partition("://")[2]) != host and _without_port(there) not in self._allowed:
            raise OtherOrigin(f"a page of {origin[:100]!r} has sent this, and only pages of this service may")

    def _caller(self, database: Database, given: list[str]) -> Caller | Unauthorized:
        """Who sends this, looked up at every request: a revoked key ends at once."""
        with database.reading() as session:
            if not keys.are_asked_for(session, self._settings):
                return ANYONE
            if not given:
                return Unauthorized(f"this service asks for a key: {HOW}")
            match = BEARER.fullmatch(given[0]) if len(given) == 1 else None
            if match is None:
                return Unauthorized(f"the header 'Authorization' does not hold a key: {HOW}")
            return keys.caller_of(session, match[1]) or Unauthorized("this key is not known, or it has been revoked: ask whoever runs the service for another")

    def _wait(self, scope: Scope, caller: Caller | Unauthorized) -> int:
        """Seconds that the sender must wait: known keys count by themselves, so that people behind one address do not stop each other."""
        if caller is ANYONE:
            return 0
        address = scope["client"][0] if scope.get("client") else "unknown"
        return self._rates.wait_seconds(f"key {caller.key_id}" if isinstance(caller, Caller) else f"address {address}")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _admitted(caller: Caller | Unauthorized, method: str) -> Caller:
    if isinstance(caller, Unauthorized):
        raise caller
    if caller.role is Role.READ and method not in READING:
        raise Forbidden(f"the key of {caller.owner} has the role 'read', which changes nothing; {method} needs 'submit' or 'admin'")
    return caller


def _answer(error: ServiceError, headers: dict[str, str] | None) -> Response:
    return problem(error.status, error.code, error.title, str(error), headers=headers)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _without_port(host: str) -> str:
    """`localhost:8000` and `[::1]:8000` without their ports, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdecimal() or not port) and not name.endswith(":") else host).lower()
