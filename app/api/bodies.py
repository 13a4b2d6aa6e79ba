"""From a body's bytes to a checked request."""

from collections.abc import Callable
from typing import Any, TypeVar

from app.errors import BadBody, InvalidRequest
from lab_models.validation import InvalidDocument, NotJSON, parse_json

Request = TypeVar("Request")


def read_body(body: bytes, read: Callable[[Any], Request]) -> tuple[dict[str, Any], Request]:
    """The body as sent and as validated by `read`, which raises InvalidDocument; raises BadBody or InvalidRequest."""
    try:
        submitted = parse_json(body)
        return submitted, read(submitted)
    except NotJSON as error:
        raise BadBody(str(error)) from error
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error
