"""Answers too large to be held: made piece by piece, each piece a pass of its own, so that nothing is held while the
client reads.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final, TypeVar

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from app.api.http.passes import client_of, passes_of
from app.errors import Busy, Overloaded
from app.services.experiments.exports import Piece
from app.storage.db import Database

AT_ONCE: Final = 256 * 1024
"""Bytes: what is no larger is answered whole, with its length."""

EMPTY_AT_ONCE: Final = 20
"""Pieces that held nothing; more are not read in one pass: what is looked for may be far between."""

TRIES: Final = 60
AGAIN_SECONDS: Final = 1.0
"""How often a piece asks for its turn, and after how long, while too many others stand in line: an answer that has
begun cannot become a 503.
"""

Result = TypeVar("Result")


def in_pieces(
    request: Request,
    session: Session,
    pieces: Iterator[Piece],
    media_type: str,
    headers: dict[str, str] | None = None,
) -> Response:
    """The whole answer where it is small; else a stream that begins with what has been read in this pass."""
    begun = bytearray()
    num_empty = 0
    for piece in pieces:
        found = piece(session)
        begun += found
        num_empty += not found
        if len(begun) >= AT_ONCE or num_empty >= EMPTY_AT_ONCE:
            return StreamingResponse(
                _pieces(request, bytes(begun), pieces), media_type=media_type, headers=headers
            )
    return Response(bytes(begun), media_type=media_type, headers=headers)


async def _pieces(request: Request, begun: bytes, pieces: Iterator[Piece]) -> AsyncIterator[bytes]:
    yield begun
    for piece in pieces:
        if found := await in_a_pass(request, piece):
            yield found


async def in_a_pass(request: Request, work: Callable[[Session], Result]) -> Result:
    """One look of an answer that has begun; raises Overloaded once it has waited for its turn for a minute."""
    database: Database = request.app.state.database
    lanes = passes_of(request)

    def read() -> Result:
        with database.reading() as session:
            return work(session)

    return await patiently(lambda: lanes.go(lanes.reading, client_of(request), read))


async def patiently(ask: Callable[[], Awaitable[Result]]) -> Result:
    """What is asked for, asked again while too many others stand in line."""
    for _ in range(TRIES - 1):
        try:
            return await ask()
        except (Overloaded, Busy):
            await asyncio.sleep(AGAIN_SECONDS)
    return await ask()
