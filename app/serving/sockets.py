"""Where the API listens: sockets, and how many descriptors there may be."""

import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from app.api.http.server import BACKLOG
from app.errors import Misconfigured

PORTS_TRIED, MOST_PORT = 100, 65_535


class CannotListen(Misconfigured):
    """Nothing can be served at this address."""


@contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets that listen at every address of this name. Raises CannotListen."""
    try:
        sockets = _listen(host, port)
    except OSError as error:
        raise CannotListen(_why_not(error, host, port)) from error
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


def named(one: socket.socket) -> str:
    """Its address and port, as in a URL."""
    address, port = one.getsockname()[:2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def raise_descriptor_limit(wanted: int) -> int:
    """Let this process open so many files and connections, or as many as the system lets it; returns how many that
    are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def _listen(host: str, port: int) -> list[socket.socket]:
    """At every address or at none: raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sockets.append(_listening_at(family, kind, protocol, address))
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"cannot listen on {host}:{port}: {error.strerror or error}"
    others = range(port + 1, min(port + PORTS_TRIED, MOST_PORT) + 1)
    free = next((other for other in others if _is_free(host, other)), None)
    another = "take another port with `--port`" if free is None else f"`--port {free}` is free"
    return f"port {port} is taken (by another lab serve?): {another}"


def _is_free(host: str, port: int) -> bool:
    try:
        sockets = _listen(host, port)
    except OSError:
        return False
    for one in sockets:
        one.close()
    return True


def _listening_at(
    family: int, kind: int, protocol: int, address: tuple[object, ...]
) -> socket.socket:
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one
