"""One request, one pass: what a route does with the database is one call on one thread, from opening the session to the
answer's bytes and the commit.

A route is a plain function whose parameters say what it needs (`app.api.http.deps`): `session: Reading` or `session:
Writing`, rows loaded with it, the caller. `Route` turns it into an `async` endpoint that waits for its turn in the
event loop, holding nothing, and then makes one pass. Nothing lives between two passes: no session, no connection, no
lock. A route that needs more than one returns what comes next, `Read`, `Write`, `Compute` or `Draw`, made of plain
values.
"""

import asyncio
import inspect
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlmodel import Session
from starlette.requests import ClientDisconnect

from app.api.http.drawings import Draw, Drawings
from app.api.http.lanes import Lane
from app.api.http.parameters import Afterwards, ArgumentPlan, Given
from app.api.http.queries import StrictRoute
from app.api.http.tags import tagged
from app.api.http.traffic import has_left
from app.plots.artists import Artists
from app.storage.db import Database

READERS_ON_SQLITE: Final = 4
"""Reads in one process share one interpreter lock, so more of them at a time would only make each slower."""
READERS_ON_SERVER: Final = 8
WRITERS_ON_SERVER: Final = 4
COMPUTING: Final = 2
"""Predictions and explanations at a time: each takes memory and a core that training would have."""
DRAWING: Final = min(4, max(1, (os.cpu_count() or 1) // 2))
"""Pictures at a time, half as many as cores, each in a process of 80 MB."""
REST_BETWEEN_WRITES: Final = 0.25

Result = TypeVar("Result")


class Passes:
    """The lanes of one service: of readers no more than there are connections, of writers on SQLite one, of what
    computes without a session a few, and of imports, whose images take minutes of a core to decode, one.
    """

    def __init__(self, most: int, *, on_sqlite: bool, artists: Artists | None = None) -> None:
        self.reading = Lane("reading", READERS_ON_SQLITE if on_sqlite else READERS_ON_SERVER, most)
        self.writing = Lane(
            "writing",
            1 if on_sqlite else WRITERS_ON_SERVER,
            most,
            REST_BETWEEN_WRITES if on_sqlite else 0.0,
        )
        self.computing = Lane("computing", COMPUTING, most)
        self.drawing = Lane("drawing", DRAWING, most)
        self.files = Lane("files", COMPUTING, most)
        self.importing = Lane("importing", 1, most)
        self.readiness = Lane("readiness", 1, most)
        self.door = Lane("the door", 1 if on_sqlite else WRITERS_ON_SERVER, most)
        self.drawings = Drawings(self.drawing, artists or Artists(DRAWING))
        self._threads = CapacityLimiter(math.inf)  # lanes are the limit

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All of them."""
        return (
            self.reading,
            self.writing,
            self.computing,
            self.drawing,
            self.files,
            self.importing,
            self.readiness,
            self.door,
        )

    async def go(
        self,
        lane: Lane,
        client: str,
        work: Callable[[], Result],
        undo: Callable[[], None] | None = None,
    ) -> Result:
        """Wait for a turn in the lane, then do the work in a thread, to its end even if nobody waits for it any more.
        Raises Overloaded, or as `work` does.

        `undo` is done, in a thread that nobody waits for, if the turn never comes: refused, or the client left.
        """
        has_begun = False
        try:
            async with lane.turn(client):
                has_begun = True
                return await run_sync(_checked, work, limiter=self._threads)
        finally:
            if undo is not None and not has_begun:
                asyncio.get_running_loop().run_in_executor(None, undo)


@dataclass(frozen=True)
class Read:
    """What comes next is a look of its own: `work` gets a session that reads, and everything else from values that hold
    no session.
    """

    work: Callable[[Session], Any]


@dataclass(frozen=True)
class Write:
    """What comes next is a transaction of its own; `undo` takes back what was made for it, should it never begin."""

    work: Callable[[Session], Any]
    undo: Callable[[], None] | None = None


@dataclass(frozen=True)
class Compute:
    """What comes next needs no database: predicting, explaining or moving files, each in a line of its own."""

    work: Callable[[], Any]
    lane: Literal["computing", "files"] = "computing"


Step = Read | Write | Compute
STEPS: Final = (Read, Write, Compute, Draw)


class Route(StrictRoute):
    """A route whose function runs as passes; one that is `async` itself stays in the event loop and makes its passes by
    hand.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        status_code: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            path, _in_passes(endpoint, status_code or 200), status_code=status_code, **options
        )


def router(**options: Any) -> APIRouter:
    """An `APIRouter` all of whose routes run as passes."""
    return APIRouter(route_class=Route, **options)


def answer(
    model: BaseModel, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A model as JSON, with a status or headers of its own."""
    return Response(
        model.__pydantic_serializer__.to_json(model, by_alias=True),
        status_code,
        headers,
        "application/json",
    )


def client_of(request: Request) -> str:
    """Who asks, for the lines: an owner, or where nobody has a key an address."""
    return str(getattr(request.state, "client", "unknown"))


def _in_passes(function: Callable[..., Any], status_code: int) -> Callable[..., Any]:
    """The function as an `async` endpoint, its signature narrowed to what FastAPI fills."""
    plan = ArgumentPlan(function)
    run = (
        _by_hand(plan)
        if inspect.iscoroutinefunction(function)
        else _one_after_the_other(plan, status_code)
    )
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(run, name, getattr(function, name))
    request = inspect.Parameter("request_", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
    outer = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in plan.outer.values()
    ]
    returned = inspect.signature(function).return_annotation
    signature = inspect.Signature([request, *outer], return_annotation=returned)
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


def _by_hand(plan: ArgumentPlan) -> Callable[..., Any]:
    if any(not isinstance(marker, Given) for marker in plan.markers.values()):
        raise TypeError(
            f"{plan.function.__name__} is async: it must not be given a session or rows, which would live between"
            " passes"
        )

    async def endpoint(*, request_: Request, **values: Any) -> Any:
        result = await plan.function(**plan.arguments(request_, None, Afterwards(), values))
        return tagged(request_, result) if isinstance(result, Response) else result

    return endpoint


def _one_after_the_other(plan: ArgumentPlan, status_code: int) -> Callable[..., Any]:
    async def endpoint(*, request_: Request, **values: Any) -> Response:
        passes, client = passes_of(request_), client_of(request_)
        afterwards = Afterwards()

        def first(session: Session | None) -> Any:
            return plan.function(**plan.arguments(request_, session, afterwards, values))

        kind = plan.session_kind
        work: Callable[[Any], Any] = first
        lane, undo = passes.writing if kind else passes.reading, None
        while True:
            result = await passes.go(
                lane, client, partial(_pass, request_, kind, work, status_code, afterwards), undo
            )
            while isinstance(result, Draw):
                picture = await passes.drawings.get(
                    client, result, partial(has_left, request_.scope)
                )
                result = _rendered(result.then(picture), status_code)
            if isinstance(result, Response):
                break
            lane, kind, work = _next(passes, result)
            undo = result.undo if isinstance(result, Write) else None
        result = tagged(request_, result)
        if afterwards.background.tasks:
            result.background = afterwards.background
        return result

    return endpoint


def passes_of(request: Request) -> Passes:
    """The lanes of the application."""
    passes: Passes = request.app.state.passes
    return passes


def _next(passes: Passes, step: Step) -> tuple[Lane, bool | None, Callable[[Any], Any]]:
    """The lane; whether it writes, None without a session; and its work, given a session or not."""
    match step:
        case Read():
            return passes.reading, False, step.work
        case Write():
            return passes.writing, True, step.work
        case Compute():
            return getattr(passes, step.lane), None, lambda _: step.work()


def _pass(
    request: Request,
    writes: bool | None,
    work: Callable[[Any], Any],
    status_code: int,
    afterwards: Afterwards,
) -> Any:
    """One pass: the session opened, the work done, the answer's bytes made, all committed. `writes` None: without a
    session.

    What only reads is not begun for a client that has left while it waited for its turn: raises ClientDisconnect.
    """
    if request.method in ("GET", "HEAD") and has_left(request.scope):
        raise ClientDisconnect
    if writes is None:
        return _rendered(work(None), status_code)
    database: Database = request.app.state.database
    with database.writing() if writes else database.reading() as session:
        result = _rendered(work(session), status_code)
    if writes:
        afterwards.committed()
    return result


def _rendered(result: Any, status_code: int) -> Any:
    """A response, or what comes next."""
    if isinstance(result, (Response, *STEPS)):
        return result
    if result is None:
        return Response(status_code=status_code)
    assert isinstance(result, BaseModel), (
        f"a route returns a model, a response or what comes next, not {type(result)}"
    )
    return answer(result, status_code)


def _checked(work: Callable[[], Result]) -> Result:
    """Do the work; a session that it leaves open is a fault of the route, found at its first call."""
    try:
        return work()
    finally:
        Database.expect_no_session()
