"""Plans carried out in the running event loop, with httpx."""

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import AsyncExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from training_lab.driving import Address, Done, advance, failure_of, public, reply_of
from training_lab.errors import LabError
from training_lab.files import PIECE_BYTES, awaited_pieces_of, replacing
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
    import asyncio

    import httpx
else:
    asyncio = Late("asyncio")
    httpx = Late("httpx")

T = TypeVar("T")
P = ParamSpec("P")


class AsyncDriver:
    """Carries plans out in the running event loop."""

    def __init__(self, address: Address, transport: "httpx.AsyncBaseTransport | None") -> None:
        self.address = address
        self.http = httpx.AsyncClient(
            base_url=address.url, headers=address.headers, transport=transport
        )

    async def run(self, plan: Plan[T]) -> T:
        """What the plan ends with."""
        async with AsyncExitStack() as stack:
            talk = await _AsyncTalk.begun(self, stack)
            stack.callback(plan.close)
            step = advance(plan)
            while not isinstance(step, Done):
                step = await talk.next(plan, step)
            value: T = step.value
            return value

    async def each(self, flow: Flow[T]) -> AsyncIterator[T]:
        """What the flow hands out."""
        async with AsyncExitStack() as stack:
            talk = await _AsyncTalk.begun(self, stack)
            stack.callback(flow.close)
            step = advance(flow)
            while not isinstance(step, Done):
                if isinstance(step, Item):
                    yield step.value
                    step = advance(flow)
                else:
                    step = await talk.next(flow, step)


class _AsyncTalk:
    """As `_Talk`, awaited."""

    def __init__(self, driver: AsyncDriver, opened: AsyncExitStack) -> None:
        self._driver = driver
        self._open = opened
        self._pieces: AsyncIterator[bytes] | None = None

    @classmethod
    async def begun(cls, driver: AsyncDriver, stack: AsyncExitStack) -> "_AsyncTalk":
        return cls(driver, await stack.enter_async_context(AsyncExitStack()))

    async def next(self, plan: Generator[Any, Any, T], step: Step) -> Any:
        try:
            reply = await self._do(step)
        except LabError as error:
            return advance(plan, error=error)
        return advance(plan, reply)

    async def _do(self, step: Step) -> Any:
        match step:
            case Request():
                address = self._driver.address
                return await self._driver.run(attempts(step, address.retries, address.url))
            case Send(request):
                return await self._send(request)
            case Open(request):
                return await self._begin(request)
            case Read():
                try:
                    return None if self._pieces is None else await anext(self._pieces, None)
                except httpx.RequestError:
                    return None
            case Sleep(seconds):
                await asyncio.sleep(seconds)
                return None
            case Later():
                return None

    async def _send(self, request: Request) -> Reply | Failure:
        http, options = self._driver.http, self._driver.address.options(request)
        try:
            async with AsyncExitStack() as stack:
                content: Any = request.content
                if request.file is not None:
                    content = awaited_pieces_of(
                        stack.enter_context(request.file.open("rb")), request.told
                    )
                response = await stack.enter_async_context(
                    http.stream(request.method, request.path, content=content, **options)
                )
                if request.into is not None and response.is_success:
                    with replacing(request.into) as file:
                        async for piece in response.aiter_bytes(PIECE_BYTES):
                            file.write(piece)
                    return reply_of(response, b"")
                return reply_of(response, await response.aread())
        except httpx.RequestError as error:
            return failure_of(error)

    async def _begin(self, request: Request) -> Reply | Failure:
        await self._open.aclose()
        options = self._driver.address.options(request)
        options["timeout"] = self._driver.address.stream_timeout()
        try:
            response = await self._open.enter_async_context(
                self._driver.http.stream(request.method, request.path, **options)
            )
            if not response.is_success:
                return reply_of(response, await response.aread())
        except httpx.RequestError as error:
            return failure_of(error)
        self._pieces = response.aiter_bytes()
        return reply_of(response, b"")


class DrivenAsync(Protocol):
    """What has plans and a driver."""

    @property
    def _driver(self) -> Any: ...


S = TypeVar("S", bound=DrivenAsync)


def awaited(
    plan: Callable[Concatenate[S, P], Plan[T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The coroutine method that carries this plan out and returns what it ends with."""

    @wraps(plan)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        driver: AsyncDriver = self._driver
        return await driver.run(plan(self, *args, **kwargs))

    return public(call, plan)


def awaited_each(
    flow: Callable[Concatenate[S, P], Flow[T]],
) -> Callable[Concatenate[S, P], AsyncIterator[T]]:
    """The method that returns an asynchronous iterator over what this flow hands out."""

    @wraps(flow)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        driver: AsyncDriver = self._driver
        return driver.each(flow(self, *args, **kwargs))

    return public(call, flow)
