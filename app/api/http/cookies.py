"""The cookie by which a browser says which session is its own."""

from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from app.services.owners.sessions import LONGEST

NAME: Final = "lab_session"
SECURE_NAME: Final = f"__Host-{NAME}"
"""By HTTPS: browsers take a cookie of such a name from this very host alone, and by HTTPS alone."""


def session_secret(scope: Scope, headers: Headers) -> str | None:
    """The secret that the cookie holds; None where none was sent, or an empty one."""
    sent = headers.getlist("cookie")
    return cookie_parser("; ".join(sent)).get(_name(scope)) or None if sent else None


def set_session(response: Response, request: Request, secret: str) -> None:
    """Have the browser keep it, also when it is closed; how long it counts is decided here at each request."""
    _set(response, request, secret, int(LONGEST.total_seconds()))


def forget_session(response: Response, request: Request) -> None:
    """Have the browser forget it."""
    _set(response, request, "", 0)


def _set(response: Response, request: Request, secret: str, max_age: int) -> None:
    response.set_cookie(
        _name(request.scope),
        secret,
        max_age=max_age,
        path="/",
        secure=_is_https(request.scope),
        httponly=True,
        samesite="lax",
    )


def _name(scope: Scope) -> str:
    return SECURE_NAME if _is_https(scope) else NAME


def _is_https(scope: Scope) -> bool:
    """As the request came, or as a proxy says it that `LAB_TRUSTED_PROXIES` names."""
    return bool(scope.get("scheme") == "https")
