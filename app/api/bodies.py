"""From a body's bytes to a checked request."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from app.errors import BadBody, InvalidRequest
from app.settings import Settings
from lab_models.validation import InvalidDocument, NotJSON, parse_json

STRING_OR_OTHER: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[^][{}"]++', re.DOTALL)
"""What of a JSON document is no bracket, strings as a whole. A string that does not end goes to the end: no byte is looked at twice."""

Request = TypeVar("Request")


def read_body(body: bytes, read: Callable[[Any], Request], settings: Settings) -> tuple[dict[str, Any], Request]:
    """The body as sent and as validated by `read`, which raises InvalidDocument; raises BadBody or InvalidRequest."""
    refuse_deep_nesting(body, settings.max_body_depth)
    try:
        submitted = parse_json(body)
        return submitted, read(submitted)
    except NotJSON as error:
        raise BadBody(str(error)) from error
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error


def refuse_deep_nesting(body: bytes | bytearray, most: int) -> None:
    """Raises BadBody where brackets nest deeper than `most`; whether it is JSON at all is not looked at. In linear time."""
    depth = 0
    for bracket in STRING_OR_OTHER.sub(b"", body):
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            raise BadBody(f"the document nests deeper than {most} levels (LAB_MAX_BODY_DEPTH)")
