"""How an error looks, as `application/problem+json` (RFC 9457)."""

import logging
from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel

from app.api.http.security_headers import security_headers
from app.errors import ServiceError
from lab_models.common.validation import FieldError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:training-lab:problem:"

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


def service_error(error: ServiceError) -> Response:
    """The answer to an error of the family."""
    return problem(
        error.status, error.code, error.title, str(error), error.errors, headers=dict(error.headers)
    )


def unexpected(_request: Request, error: Exception) -> Response:
    """A fault of the service itself: the log has it, the client is told that."""
    log.error("unexpected", exc_info=error)
    detail = "something unexpected happened; the service's log has the details"
    # it leaves past the middleware that adds them
    return problem(500, "internal", "Internal error", detail, headers=security_headers("/"))
