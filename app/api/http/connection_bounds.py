"""How many connections there may be, in all and of one address, and how many there are."""

import logging
from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Final

from app.logging import Rarely
from app.settings import Settings

RESERVED_DESCRIPTORS: Final = 256
"""For the database, logs, libraries, imports, and connections that are being refused."""
DESCRIPTORS_OF_A_CONNECTION: Final = 2
"""Its socket, and a file that it sends or receives."""

log = logging.getLogger("lab.connections")


class HeldBytes:
    """Memory that clients have the service hold, by address: at most `most` in all, and of one address at most half,
    which is at least `least`.
    """

    def __init__(self, most: int, least: int) -> None:
        self.num_bytes = 0
        self.num_refused = 0
        self._most, self._most_per_address = max(most, least), max(most // 2, least)
        self._by_address: Counter[str | None] = Counter()

    def hold(self, address: str | None, num_bytes: int) -> bool:
        """Hold so many more, unless they are too many. `address` None: of nobody's in particular, whom the bound in all
        alone concerns.
        """
        held = self._by_address[address]
        if self.num_bytes + num_bytes > self._most or (
            address is not None and held + num_bytes > self._most_per_address
        ):
            self._forget_if_nothing(address)
            self.num_refused += 1
            return False
        self.num_bytes += num_bytes
        self._by_address[address] = held + num_bytes
        return True

    def let_go(self, address: str | None, num_bytes: int) -> None:
        """Hold so many less."""
        self.num_bytes -= num_bytes
        self._by_address[address] -= num_bytes
        self._forget_if_nothing(address)

    def _forget_if_nothing(self, address: str | None) -> None:
        if not self._by_address[address]:
            del self._by_address[address]


class Connections:
    """The connections of one process: their bounds, and what became of them. Of one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.most = settings.max_connections
        self.num_open = 0
        self.num_refused: Counter[str] = Counter({"all": 0, "address": 0})
        """By the bound that was reached."""
        self.num_too_slow: Counter[str] = Counter({"headers": 0, "body": 0, "answer": 0})
        """By what the client took too long for."""
        self.held = HeldBytes(
            settings.max_held_bytes, max(settings.max_image_bytes, settings.max_body_bytes)
        )
        """Bodies of requests that are not answered yet, and answers that are not read yet."""
        self.num_lingering = 0
        self.is_cut_off = False
        """Whether the service has ended what was still open, to stop."""
        self._by_address: Counter[str] = Counter()
        self._trusted = tuple(ip_network(name) for name in settings.proxies)
        self._refusing = Rarely(log)

    def fit(self, num_descriptors: int) -> None:
        """Admit no more than so many file descriptors can serve."""
        self.most = max(
            1,
            min(
                self.settings.max_connections,
                (num_descriptors - RESERVED_DESCRIPTORS) // DESCRIPTORS_OF_A_CONNECTION,
            ),
        )

    @property
    def most_per_address(self) -> int:
        """Never more than half of all, so that no address keeps out every other; 0 for no bound."""
        wanted = self.settings.max_connections_per_address
        return min(wanted, max(1, self.most // 2)) if wanted else 0

    def admit(self, address: str | None) -> str | None:
        """Count a connection from there in; or return which bound keeps it out, `all` or `address`."""
        bound = self._reached(address)
        if bound is not None:
            self.num_refused[bound] += 1
            whose = "in all" if bound == "all" else f"from {address}"
            self._refusing.warn(
                "too many connections %s (%d are open, %d at most, %d an address)",
                whose,
                self.num_open,
                self.most,
                self.most_per_address,
            )
            return bound
        self.num_open += 1
        if address is not None:
            self._by_address[address] += 1
        return None

    def whose(self, address: str | None) -> str | None:
        """The address that is to be charged for what its connection holds: nobody's where a proxy sits, which speaks
        for many.
        """
        return None if address is not None and self._is_trusted(address) else address

    def leave(self, address: str | None) -> None:
        """Count one out that was admitted."""
        self.num_open -= 1
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _reached(self, address: str | None) -> str | None:
        if self.num_open >= self.most:
            return "all"
        if (
            address is None
            or not self.most_per_address
            or self._by_address[address] < self.most_per_address
        ):
            return None
        return None if self._is_trusted(address) else "address"

    def _is_trusted(self, address: str) -> bool:
        """Whether a proxy sits there, which speaks for many."""
        there = ip_network(address)
        return any(
            there.version == trusted.version and there.subnet_of(trusted)  # type: ignore[arg-type]
            for trusted in self._trusted
        )


def address_of(host: str) -> str | None:
    """Whose connection this is: an IPv4 address, or the /64 that one machine may choose its IPv6 address from; None for
    no address at all.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return str(mapped)
    return (
        str(address)
        if address.version == 4 or address.is_loopback
        else str(ip_network((address, 64), strict=False))
    )
