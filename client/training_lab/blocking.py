"""Plans carried out in the calling thread, with httpx."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from training_lab.driving import Address, Done, advance, failure_of, public, reply_of
from training_lab.errors import LabError
from training_lab.files import PIECE_BYTES, pieces_of, replacing
from training_lab.late import Late
from training_lab.retrying import attempts
from training_lab.steps import (
    Failure,
    Flow,
    Item,
    Later,
    Open,
    Plan,
    Read,
    Reply,
    Request,
    Send,
    Sleep,
    Step,
)

if TYPE_CHECKING:
    import httpx
else:
    httpx = Late("httpx")

T = TypeVar("T")
P = ParamSpec("P")


class BlockingDriver:
    """Carries plans out in the calling thread; several threads may share one."""

    def __init__(self, address: Address, transport: "httpx.BaseTransport | None") -> None:
        self.address = address
        self.http = httpx.Client(base_url=address.url, headers=address.headers, transport=transport)

    def run(self, plan: Plan[T]) -> T:
        """What the plan ends with."""
        with ExitStack() as stack:
            talk = _Talk(self, stack)
            stack.callback(plan.close)
            step = advance(plan)
            while not isinstance(step, Done):
                step = talk.next(plan, step)
            value: T = step.value
            return value

    def each(self, flow: Flow[T]) -> Iterator[T]:
        """What the flow hands out."""
        with ExitStack() as stack:
            talk = _Talk(self, stack)
            stack.callback(flow.close)
            step = advance(flow)
            while not isinstance(step, Done):
                if isinstance(step, Item):
                    yield step.value
                    step = advance(flow)
                else:
                    step = talk.next(flow, step)


class _Talk:
    """One plan being carried out, with what it has open."""

    def __init__(self, driver: BlockingDriver, stack: ExitStack) -> None:
        self._driver = driver
        self._open = stack.enter_context(ExitStack())
        self._pieces: Iterator[bytes] = iter(())

    def next(self, plan: Generator[Any, Any, T], step: Step) -> Any:
        try:
            reply = self._do(step)
        except LabError as error:
            return advance(plan, error=error)
        return advance(plan, reply)

    def _do(self, step: Step) -> Any:
        match step:
            case Request():
                address = self._driver.address
                return self._driver.run(attempts(step, address.retries, address.url))
            case Send(request):
                return self._send(request)
            case Open(request):
                return self._begin(request)
            case Read():
                try:
                    return next(self._pieces, None)
                except httpx.RequestError:
                    return None
            case Sleep(seconds):
                time.sleep(seconds)
                return None
            case Later():
                return self._driver.run

    def _send(self, request: Request) -> Reply | Failure:
        http, options = self._driver.http, self._driver.address.options(request)
        try:
            with ExitStack() as stack:
                content: Any = request.content
                if request.file is not None:
                    content = pieces_of(stack.enter_context(request.file.open("rb")), request.told)
                response = stack.enter_context(
                    http.stream(request.method, request.path, content=content, **options)
                )
                if request.into is not None and response.is_success:
                    with replacing(request.into) as file:
                        for piece in response.iter_bytes(PIECE_BYTES):
                            file.write(piece)
                    return reply_of(response, b"")
                return reply_of(response, response.read())
        except httpx.RequestError as error:
            return failure_of(error)

    def _begin(self, request: Request) -> Reply | Failure:
        self._open.close()
        options = self._driver.address.options(request)
        options["timeout"] = self._driver.address.stream_timeout()
        try:
            response = self._open.enter_context(
                self._driver.http.stream(request.method, request.path, **options)
            )
            if not response.is_success:
                return reply_of(response, response.read())
        except httpx.RequestError as error:
            return failure_of(error)
        self._pieces = response.iter_bytes()
        return reply_of(response, b"")


class DrivenBlocking(Protocol):
    """What has plans and a driver."""

    @property
    def _driver(self) -> Any: ...


S = TypeVar("S", bound=DrivenBlocking)


def blocking(
    plan: Callable[Concatenate[S, P], Plan[T]],
) -> Callable[Concatenate[S, P], T]:
    """The method that carries this plan out and returns what it ends with."""

    @wraps(plan)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        driver: BlockingDriver = self._driver
        return driver.run(plan(self, *args, **kwargs))

    return public(call, plan)


def blocking_each(
    flow: Callable[Concatenate[S, P], Flow[T]],
) -> Callable[Concatenate[S, P], Iterator[T]]:
    """The method that returns an iterator over what this flow hands out."""

    @wraps(flow)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        driver: BlockingDriver = self._driver
        return driver.each(flow(self, *args, **kwargs))

    return public(call, flow)
