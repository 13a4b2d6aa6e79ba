"""What can go wrong, as exceptions whose text is for people."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ERRORS = 10
"""Bad fields that a message lists; `errors` has all."""


class LabError(Exception):
    """Base of all that this package raises on purpose."""


class Unusable(LabError):
    """What was named cannot be used, such as a file, a key or a package that is not there; the message says why."""


class Unreachable(LabError):
    """The service gives no answer. What was sent with a verb may have been carried out all the same."""


class TimedOut(LabError):
    """It has not ended within the time to wait; it goes on."""


class RunFailed(LabError):
    """What was waited for has ended, but not succeeded; `error` is the first failed run's."""

    def __init__(self, message: str, error: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.error = None if error is None else dict(error)


@dataclass(frozen=True)
class FieldFault:
    """A field that the service did not take: where it stands (a JSON pointer), what is wrong, what was meant."""

    pointer: str
    message: str
    hint: str | None = None


class Refused(LabError):
    """The service answered with a problem: `status` of HTTP, its stable `code`, and `errors` for each bad field."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        errors: Sequence[FieldFault] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        self.retry_after = retry_after
        """Seconds after which the service wants to be asked again; None where it says nothing."""


class NotFound(Refused):
    """There is no such thing, or this key may not see it."""


class Conflict(Refused):
    """It does not fit what is there, such as the cancel of what has ended."""


class TooMany(Refused):
    """A limit is reached: of requests a minute, of waiting runs, of imports at a time."""


KINDS: Mapping[int, type[Refused]] = {404: NotFound, 409: Conflict, 429: TooMany}


def refusal(
    status: int, reason: str, document: object, retry_after: float | None = None
) -> Refused:
    """The exception for an answer that is no success; `document` is its JSON, None where it has none."""
    kind = KINDS.get(status, Refused)
    if not isinstance(document, dict) or "title" not in document:
        return kind(f"{status} {reason}", status=status, retry_after=retry_after)
    faults = _faults(document.get("errors"))
    detail = str(document.get("detail") or "")
    title = f"{document['title']} ({status})" + (
        f": {detail}" if not _is_told(detail, faults) else ""
    )
    code = document.get("code")
    return kind(
        "\n".join((title, *_lines(faults))),
        status=status,
        code=None if code is None else str(code),
        errors=faults,
        retry_after=retry_after,
    )


def refused_fields(refused: Refused, faults: Sequence[FieldFault]) -> Refused:
    """The same refusal, with its fields called otherwise."""
    return type(refused)(
        "\n".join((str(refused).partition("\n")[0], *_lines(faults))),
        status=refused.status,
        code=refused.code,
        errors=faults,
        retry_after=refused.retry_after,
    )


def _lines(faults: Sequence[FieldFault]) -> list[str]:
    """A line for each bad field: where, what, and what was probably meant."""
    lines = [
        f"  {fault.pointer or '(body)'}: {fault.message}"
        + (f" ({fault.hint})" if fault.hint else "")
        for fault in faults[:MOST_ERRORS]
    ]
    return lines + (
        [f"  and {len(faults) - MOST_ERRORS} more"] if len(faults) > MOST_ERRORS else []
    )


def _faults(listed: object) -> list[FieldFault]:
    found = listed if isinstance(listed, list) else []
    return [
        FieldFault(str(one.get("pointer", "")), str(one.get("message", "")), one.get("hint"))
        for one in found
        if isinstance(one, dict)
    ]


def _is_told(detail: str, faults: Sequence[FieldFault]) -> bool:
    """Whether the faults say all that the detail does: nothing is left of it but where they are, and signs between."""
    left = detail
    for fault in sorted(faults, key=lambda one: -len(one.message)):
        left = left.replace(fault.message, "").replace(fault.pointer, "")
    return not re.search(r"\w", left)
