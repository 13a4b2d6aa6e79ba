"""The one place that every request passes: is it meant for this service, who sends it, how often, and may that key
change anything at all?
"""

import asyncio
import logging
import re
import sqlite3
import time
from typing import Final
from urllib.parse import quote

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.http import documentation, page_addresses
from app.api.http.cookies import session_secret
from app.api.http.database_problems import database_error
from app.api.http.hosts import OwnNames, address_of, require_own_page
from app.api.http.passes import Passes
from app.api.http.problems import service_error
from app.api.http.rates import Rates
from app.errors import Forbidden, ServiceError, TooManyRequests, Unauthorized
from app.roles import Role
from app.services.owners import sessions
from app.services.owners.keys import ANYONE, Caller
from app.services.owners.sessions import Visit
from app.settings import Settings
from app.storage.db import Database

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/version"}) | documentation.PATHS
"""Served to everybody: what health checks ask for, and the description of the API, which is the same for every service
and tells nothing of this one. Of pages, `app.api.http.page_addresses` says which are.
"""

LOOKING: Final = frozenset({"GET", "HEAD"})
READING: Final = LOOKING | {"OPTIONS"}
BEARER: Final = re.compile(r"bearer +([^\s]+) *", re.IGNORECASE)
HOW: Final = (
    "send it as 'Authorization: Bearer lab_…'; for the lab command set LAB_API_KEY; whoever runs the service makes keys"
    " with `lab keys create`"
)

log = logging.getLogger("lab.api")


class Gate:
    """An ASGI application behind a gate; `host` is where the service listens, None where that is not known."""

    def __init__(self, app: ASGIApp, settings: Settings, host: str | None) -> None:
        self._app = app
        self._settings = settings
        self._names = OwnNames(settings, host)
        self._rates = Rates(settings.max_requests_per_minute, time.monotonic)
        self._noting: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request pass with its caller in `request.state`, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        noting = self._begin_to_note(scope)
        await self._app(scope, receive, send)
        if noting is not None:
            await noting

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        try:
            self._names.check(scope, headers)
            if _is_open(scope["path"]):
                self._count(f"open {address_of(scope)}")
                state["client"] = f"address {address_of(scope)}"
                if scope["method"] not in LOOKING and page_addresses.is_page(scope["path"]):
                    require_own_page(headers)
                return None
            caller = await self._caller(scope, headers)
            if caller is ANYONE:
                self._names.check_without_keys(scope, headers.get("host", ""))
            self._count_caller(scope, caller)
            state["client"] = _asker(scope, caller)
            state["caller"] = _admitted(caller, scope)
        except Unauthorized as error:
            return _to_the_login(scope, headers) or service_error(error)
        except ServiceError as error:
            return service_error(error)
        except (OperationalError, NoConnectionFree) as error:
            return database_error(Request(scope), error)
        return None

    async def _caller(self, scope: Scope, headers: Headers) -> Caller | Unauthorized:
        """Who sends this, by a key or else by a cookie, looked up at every request: a revoked key ends at once, and
        what was begun with it. SQLite answers at a glance, in the event loop; a server in a pass. Raises OtherOrigin.
        """
        database: Database = scope["app"].state.database
        given = headers.getlist("authorization")
        match = BEARER.fullmatch(given[0]) if len(given) == 1 else None
        key = None if match is None else match[1]
        cookie = None if given else session_secret(scope, headers)
        try:
            asked_for, found = (
                sessions.recognize_at_a_glance(database, self._settings, key, cookie)
                if database.is_sqlite
                else await self._recognized(scope, key, cookie)
            )
        except sqlite3.Error:
            asked_for, found = await self._recognized(scope, key, cookie)
        if not asked_for:
            return ANYONE
        if isinstance(found, Visit):
            if scope["method"] not in LOOKING:
                require_own_page(headers)
            scope["state"]["visit"] = found
            return found.caller
        return found or Unauthorized(_why_not(given, key, cookie))

    async def _recognized(
        self, scope: Scope, key: str | None, cookie: str | None
    ) -> tuple[bool, Caller | Visit | None]:
        passes: Passes = scope["app"].state.passes
        database: Database = scope["app"].state.database

        def work() -> tuple[bool, Caller | Visit | None]:
            with database.looking() as session:
                return sessions.recognize(session, self._settings, key, cookie)

        return await passes.go(passes.door, address_of(scope), work)

    def _begin_to_note(self, scope: Scope) -> asyncio.Task[None] | None:
        """Have it written down that a session is used, once for all who ask by it now: beside the answer, which does
        not wait for it.
        """
        visit: Visit | None = scope["state"].get("visit")
        if visit is None or not visit.is_to_be_noted or visit.sha256 in self._noting:
            return None
        task = asyncio.create_task(self._note(scope, visit))
        self._noting[visit.sha256] = task
        task.add_done_callback(lambda _: self._noting.pop(visit.sha256))
        return task

    async def _note(self, scope: Scope, visit: Visit) -> None:
        passes: Passes = scope["app"].state.passes
        database: Database = scope["app"].state.database

        def work() -> None:
            with database.writing() as session:
                sessions.note(session, visit.sha256)

        try:
            await passes.go(passes.writing, scope["state"]["client"], work)
        except (ServiceError, OperationalError, NoConnectionFree) as error:
            log.info("the use of a browser session is noted at a later request: %s", error)

    def _count_caller(self, scope: Scope, caller: Caller | Unauthorized) -> None:
        """Known keys count by themselves, so that people behind one address do not stop each other. Raises
        TooManyRequests.
        """
        if caller is not ANYONE:
            self._count(
                f"key {caller.key_id}"
                if isinstance(caller, Caller)
                else f"address {address_of(scope)}"
            )

    def _count(self, client: str) -> None:
        wait = self._rates.wait_seconds(client)
        if wait:
            raise TooManyRequests(
                f"more than {self._settings.max_requests_per_minute:,} requests in a minute"
                " (LAB_MAX_REQUESTS_PER_MINUTE)",
                wait,
            )


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or page_addresses.is_open(path)


