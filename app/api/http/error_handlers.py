"""Which error becomes which answer: the handlers that the application is given."""

import difflib
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from app.api.http.database_problems import database_error, lost_race, no_connection, unstorable
from app.api.http.problems import problem, service_error, unexpected
from app.api.http.queries import query_parameters
from app.errors import ServiceError
from lab_models.common.validation import FieldError, did_you_mean

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

FIRST_WORDS: Final = (
    *("architectures", "bundles", "comparisons", "datasets", "docs", "events", "experiments"),
    *("experiments.csv", "healthz", "me", "metrics", "openapi.json", "owners", "queue", "readyz"),
    *("recipes", "runs", "studies", "ui", "version", "webhooks", "workers"),
)
"""With which addresses begin."""
LONGEST_PATH: Final = 300
"""Of an address that something like it is looked for."""

Handler = Callable[[Request, Exception], Response]


def install(app: FastAPI) -> None:
    """Register the handlers."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, _in_the_event_loop(handler))


def _in_the_event_loop(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A plain function would wait for a thread, behind all that wait for one."""

    async def handle(request: Request, error: Exception) -> Response:
        return handler(request, error)

    return handle


def _service_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return service_error(error)


def _bad_parameters(request: Request, error: Exception) -> Response:
    """Query and path parameters; bodies are validated by the routes themselves."""
    assert isinstance(error, RequestValidationError)
    found = [_parameter_error(request, item) for item in error.errors()]
    return problem(
        422,
        "invalid_request",
        "The request has bad fields",
        "; ".join(f"{e.pointer}: {e.message}" for e in found),
        found,
    )


def _parameter_error(request: Request, item: dict[str, Any]) -> FieldError:
    place = item["loc"]  # where it was sent, its name, and which one of several
    name = str(place[min(1, len(place) - 1)])
    if item["type"] == "extra_forbidden":
        known = query_parameters(request.scope["route"].dependant)
        return FieldError(f"/{name}", "unknown query parameter", _meant(name, known))
    message = str(item["msg"]).removeprefix("Value error, ")
    return FieldError(f"/{name}", message[:1].lower() + message[1:])


def _meant(name: str, known: list[str]) -> str | None:
    return did_you_mean(name, known) if known else "there are none here"


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    code = title.lower().replace(" ", "_").replace("'", "")
    detail = {
        404: f"nothing is served under {request.url.path}; {_nearest(request)}GET /docs shows what is",
        405: f"{request.method} is not served under {request.url.path}",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    return problem(error.status_code, code, title, detail, headers=headers)


def _nearest(request: Request) -> str:
    """What the address may have meant: the one without doubled slashes or capitals, or one with a slip at its
    beginning.
    """
    path = re.sub("/+", "/", request.scope["path"][:LONGEST_PATH])
    _, first, *rest = path.split("/")
    near = difflib.get_close_matches(first.lower(), FIRST_WORDS, n=1, cutoff=0.8)
    for one in (path, "/".join(["", *near, *rest])):
        if one != request.scope["path"] and _is_served({**request.scope, "path": one}):
            return f"did you mean {one}? "
    return ""


def _is_served(scope: Scope) -> bool:
    return any(route.matches(scope)[0] is not Match.NONE for route in scope["app"].routes)


def _methods_of(request: Request) -> list[str]:
    """What is served under this address: Starlette names the methods of the first route that fits, of several only that
    one's.
    """
    served = {
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    }
    return [method for method in METHODS if (method if method != "HEAD" else "GET") in served]


def _client_left(_request: Request, _error: Exception) -> Response:
    """Nobody reads this; it is what the log and the counts say."""
    return problem(
        499,
        "client_left",
        "The client has left",
        "the connection was closed before the request was whole",
    )


HANDLERS: dict[type[Exception], Handler] = {
    ServiceError: _service_error,
    RequestValidationError: _bad_parameters,
    HTTPException: _http_error,
    OperationalError: database_error,
    NoConnectionFree: no_connection,
    IntegrityError: lost_race,
    DataError: unstorable,
    ClientDisconnect: _client_left,
    Exception: unexpected,
}


def answer_to(request: Request, error: Exception) -> Response:
    """What the handlers make of an error, for what shows it in another form."""
    return next(HANDLERS[kind](request, error) for kind in type(error).__mro__ if kind in HANDLERS)
