"""uvicorn's server, stopped within a second whatever is open, and told of accepts that fail without telling the log
each time.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from app.api.http.connection_bounds import Connections
from app.api.http.connections import Connection, protocol_of
from app.logging import Rarely

BACKLOG: Final = 512
"""Connections that the kernel keeps while the event loop is busy: more than a class sends at once."""
GRACE_SECONDS: Final = 0.5
"""How long what is open may take to end by itself once the service stops. What is written is written whole or not at
all, so more would gain nothing.
"""
MOST_SHOWN: Final = 5

log = logging.getLogger("lab.serve")


class Server(uvicorn.Server):
    """Serves an application whose `app.state` may have a `stopping` that wants to know first; `heeded_by` are told as
    well.

    Signals are the caller's: set `should_exit`. When `serve` has returned, threads may still be busy with requests that
    were cut off: the process is to be ended without waiting for them.
    """

    def __init__(
        self,
        app: FastAPI,
        connections: Connections,
        trusted_proxies: list[str],
        *heeded_by: Callable[[], None],
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_of(connections),
                loop="asyncio",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=trusted_proxies,
                backlog=BACKLOG,
            )
        )
        self._app, self._connections, self._heeded_by = app, connections, heeded_by
        self._failed_accepts = Rarely(log)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None are captured."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        asyncio.get_running_loop().set_exception_handler(self._report)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those who wait answer, let requests end for a moment, cut off the rest."""
        stopping = getattr(self._app.state, "stopping", None)
        if stopping is not None:
            stopping.set()
        for heed in self._heeded_by:
            heed()
        cutting = asyncio.create_task(self._cut_off())
        await super().shutdown(sockets)
        cutting.cancel()
        if self.force_exit:
            await self.lifespan.shutdown()  # which uvicorn leaves out then

    async def _cut_off(self) -> None:
        if open_requests := self._open_requests():
            log.info("stopping: %s may take %g s more", _in_words(open_requests), GRACE_SECONDS)
        await asyncio.sleep(GRACE_SECONDS)
        if open_requests := self._open_requests():
            log.warning("stopping: %s cut off", _in_words(open_requests))
        self._connections.is_cut_off = True
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.cut_off()
        await asyncio.sleep(0)  # now they know that nobody listens
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(0)  # their ends run before uvicorn's
        self.force_exit = True

    def _open_requests(self) -> list[str]:
        found = (
            connection.open_request
            for connection in self.server_state.connections
            if isinstance(connection, Connection)
        )
        return [request for request in found if request is not None]

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """asyncio tries to accept as often as the backlog is long each time, and reports each failure."""
        if str(context.get("message", "")).startswith("socket.accept()"):
            self._failed_accepts.warn(
                "a connection could not be accepted: %s", context.get("exception")
            )
        else:
            loop.default_exception_handler(context)


def _in_words(open_requests: list[str]) -> str:
    shown = ", ".join(sorted(open_requests)[:MOST_SHOWN])
    return (
        f"{len(open_requests)} open request{'' if len(open_requests) == 1 else 's'}"
        f" ({shown}{', …' if len(open_requests) > MOST_SHOWN else ''})"
    )