def _to_the_login(scope: Scope, headers: Headers) -> Response | None:
    """Where somebody goes who asks for a page and has not logged in; None for every other request."""
    if (
        not page_addresses.is_page(scope["path"])
        or scope["method"] not in LOOKING
        or "authorization" in headers
        or "text/html" not in headers.get("accept", "")
    ):
        return None
    query = scope["query_string"].decode("latin-1")
    wanted = quote(scope["path"]) + (f"?{query}" if query else "")
    return RedirectResponse(f"{page_addresses.LOGIN}?next={quote(wanted, safe='')}", 303)


def _asker(scope: Scope, caller: Caller | Unauthorized) -> str:
    """Who stands in the lines: an owner, however many keys are theirs; without keys, an address."""
    return (
        f"owner {caller.owner}"
        if isinstance(caller, Caller) and caller is not ANYONE
        else f"address {address_of(scope)}"
    )


def _why_not(given: list[str], key: str | None, cookie: str | None) -> str:
    """Why nobody is recognized, and what to do."""
    if cookie is not None:
        return f"this browser's session has ended: log in again at {page_addresses.LOGIN}"
    if not given:
        return f"this service asks for a key: {HOW}"
    if key is None:
        return f"the header 'Authorization' does not hold a key: {HOW}"
    return "this key is not known, or it has been revoked: ask whoever runs the service for another"


def _admitted(caller: Caller | Unauthorized, scope: Scope) -> Caller:
    """Raises Unauthorized, and Forbidden where a key that only reads would change something; to let its owner's browser
    in changes nothing.
    """
    if isinstance(caller, Unauthorized):
        raise caller
    method = scope["method"]
    is_a_change = method not in READING and scope["path"] != page_addresses.SESSION_CODE
    if caller.role is Role.READ and is_a_change:
        raise Forbidden(
            f"the key of {caller.owner} has the role 'read', which changes nothing; {method} needs 'submit' or 'admin'"
        )
    return caller
