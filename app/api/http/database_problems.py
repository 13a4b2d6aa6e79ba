"""What a client is told when the database refuses, is full or does not answer."""

import logging
import sqlite3

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from app.api.http.problems import problem, unexpected
from app.errors import Conflict, DiskFull, InvalidRequest, NotFound
from app.storage.database_file import MOVED

RETRY_AFTER_SECONDS = "2"
BAD_VALUE = "JSON path"
"""What SQLite says of the key of a label that cannot be one."""
FULL_DISK = ("disk is full", "disk I/O error", "No space left")
"""What SQLite says of a full disk and of a file that may not grow, and PostgreSQL of the former."""
PRIMARY_CODE = 0xFF
"""Of SQLite's extended error codes."""

log = logging.getLogger("lab.api")


def database_error(request: Request, error: Exception) -> Response:
    """The disk is full, the file read-only, another holds the lock for too long, or no connection is free.

    SQLite also says of a statement that it cannot carry out at all what others say of the moment: to try again would be
    of no use.
    """
    if isinstance(error, NoConnectionFree):
        return no_connection(request, error)
    assert isinstance(error, OperationalError)
    assert error.orig is not None
    said = str(error.orig)
    if _is_of_the_statement(error):
        return _bad_value(request, said) if BAD_VALUE in said else unexpected(request, error)
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


def no_connection(_request: Request, error: Exception) -> Response:
    """More wait than the pool has connections for."""
    log.error("database: %s", error)
    return problem(
        503,
        "busy",
        "Busy, try again",
        "too many requests wait for the database; nothing was changed",
        headers={"Retry-After": RETRY_AFTER_SECONDS},
    )


def lost_race(_request: Request, error: Exception) -> Response:
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


def unstorable(request: Request, error: Exception) -> Response:
    """PostgreSQL keeps no NUL in a text and no number beyond its column; SQLite would. What has a NUL in its name is
    not there on either.
    """
    assert isinstance(error, DataError)
    return _bad_value(request, str(error.orig))


def _is_of_the_statement(error: OperationalError) -> bool:
    """Whether it is SQLite's plain SQLITE_ERROR; locked, busy, full, not to be opened or interrupted have codes of
    their own, and so have a server's faults.
    """
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & PRIMARY_CODE == sqlite3.SQLITE_ERROR


def _bad_value(request: Request, said: str) -> Response:
    if "\0" in request.scope["path"]:
        return problem(
            404, NotFound.code, NotFound.title, "nothing has the character U+0000 in its name"
        )
    detail = f"a value in the request cannot be kept or looked for in the database: {said.splitlines()[0]}"
    return problem(422, InvalidRequest.code, InvalidRequest.title, detail)
