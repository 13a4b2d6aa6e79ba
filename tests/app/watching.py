"""An application in this event loop, and clients that read its streams of events."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from app.main import create_app
from app.settings import Settings

PATIENCE = 20.0
"""Seconds that a busy machine may take for what takes milliseconds."""


@dataclass(frozen=True)
class Said:
    """An event as a client reads it."""

    name: str
    data: Any
    id: int | None
    """The number of the change, None where it carries none."""
    position: str | None = None
    """The `id` as it stands, of a log a position in it."""


def parsed(content: bytes) -> list[Said]:
    """The whole events of a stream; what was cut off within one is no event."""
    found = []
    for block in content.split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
        if "event" in fields:
            number = fields.get("id")
            found.append(
                Said(
                    fields["event"],
                    json.loads(fields["data"]),
                    int(number) if number is not None and number.isdigit() else None,
                    number,
                )
            )
    return found


class Client:
    """One request to the application; `may_read` is cleared to read nothing for a while, and `is_held_up` says that
    the service waits for that.
    """

    def __init__(self, app: FastAPI, path: str, **headers: str) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.content = bytearray()
        self.pieces: list[bytes] = []
        self.is_whole = False
        self.is_held_up = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.asked: list[float] = []
        self._left = asyncio.Event()
        self._more = asyncio.Event()
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                *(
                    (name.replace("_", "-").encode(), value.encode())
                    for name, value in headers.items()
                ),
            ],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "extensions": {"lab.read_within": self.asked.append},
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.is_held_up = not self.may_read.is_set()
        await self.may_read.wait()
        self.is_held_up = False
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.content += message["body"]
            self.pieces.append(message["body"])
            self.is_whole = not message.get("more_body", False)
        self._more.set()

    @property
    def said(self) -> list[Said]:
        """The events so far."""
        return parsed(bytes(self.content))

    def last(self, name: str) -> Any:
        """The data of the newest event of that name, None where there was none."""
        return next((one.data for one in reversed(self.said) if one.name == name), None)

    async def until(self, is_so: Callable[["Client"], Any]) -> Any:
        """Wait for what comes to make this true; returns it."""
        async with asyncio.timeout(PATIENCE):
            while not (found := is_so(self)):
                assert not self.task.done() or not self.task.exception(), self.task.exception()
                self._more.clear()
                await self._more.wait()
        return found

    async def leave(self) -> None:
        """Go; returns when the service knows."""
        self._left.set()
        self.may_read.set()
        await asyncio.wait_for(self.task, PATIENCE)


@asynccontextmanager
async def service(settings: Settings) -> AsyncIterator[FastAPI]:
    """The application, started."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def watching(app: FastAPI, path: str, **headers: str) -> AsyncIterator[Client]:
    """A stream that has begun."""
    client = Client(app, path, **headers)
    await client.until(lambda one: one.content)
    try:
        yield client
    finally:
        await client.leave()
