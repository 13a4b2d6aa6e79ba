"""The one place that renders errors, as `application/problem+json` (RFC 9457)."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from app.api.http.security_headers import security_headers
from app.errors import Conflict, DiskFull, InvalidRequest, NotFound, ServiceError
from app.storage.database_file import MOVED
from lab_models.common.validation import FieldError, did_you_mean

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:training-lab:problem:"
RETRY_AFTER_SECONDS = "2"
BAD_VALUE = "JSON path"
"""What SQLite says of the key of a label that cannot be one."""
FULL_DISK = ("disk is full", "disk I/O error", "No space left")
"""What SQLite says of a full disk and of a file that may not grow, and PostgreSQL of the former."""
PRIMARY_CODE = 0xFF
"""Of SQLite's extended error codes."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

Handler = Callable[[Request, Exception], Response]

log = logging.getLogger("lab.api")


class FieldProblem(BaseModel):
    """One place in the request that is wrong; `pointer` is a JSON Pointer, `/<name>` of a query parameter, or a path in
    an uploaded archive.
    """

    pointer: str
    message: str
    hint: str | None = None


class Problem(BaseModel):
    """What every error answer looks like."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldProblem] = []


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error answer."""
    body = Problem(
        type=TYPE_PREFIX + code,
        title=title,
        status=status,
        detail=detail,
        code=code,
        errors=[
            FieldProblem(pointer=error.pointer, message=error.message, hint=error.hint)
            for error in errors
        ],
    )
    return JSONResponse(
        body.model_dump(exclude_none=True),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Register the handlers."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, _in_the_event_loop(handler))


def _in_the_event_loop(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A plain function would wait for a thread, behind all that wait for one."""

    async def handle(request: Request, error: Exception) -> Response:
        return handler(request, error)

    return handle


def service_error(error: ServiceError) -> Response:
    """The answer to an error of the family."""
    return problem(
        error.status, error.code, error.title, str(error), error.errors, headers=dict(error.headers)
    )


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
    name = str(item["loc"][-1])
    if item["type"] == "extra_forbidden":
        known = [
            parameter.alias
            for dependant in [request.scope["route"].dependant]
            for parameter in _query_parameters(dependant)
        ]
        return FieldError(f"/{name}", "unknown query parameter", did_you_mean(name, known))
    message = str(item["msg"]).removeprefix("Value error, ")
    return FieldError(f"/{name}", message[:1].lower() + message[1:])


def _query_parameters(dependant: Any) -> list[Any]:
    """The parameters of a route's query model, field by field."""
    found = []
    for parameter in dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found += [
                _Named(field.alias or name) for name, field in annotation.model_fields.items()
            ]
        else:
            found.append(_Named(parameter.alias))
    return found


class _Named:
    def __init__(self, alias: str) -> None:
        self.alias = alias


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    code = title.lower().replace(" ", "_").replace("'", "")
    detail = {
        404: f"nothing is served under {request.url.path}; GET /docs shows what is",
        405: f"{request.method} is not served under {request.url.path}",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods_of(request))
    return problem(error.status_code, code, title, detail, headers=headers)


def _methods_of(request: Request) -> list[str]:
    """What is served under this address: Starlette names the methods of the first route that fits, of several only that
    one's.
    """
    return [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def database_error(request: Request, error: Exception) -> Response:
    """The disk is full, the file read-only, another holds the lock for too long, or no connection is free.

    SQLite also says of a statement that it cannot carry out at all what others say of the moment: to try again would be
    of no use.
    """
    if isinstance(error, NoConnectionFree):
        return _no_connection(request, error)
    assert isinstance(error, OperationalError)
    assert error.orig is not None
    said = str(error.orig)
    if _is_of_the_statement(error):
        return _bad_value(request, said) if BAD_VALUE in said else _unexpected(request, error)
    log.error("database: %s", error)
    if request.method != "GET" and any(sign in said for sign in FULL_DISK):
        detail = (
            f"the database could not be written ({said}); nothing was changed. Free disk space, then send the request"
            " again"
        )
        return problem(507, DiskFull.code, DiskFull.title, detail)
    if MOVED in said:
        return problem(
            503, "database_moved", "The database file has moved", f"{said}; nothing was changed"
        )
    if "readonly" in said:
        return problem(
            503,
            "read_only",
            "The database is read-only",
            f"the database could not be written ({said}); nothing was changed",
        )
    return problem(
        503,
        "busy",
        "Busy, try again",
        "the database did not answer in time; nothing was changed",
        headers={"Retry-After": RETRY_AFTER_SECONDS},
    )


def _is_of_the_statement(error: OperationalError) -> bool:
    """Whether it is SQLite's plain SQLITE_ERROR; locked, busy, full, not to be opened or interrupted have codes of
    their own, and so have a server's faults.
    """
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & PRIMARY_CODE == sqlite3.SQLITE_ERROR


def _no_connection(_request: Request, error: Exception) -> Response:
    log.error("database: %s", error)
    return problem(
        503,
        "busy",
        "Busy, try again",
        "too many requests wait for the database; nothing was changed",
        headers={"Retry-After": RETRY_AFTER_SECONDS},
    )


def _lost_race(_request: Request, error: Exception) -> Response:
    """Between this request's look and its write another has added or removed what it depends on; the database's
    constraints have held.
    """
    log.warning("a request lost a race: %s", error)
    return problem(
        409,
        Conflict.code,
        Conflict.title,
        "another request has just changed what this one needs; nothing was changed. Read it again, then decide",
    )


def _unstorable(request: Request, error: Exception) -> Response:
    """PostgreSQL keeps no NUL in a text and no number beyond its column; SQLite would. What has a NUL in its name is
    not there on either.
    """
    assert isinstance(error, DataError)
    return _bad_value(request, str(error.orig))


def _bad_value(request: Request, said: str) -> Response:
    if "\0" in request.scope["path"]:
        return problem(
            404, NotFound.code, NotFound.title, "nothing has the character U+0000 in its name"
        )
    detail = f"a value in the request cannot be kept or looked for in the database: {said.splitlines()[0]}"
    return problem(422, InvalidRequest.code, InvalidRequest.title, detail)


def _client_left(_request: Request, _error: Exception) -> Response:
    """Nobody reads this; it is what the log and the counts say."""
    return problem(
        499,
        "client_left",
        "The client has left",
        "the connection was closed before the request was whole",
    )


def _unexpected(_request: Request, error: Exception) -> Response:
    log.error("unexpected", exc_info=error)
    detail = "something unexpected happened; the service's log has the details"
    return problem(
        500, "internal", "Internal error", detail, headers=security_headers("/")
    )  # it leaves past the middleware that adds them


HANDLERS: dict[type[Exception], Handler] = {
    ServiceError: _service_error,
    RequestValidationError: _bad_parameters,
    HTTPException: _http_error,
    OperationalError: database_error,
    NoConnectionFree: _no_connection,
    IntegrityError: _lost_race,
    DataError: _unstorable,
    ClientDisconnect: _client_left,
    Exception: _unexpected,
}
