"""From a body's bytes to a checked request."""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, TypeVar

from app.errors import BadBody, InvalidRequest, PackedBody
from app.settings import Settings
from lab_models.common.documents import NotJSON, as_utf8, parse_json
from lab_models.common.validation import InvalidDocument

STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string of a JSON document. One that does not end goes to the end: no byte is looked at twice."""

GZIP: Final = b"\x1f\x8b"
BRACKETS: Final = b"[{]}"
NO_BRACKETS: Final = bytes(set(range(256)) - set(BRACKETS))
STEPS: Final = tuple(1 if byte in b"[{" else -1 for byte in range(256))
"""What a bracket adds to the depth, by its byte."""

Request = TypeVar("Request")


def read_body(
    body: bytes, read: Callable[[Any], Request], settings: Settings
) -> tuple[dict[str, Any], Request]:
    """The body as sent and as validated by `read`, which raises InvalidDocument; raises PackedBody, BadBody or
    InvalidRequest.
    """
    if body.startswith(GZIP):
        raise PackedBody("the body is compressed by gzip; send it as it is")
    try:
        body = as_utf8(body)
        refuse_deep_nesting(body, settings.max_body_depth)
        submitted = parse_json(body)
        return submitted, read(submitted)
    except NotJSON as error:
        raise BadBody(str(error)) from error
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error


def refuse_deep_nesting(body: bytes | bytearray, most: int) -> None:
    """Raises BadBody where brackets nest deeper than `most`; whether it is JSON at all is not looked at. In linear
    time, without a step of Python per byte.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return
    brackets = STRING.sub(b"", body).translate(None, NO_BRACKETS)
    if any(map(most.__lt__, accumulate(map(STEPS.__getitem__, brackets)))):
        raise BadBody(f"the document nests deeper than {most} levels (LAB_MAX_BODY_DEPTH)")
