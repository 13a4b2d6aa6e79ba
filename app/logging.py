"""One line a record on standard error, for API and worker alike: text for people, or JSON for programs that collect
logs.

What a record is about (experiment, run, attempt, worker, request) is bound around the work with `bound`, said by a
message that names an id, or handed over with `extra=about(…)`; JSON has each under its own name.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

FORMATS: Final = ("text", "json")
_IDS = re.compile(r"\b(exp|run|stu)_[0-9a-hjkmnp-tv-z]{13}\b")
_SECRET = re.compile(r"(lab_[\w-]{6})[\w-]{37,}")
"""A key to the API, pasted where it does not belong; its first characters are no secret, `lab keys list` shows them."""
_KINDS = {"exp": "experiment", "run": "run", "stu": "study"}
_KEY = "lab_fields"

_of_context: ContextVar[MappingProxyType[str, Any]] = ContextVar(
    "lab_logging", default=MappingProxyType({})
)
_of_process: dict[str, Any] = {}


def set_up_logging(level: str, log_format: str = "text") -> None:
    """Give the root logger one handler; times are UTC. `log_format` is `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in (
        *("alembic", "celery", "fontTools", "httpx", "httpx2", "kombu", "matplotlib"),
        "uvicorn.error",
    ):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Within the block every record of this thread or task has these fields, beside those bound around it."""
    token = _of_context.set(MappingProxyType({**_of_context.get(), **fields}))
    try:
        yield
    finally:
        _of_context.reset(token)


def bind_process(**fields: Any) -> None:
    """From now on every record of this process, and of those forked from it, has these fields."""
    _of_process.update(fields)


def about(**fields: Any) -> dict[str, Any]:
    """For `extra=`: fields of one record."""
    return {_KEY: fields}


class Rarely:
    """A warning that is written at most once a minute, however often there is a reason for it."""

    def __init__(self, log: logging.Logger, seconds: float = 60.0) -> None:
        self._log = log
        self._seconds = seconds
        self._written_at = -float("inf")
        self._num_unwritten = 0

    def warn(self, message: str, *arguments: object) -> None:
        """Write it, with how often it was not written since the last time; or count it."""
        now = time.monotonic()
        if now - self._written_at < self._seconds:
            self._num_unwritten += 1
            return
        more = (
            f" ({self._num_unwritten:,} times more since the last such line)"
            if self._num_unwritten
            else ""
        )
        self._log.warning(message + "%s", *arguments, more)
        self._written_at, self._num_unwritten = now, 0


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, what it is about, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; whatever is no JSON becomes its `str`."""
        message = record.getMessage()
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": message,
            **_named(message),
            **_of_process,
            **_of_context.get(),
            **getattr(record, _KEY, {}),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return _without_secrets(json.dumps(document, ensure_ascii=False, default=str))


class TextFormatter(logging.Formatter):
    """A line for people; times are UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback of an exception after it."""
        return _without_secrets(super().format(record))


def _without_secrets(line: str) -> str:
    return _SECRET.sub(r"\1…", line)


def _named(message: str) -> dict[str, str]:
    """The first id of each kind that the message names: our ids cannot be mistaken for anything else."""
    found: dict[str, str] = {}
    for match in _IDS.finditer(message):
        found.setdefault(_KINDS[match[1]], match[0])
    return found
