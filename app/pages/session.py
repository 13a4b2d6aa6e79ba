"""Logging in with a key or a one-time code, and logging out."""

import re
from typing import Annotated, Final

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel
from sqlmodel import Session

from app.api.http import passes
from app.api.http.cookies import forget_session, session_secret, set_session
from app.api.http.deps import Body, TheCaller, TheDatabase, TheSettings, Writing
from app.api.http.hosts import address_of
from app.api.http.page_addresses import LOGIN, PAGES, SESSION, SESSION_CODE, SESSION_END
from app.api.http.rates import Rates
from app.errors import InvalidRequest, OtherOrigin
from app.pages.rendering import form_of, rendered
from app.services.owners import sessions
from app.services.owners.keys import look_up
from lab_models.common.validation import FieldError

FIRST_PAGE: Final = f"{PAGES}/experiments"
OWN_PATH: Final = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
"""A path of this service, and nothing that browsers take for another's address, such as `//evil` and `/\\evil`."""
LONGEST_PATH: Final = 2000
WRONG_KEYS_A_MINUTE: Final = 5
WRONG_KEY: Final = (
    "This key is not known, or it has been revoked. Ask whoever runs this service for another."
)
WRONG_CODE: Final = (
    "This address was used already, or it is older than a minute: lab open makes another. Or log in"
    " with your key."
)

Next = Annotated[str, Query(alias="next", max_length=LONGEST_PATH)]

router = passes.router(include_in_schema=False)


class CodeAnswer(BaseModel):
    """A code for `GET /ui/session`; None where the service asks for no keys, so that none is needed."""

    code: str | None


@router.get(LOGIN)
async def show_login(wanted: Next = FIRST_PAGE) -> Response:
    """The form."""
    return _login(_own_path(wanted))


@router.post(SESSION)
async def log_in(
    request: Request, database: TheDatabase, settings: TheSettings, body: Body
) -> Response:
    """Begin a session with the key of the form and go on to `next`; with another, the form again."""
    form = form_of(body)
    wanted, secret = _own_path(form.get("next") or FIRST_PAGE), form.get("key", "").strip()
    if (wait := _wait_seconds(request)) > 0:
        return _too_many(wanted, wait)
    lanes, client = passes.passes_of(request), passes.client_of(request)

    def look() -> tuple[bool, str | None]:
        with database.reading() as session:
            asked_for, caller = look_up(session, settings, secret)
            return asked_for, None if caller is None else caller.key_id

    asked_for, key_id = await lanes.go(lanes.reading, client, look)
    if asked_for and key_id is None:
        return _refused(request, wanted, WRONG_KEY)
    response = RedirectResponse(wanted, 303)
    if key_id is not None:
        old = session_secret(request.scope, request.headers)

        def begin() -> str:
            with database.writing() as session:
                return _begin(session, key_id, old)

        set_session(response, request, await lanes.go(lanes.writing, client, begin))
    return response


@router.get(SESSION)
async def log_in_by_code(
    request: Request,
    database: TheDatabase,
    code: Annotated[str, Query(max_length=100)],
    wanted: Next = FIRST_PAGE,
) -> Response:
    """Begin a session with a code that `lab open` has made, and go on to an address that does not show it.

    The one GET that changes something, once. A link on a page of strangers, who would log somebody in as themselves, is
    refused.
    """
    wanted = _own_path(wanted)
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise OtherOrigin("a page of somebody else leads here, to log you in: run `lab open`")
    if (wait := _wait_seconds(request)) > 0:
        return _too_many(wanted, wait)
    old = session_secret(request.scope, request.headers)

    def begin() -> str | None:
        with database.writing() as session:
            key_id = sessions.redeem(session, code)
            return None if key_id is None else _begin(session, key_id, old)

    lanes = passes.passes_of(request)
    secret = await lanes.go(lanes.writing, passes.client_of(request), begin)
    if secret is None:
        return _refused(request, wanted, WRONG_CODE)
    response = RedirectResponse(wanted, 303)
    set_session(response, request, secret)
    return response


@router.post(SESSION_CODE)
def make_code(session: Writing, caller: TheCaller) -> CodeAnswer:
    """A code by which a browser is let in as the caller, for `lab open`."""
    return CodeAnswer(
        code=None if caller.key_id is None else sessions.make_code(session, caller.key_id)
    )


@router.post(SESSION_END)
def log_out(session: Writing, request: Request) -> Response:
    """End the session, if there is one, and show the form."""
    secret = session_secret(request.scope, request.headers)
    if secret is not None:
        sessions.end(session, secret)
    response = RedirectResponse(LOGIN, 303)
    forget_session(response, request)
    return response


def _begin(session: Session, key_id: str, old: str | None) -> str:
    """A new session in the place of the browser's old one."""
    if old is not None:
        sessions.end(session, old)
    return sessions.begin(session, key_id)


def _own_path(wanted: str) -> str:
    """Raises InvalidRequest for what leads elsewhere."""
    if len(wanted) > LONGEST_PATH or not OWN_PATH.fullmatch(wanted):
        message = f"{wanted[:100]!r} is no path of this service, such as {FIRST_PAGE}"
        raise InvalidRequest(message, [FieldError("/next", message)])
    return wanted


def _wait_seconds(request: Request) -> int:
    """How long an address must wait from which wrong keys have come lately."""
    return _wrong_keys(request).would_wait_seconds(address_of(request.scope))


def _refused(request: Request, wanted: str, said: str) -> Response:
    _wrong_keys(request).wait_seconds(address_of(request.scope))
    return _login(wanted, said, 401)


def _wrong_keys(request: Request) -> Rates:
    rates: Rates = request.app.state.wrong_keys
    return rates


def _too_many(wanted: str, wait: int) -> Response:
    said = (
        f"{WRONG_KEYS_A_MINUTE} wrong keys in a minute came from your address. Wait {wait} seconds."
    )
    return _login(wanted, said, 429, {"Retry-After": str(wait)})


def _login(
    wanted: str, said: str = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    page = rendered("login.html", action=SESSION, next=wanted, said=said)
    return HTMLResponse(page, status, headers)
