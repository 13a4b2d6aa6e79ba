"""What both drivers of plans do alike: the address, how an answer is read, what has gone wrong."""

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from training_lab.errors import LabError
from training_lab.late import Late
from training_lab.steps import Failure, Reply, Request

if TYPE_CHECKING:
    import httpx
else:
    httpx = Late("httpx")

T = TypeVar("T")
P = ParamSpec("P")
SILENCE_SECONDS = 40.0
"""The longest silence on an open stream, on which a sign of life comes every 15 s."""


@dataclass(frozen=True)
class Address:
    """Where the service is, and how it is spoken to."""

    url: str
    headers: dict[str, str]
    timeout: float
    retries: int

    def timeout_of(self, request: Request) -> "httpx.Timeout":
        """For a whole answer."""
        extra = request.patience
        return httpx.Timeout(self.timeout, read=None if extra is None else self.timeout + extra)

    def stream_timeout(self) -> "httpx.Timeout":
        """For an answer that has no end."""
        return httpx.Timeout(self.timeout, read=SILENCE_SECONDS)

    def options(self, request: Request) -> dict[str, Any]:
        """What httpx is to be told beside method, path and body."""
        headers = dict(request.headers)
        if request.file is not None:
            headers["Content-Length"] = str(request.file.stat().st_size)
        return {
            "params": {name: value for name, value in request.params.items() if value is not None},
            "headers": headers,
            "timeout": self.timeout_of(request),
        }


@dataclass(frozen=True)
class Done(Generic[T]):
    """A plan has ended with this."""

    value: T


def advance(
    plan: Generator[Any, Any, T], reply: Any = None, error: LabError | None = None
) -> Any | Done[T]:
    """The plan's next step, or its end, after what came of the last one."""
    try:
        return plan.throw(error) if error is not None else plan.send(reply)
    except StopIteration as ended:
        return Done(ended.value)


def failure_of(error: "httpx.RequestError") -> Failure:
    """What has become of a request, by httpx's exception."""
    before = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    return Failure(str(error) or type(error).__name__, was_sent=not isinstance(error, before))


def reply_of(response: "httpx.Response", content: bytes) -> Reply:
    """The answer, with its body if that has been read."""
    return Reply(response.status_code, response.reason_phrase, response.headers, content)


def public(method: Callable[P, T], plan: Callable[..., Any]) -> Callable[P, T]:
    """The method as people see it: the plan's name without the underscore, and its parameters. What it returns the type
    checker knows; the plan says it of itself.
    """
    seen = inspect.signature(plan).replace(return_annotation=inspect.Signature.empty)
    setattr(method, "__signature__", seen)  # noqa: B010  # no attribute that a type checker knows
    method.__name__ = method.__name__.lstrip("_")
    method.__qualname__ = method.__qualname__.replace("._", ".")
    return method
