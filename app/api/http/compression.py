"""Answers of text leave compressed where the client takes that."""

import zlib
from typing import Final

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_BYTES: Final = 1024
"""What is smaller gains nothing."""
AT_ONCE: Final = 64 * 1024
"""Bytes that take a millisecond; more are compressed in a thread."""
LEVEL: Final = 4
GZIP: Final = 16 + zlib.MAX_WBITS
TEXTS: Final = frozenset(
    {
        "application/json",
        "application/problem+json",
        "image/svg+xml",
        "text/csv",
        "text/html",
        "text/markdown",
        "text/plain",
    }
)
"""Streams of events are not among them, whose reader waits for each, nor what is packed already."""


class Compression:
    """An ASGI application whose texts of `LEAST_BYTES` and more are sent as gzip to whoever accepts it.

    What can be asked for in ranges is left as it is: a range counts the bytes of the file. A tag becomes a weak one:
    two encodings are not the same bytes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and _accepts_gzip(Headers(scope=scope)):
            send = _Compressed(send, is_head=scope["method"] == "HEAD")
        await self._app(scope, receive, send)


class _Compressed:
    """`send` of one answer; its beginning is held back until its content is packed, if it comes whole."""

    def __init__(self, send: Send, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self._start: Message | None = None
        self._packer: zlib._Compress | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if _is_text(Headers(raw=message["headers"]), message["status"]):
                self._start = message
                return
        elif message["type"] == "http.response.body":
            if self._start is not None:
                await self._begin(message)
            if self._packer is not None:
                message = await self._packed(message, self._packer)
        await self._send(message)

    async def _begin(self, first: Message) -> None:
        start, self._start = self._start, None
        assert start is not None
        headers = MutableHeaders(raw=list(start["headers"]))
        headers.add_vary_header("Accept-Encoding")
        length = headers.get("Content-Length")
        if length is None or int(length) >= LEAST_BYTES:
            headers["Content-Encoding"] = "gzip"
            del headers["Content-Length"]
            tag = headers.get("ETag")
            if tag is not None and not tag.startswith("W/"):
                headers["ETag"] = f"W/{tag}"
            if not self._is_head:
                self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
            if self._packer is not None and not first.get("more_body"):
                packed = await self._packed(first, self._packer)
                first["body"], self._packer = packed["body"], None
                headers["Content-Length"] = str(len(first["body"]))
        await self._send({**start, "headers": headers.raw})

    async def _packed(self, message: Message, packer: "zlib._Compress") -> Message:
        body, is_last = message.get("body", b""), not message.get("more_body")
        end = zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH  # each piece arrives when it is sent

        def pack() -> bytes:
            return packer.compress(body) + packer.flush(end)

        return {**message, "body": pack() if len(body) <= AT_ONCE else await run_sync(pack)}


def _accepts_gzip(headers: Headers) -> bool:
    for part in headers.get("accept-encoding", "").split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _is_text(headers: Headers, status: int) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        media_type in TEXTS
        and status not in (204, 206, 304)
        and "content-encoding" not in headers
        and "accept-ranges" not in headers
    )
