"""What a run's trainer wrote, as text."""

import re
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response

from app.api.http import passes
from app.api.http.deps import Reading, TheRun, TheSettings
from app.errors import RangeNotSatisfiable
from app.services.experiments.logs import LONGEST_TAIL, MOST_BYTES, Log, log_of

router = passes.router(prefix="/runs", tags=["runs"])

TEXT = "text/plain; charset=utf-8"
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@router.get(
    "/{run_id}/log",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}},
        206: {"description": "The bytes that `Range` asks for", "content": {"text/plain": {}}},
        416: {"description": "The log has no such bytes"},
    },
)
def read_log(
    request: Request,
    session: Reading,
    run: TheRun,
    settings: TheSettings,
    attempt: Annotated[
        int | None, Query(ge=1, le=1_000_000, description="Which attempt's; null: the last one's")
    ] = None,
    tail: Annotated[
        int | None, Query(ge=1, le=LONGEST_TAIL, description="So many last lines; null: all of it")
    ] = None,
) -> Any:
    """What the run's trainer wrote: a line for each epoch, warnings, the error that ended it. Other control characters
    than line ends and tabs come as `?`, a byte for a byte, so that `Range` goes on where a reader stopped.
    """
    log = log_of(session, run, attempt, settings.home)
    wanted = request.headers.get("range")
    answer = partial(_tail, log, tail) if tail is not None else partial(_whole_or_part, log, wanted)
    address = f"{request.url.path}?attempt={log.attempt}"
    return passes.Compute(partial(answer, {"Content-Location": address}), lane="files")


def _tail(log: Log, lines: int, headers: dict[str, str]) -> Response:
    return Response(log.tail(lines), media_type=TEXT, headers=headers)


def _whole_or_part(log: Log, wanted: str | None, headers: dict[str, str]) -> Response:
    """The whole, at most its last MOST_BYTES; or one range of it. What is no range of bytes is as if not asked for."""
    size = log.size()
    headers = {**headers, "Accept-Ranges": "bytes"}
    asked = None if wanted is None else RANGE.fullmatch(wanted.strip())
    if asked is None or not any(asked.groups()):
        return Response(log.part(max(0, size - MOST_BYTES), size), media_type=TEXT, headers=headers)
    first, end = _ends(asked[1], asked[2], size)
    if first >= end:
        raise RangeNotSatisfiable(f"the log has {size} bytes, and none in {wanted}", size)
    end = min(end, first + MOST_BYTES)
    content = log.part(first, end)
    headers["Content-Range"] = f"bytes {first}-{first + len(content) - 1}/{size}"
    return Response(content, 206, media_type=TEXT, headers=headers)


def _ends(first: str, last: str, size: int) -> tuple[int, int]:
    """The first byte, and the one after the last."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
