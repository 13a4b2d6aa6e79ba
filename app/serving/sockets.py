"""Where the API listens: sockets, and how many descriptors there may be."""

import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from app.api.http.server import BACKLOG


class CannotListen(Exception):
    """Nothing can be served at this address."""


@contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Sockets that listen at every address of this name. Raises CannotListen."""
    sockets: list[socket.socket] = []
    try:
        try:
            found = socket.getaddrinfo(
                host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, address in dict.fromkeys(found):
                sockets.append(_listening_at(family, kind, protocol, address))
        except OSError as error:
            hint = (
                "; another service runs there: stop it, or take another port with --port"
                if error.errno == errno.EADDRINUSE
                else ""
            )
            raise CannotListen(
                f"cannot listen on {host}:{port}: {error.strerror or error}{hint}"
            ) from error
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
