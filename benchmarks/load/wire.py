"""HTTP/1.1 over asyncio's streams, as little of it as a load needs: what a client library costs would be taken from the
service and from training.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

IDLE_SECONDS = 3.0
"""A connection that has been idle for longer is not used again: the service may be about to close it."""

LINE_LIMIT = 2**20


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Broken(Exception):
    """The connection was closed before the answer was whole."""


class Client:
    """A session as a browser or a script has one: connections are kept and used again, and another is opened when none
    is free.
    """

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        assert parts.scheme == "http", f"{url}: only http is spoken here"
        assert parts.hostname is not None, f"{url} names no host"
        self._host, self._port = parts.hostname, parts.port or 80
        self._always = f"Host: {self._host}:{self._port}\r\n" + (
            f"Authorization: Bearer {key}\r\n" if key else ""
        )
        self._free: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and its whole answer; raises OSError or Broken."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
        head = f"{method} {path} HTTP/1.1\r\n{self._always}{lines}{length}\r\n".encode()
        reader, writer = await self._connection()
        kept = False
        try:
            writer.write(head + (body or b""))
            answer = await _read(reader)
            kept = answer.headers.get("connection", "").lower() != "close"
        except asyncio.IncompleteReadError as error:
            raise Broken(f"closed after {len(error.partial)} bytes of an answer's part") from error
        finally:
            if kept:
                self._free.append((time.monotonic(), reader, writer))
            else:
                writer.close()
        return answer

    def close(self) -> None:
        """Give up every idle connection."""
        for _, _, writer in self._free:
            writer.close()
        self._free.clear()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            since, reader, writer = self._free.pop()
            if (
                time.monotonic() - since < IDLE_SECONDS
                and not reader.at_eof()
                and not writer.is_closing()
            ):
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port, limit=LINE_LIMIT)


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    if status in (204, 304):
        return Answer(status, headers, b"")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(status, headers, await _read_chunks(reader))
    return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(chunks)
