"""Connections: how many there may be, and how long a client may take to say what it wants, to send it, and to read the
answer.

uvicorn serves whoever has sent a request; this bounds what comes before and after. A connection holds a file descriptor
and memory from its first moment on, so each part of it has a deadline, and all of them together have bounds that no
accept can pass.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from app.api.http.body_bounds import ASGIMessage, BoundedBody, Receive
from app.api.http.connection_bounds import Connections, address_of
from app.api.http.problems import MEDIA_TYPE, problem
from app.api.http.traffic import HAS_LEFT, READ_WITHIN

UPLOAD: Final = re.compile(r"/datasets/[^/]+/*")
"""What is put here may take long, and its route has rules of its own."""

RETRY_AFTER_SECONDS: Final = 5
LINGER_SECONDS: Final = 1.0
"""How long a connection is read on after its last answer: one closed with bytes unread would lose the answer too."""
MOST_LINGERING: Final = 64
LOOKS_AT_A_STALL: Final = 4
Send = Callable[[ASGIMessage], Awaitable[None]]

log = logging.getLogger("lab.connections")


def protocol_of(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol for uvicorn, with these bounds."""
    return type("BoundedConnection", (Connection,), {"all_of_them": connections})


class Connection(H11Protocol):
    """A connection with bounds and deadlines, and requests on it that know when their client has left."""

    all_of_them: Connections

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._within: Any = self.app
        self.app = self._serve
        self._address: str | None = None
        self._is_admitted = self._is_over = self._is_lingering = self._has_begun = False
        self._head: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._unread = self._held_unread = 0
        self._unread_since = 0.0
        self._send_seconds = self.all_of_them.settings.send_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit it and wait for a request's headers, or refuse it."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        # so that what is paused is what the client does not read
        transport.set_write_buffer_limits(high=0)
        self._address = None if self.client is None else address_of(self.client[0])
        bound = self.all_of_them.admit(self._address)
        if bound is not None:
            self._refuse(bound)
            return
        self._is_admitted = True
        self._head = self.loop.call_later(
            self.all_of_them.settings.header_seconds, self._head_is_late
        )

    def data_received(self, data: bytes) -> None:
        """Read on; what comes after the end is thrown away."""
        if self._is_over:
            return
        super().data_received(data)
        if not self._awaits_head:
            self._has_begun = False
            self._cancel_head()
            return
        self._has_begun = True
        if self._head is None:
            self._head = self.loop.call_later(
                self.all_of_them.settings.header_seconds, self._head_is_late
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Give its place back."""
        super().connection_lost(exc)
        self._let_go_of_unread()
        self._cancel_head()
        self._cancel_stall()
        if self._is_admitted:
            self._is_admitted = False
            self.all_of_them.leave(self._address)
        if self._is_lingering:
            self._is_lingering = False
            self.all_of_them.num_lingering -= 1

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered: hold the rest for it, if there is room, and look now and
        then whether it reads at all.
        """
        super().pause_writing()
        self._unread, self._unread_since = self.transport.get_write_buffer_size(), self.loop.time()
        if not self._is_over:
            if not self.all_of_them.held.hold(self._charged, self._unread):
                self.transport.abort()
                return
            self._held_unread = self._unread
        self._look_at_stall_later()

    def resume_writing(self) -> None:
        """It has read everything."""
        self._cancel_stall()
        self._let_go_of_unread()
        super().resume_writing()

    @property
    def open_request(self) -> str | None:
        """The request that is not answered yet, in words."""
        return (
            None
            if self._awaits_head
            else f"{self.scope['method']} {self.scope['raw_path'].decode('ascii', 'backslashreplace')}"
        )

    def cut_off(self) -> None:
        """End it now, since the service stops. What only reads and has no answer yet may come again; of anything else
        nobody can say what it has done.
        """
        if (
            self.open_request is not None
            and not self.cycle.response_started
            and self.scope["method"] == "GET"
        ):
            self._end(
                _raw(
                    503,
                    "stopping",
                    "The service stops",
                    "ask again when it is back",
                    {"Retry-After": str(RETRY_AFTER_SECONDS)},
                ),
                lingers=False,
            )
        else:
            self.transport.abort()

    @property
    def _awaits_head(self) -> bool:
        """Whether the next thing to come is a request's first line and headers."""
        return self.cycle is None or self.cycle.response_complete

    def _head_is_late(self) -> None:
        self._head = None
        if not self._awaits_head or self._is_over:
            return
        self.all_of_them.num_too_slow["headers"] += 1
        seconds = self.all_of_them.settings.header_seconds
        self._end(
            _raw(
                408,
                "headers_too_slow",
                "The request took too long",
                f"no whole request came within {seconds:g} s",
            )
            if self._has_begun
            else b""
        )

    def _refuse(self, bound: str) -> None:
        most = self.all_of_them.most if bound == "all" else self.all_of_them.most_per_address
        setting = "LAB_MAX_CONNECTIONS" if bound == "all" else "LAB_MAX_CONNECTIONS_PER_ADDRESS"
        whose = "of all clients" if bound == "all" else "from your address"
        detail = f"{most:,} connections {whose} are open, which is the most ({setting}); close some, or come again"
        self._end(
            _raw(503, "busy", "Busy, try again", detail, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        )

    def _end(self, answer: bytes, lingers: bool = True) -> None:
        """Say this last thing; what the client sends meanwhile is read and thrown away, for a moment."""
        self._is_over = True
        if not answer or not lingers or self.all_of_them.num_lingering >= MOST_LINGERING:
            self.transport.write(answer)
            self.transport.close()
        else:
            self.all_of_them.num_lingering += 1
            self._is_lingering = True
            self.transport.write(answer)
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _look_at_stall_later(self) -> None:
        self._stall = self.loop.call_later(
            self._send_seconds / LOOKS_AT_A_STALL, self._look_at_stall
        )

    def _look_at_stall(self) -> None:
        """While writing is paused nothing is added, so that a client which reads makes the rest smaller."""
        unread, now = self.transport.get_write_buffer_size(), self.loop.time()
        if unread != self._unread:
            self._unread, self._unread_since = unread, now
        elif now - self._unread_since >= self._send_seconds:
            self.all_of_them.num_too_slow["answer"] += 1
            self.transport.abort()
            return
        self._look_at_stall_later()

    def _read_within(self, seconds: float) -> None:
        self._send_seconds = min(seconds, self._send_seconds)

    @property
    def _charged(self) -> str | None:
        return self.all_of_them.whose(self._address)

    def _let_go_of_unread(self) -> None:
        held, self._held_unread = self._held_unread, 0
        if held:
            self.all_of_them.held.let_go(self._charged, held)

    def _cancel_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request, as uvicorn would; its body comes in time, and when its client has left the rest of the
        answer is not made.
        """
        cycle = self.cycle
        self._send_seconds = self.all_of_them.settings.send_seconds
        extensions = scope.setdefault("extensions", {})
        extensions[HAS_LEFT] = lambda: cycle.disconnected and not self.all_of_them.is_cut_off
        extensions[READ_WITHIN] = self._read_within
        has_answered = False

        async def send_to_client(message: ASGIMessage) -> None:
            nonlocal has_answered
            has_answered = True
            if cycle.disconnected and message.get("more_body"):
                raise _Left
            await send(message)

        is_upload = scope["method"] == "PUT" and UPLOAD.fullmatch(scope["path"]) is not None
        body = BoundedBody(
            receive,
            self.all_of_them,
            self._charged,
            gives_up=lambda: has_answered or scope["method"] in ("GET", "HEAD"),
        )
        try:
            if self.flow.write_paused:
                await self.flow.drain()  # who has not read the last answer gets no further one made
            await self._within(scope, receive if is_upload else body, send_to_client)
        except _Left:
            log.debug("%s %s: the client has left", scope["method"], scope["path"])
        except BaseExceptionGroup as group:  # of an answer that is streamed
            if group.split(_Left)[1] is not None:
                raise
        except asyncio.CancelledError:
            if not self.all_of_them.is_cut_off:
                raise
        finally:
            body.let_go()


class _Left(BaseException):
    """Nobody reads the answer any more. No Exception, so that nothing on the way takes it for a fault."""


def _raw(
    status: int, code: str, title: str, detail: str, headers: dict[str, str] | None = None
) -> bytes:
    """An error answer as it goes over the wire, of a connection that no application has seen."""
    content = bytes(problem(status, code, title, detail).body)
    fields = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(content)),
        "Connection": "close",
        **(headers or {}),
    }
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content
