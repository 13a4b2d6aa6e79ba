"""A proxy on loopback that does to requests what a list says, one after the other, and then passes all on."""

import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, get_args

import httpx

Fault = Literal["drop before", "drop after", "cut", "502", "503", "429", "slow", "pass"]
FAULTS = get_args(Fault)
PATIENCE = 1.0
"""Seconds for which clients of these tests wait."""
SLOW_SECONDS = 1.3
"""Longer than that."""


class FaultyProxy:
    """Between a client and the service."""

    def __init__(self, service: str) -> None:
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, Fault]] = []
        """Method, path and what was done, of every request that came."""
        proxy = self
        self._http = httpx.Client(timeout=30)

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return None
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.faults.pop(0) if proxy.faults else "pass"
                proxy.asked.append((self.command, self.path, fault))
                self.close_connection = True
                if fault == "drop before":
                    return self._reset()
                if fault in ("502", "503", "429"):
                    return self._refuse(int(fault))
                answer = proxy._http.request(
                    self.command,
                    f"{service}{self.path}",
                    content=body,
                    headers={
                        name: value
                        for name, value in self.headers.items()
                        if name.lower() not in ("host", "connection", "accept-encoding")
                    },
                )
                if fault == "slow":
                    time.sleep(SLOW_SECONDS)
                if fault == "drop after":
                    return self._reset()
                self.send_response(answer.status_code)
                for name in ("content-type", "retry-after"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                half = len(answer.content) // 2
                self.wfile.write(answer.content[:half] if fault == "cut" else answer.content)
                return None

            def _refuse(self, status: int) -> None:
                self.send_response(status)
                if status != 502:
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _reset(self) -> None:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def done(self) -> list[str]:
        return [fault for _, _, fault in self.asked]

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()
