"""A bucket on loopback: moto's server in a process of its own, and a wire to it that can be cut."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

NAME = "lab"
START_SECONDS = 60.0
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "anybody",
    "AWS_SECRET_ACCESS_KEY": "anything",
    "AWS_REGION": "us-east-1",
}


class Wire:
    """A relay to a port, which can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self.port = 0
        self.mend()

    def cut(self) -> None:
        """Nothing goes through, and nobody can connect."""
        listener, self._listener = self._listener, None
        for one in (listener, *self._open):
            if one is not None:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        self._open.clear()

    def mend(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    ours, _ = listener.accept()
                except OSError:
                    return
                try:
                    theirs = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    ours.close()
                    return
                self._open += [ours, theirs]
                for one, other in ((ours, theirs), (theirs, ours)):
                    threading.Thread(target=_pipe, args=(one, other), daemon=True).start()
                if self._listener is not listener:  # cut meanwhile, without these two
                    for one in (ours, theirs):
                        with suppress(OSError):
                            one.shutdown(socket.SHUT_RDWR)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


class Buckets:
    """A server with one bucket. Each test takes a prefix of its own."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wire = Wire(self._port)
        self._wait_until_made()
        self._taken = 0

    def take(self) -> str:
        """An address that nobody has used."""
        self._taken += 1
        return f"s3://{NAME}/{self._taken}"

    @property
    def environment(self) -> dict[str, str]:
        """Where it is and who asks."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.wire.port}"}

    def stop(self) -> None:
        self.wire.cut()
        self._process.kill()
        self._process.wait()

    def _wait_until_made(self) -> None:
        made = urllib.request.Request(f"http://127.0.0.1:{self._port}/{NAME}", method="PUT")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError):
                urllib.request.urlopen(made)
                return
            time.sleep(0.05)
        raise AssertionError("the server of buckets does not answer")


@contextmanager
def served() -> Iterator[Buckets]:
    """A server within the block; skips where its program or the client's library is not installed."""
    for package in ("moto", "flask", "obstore"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    server = Buckets()
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patched.delenv(name)
        for name, value in server.environment.items():
            patched.setenv(name, value)
        yield server
    server.stop()
