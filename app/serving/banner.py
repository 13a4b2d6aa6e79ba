"""What `lab serve` and `lab api` say once they listen: where, with what, and what to do next. Lines for people, or one
record for programs.
"""

import logging
import socket
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.logging import about
from app.services.upkeep.holdings import Holdings
from app.serving.sockets import named
from lab_models.common.revision import package_version

WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - said, not listened on

log = logging.getLogger("lab.serve")


@dataclass(frozen=True)
class Banner:
    """What there is to say. `devices` has the device of each worker that is started; none for the API alone."""

    sockets: Sequence[socket.socket]
    home: Path
    holdings: Holdings
    devices: Sequence[str]
    needs_keys: bool

    @property
    def url(self) -> str:
        """Where it can be reached from this machine."""
        address, _, port = named(self.sockets[0]).rpartition(":")
        return f"http://{WILDCARDS.get(address, address)}:{port}"

    def lines(self) -> list[str]:
        """For people, at 80 columns, as far as names are short."""
        listening_everywhere = any(
            named(one).rpartition(":")[0] in WILDCARDS for one in self.sockets
        )
        elsewhere = ", and from outside under this machine's name" if listening_everywhere else ""
        rows = [
            ("address", f"{self.url}{elsewhere} (pages in a browser)"),
            ("routes", f"{self.url}/docs shows all, and tries them out"),
            ("home", f"{self.home}"),
            ("", self._holdings()),
            ("workers", self._workers()),
            *([("", self._others())] if self.holdings.workers else []),
            *(
                [("keys", "each request needs one: lab keys create NAME")]
                if self.needs_keys
                else []
            ),
            *self._next(),
            ("stop", "Ctrl-C: what is trained is saved, and goes on at the next start"),
        ]
        return [
            f"training-lab {package_version() or ''} is up.".replace("  ", " "),
            *(f"  {name:<9}{text}" for name, text in rows),
        ]

    def announce(self, log_format: str) -> None:
        """Say it on standard output, or as a record; nothing where the log is to be quieter than that."""
        if not log.isEnabledFor(logging.INFO):
            return
        if log_format == "json":
            log.info("serving at %s", self.url, extra=about(**self._fields()))
            return
        with suppress(OSError, UnicodeError):  # nobody reads it, or cannot read the home's name
            print("\n".join(["", *self.lines(), ""]), flush=True)

    def _holdings(self) -> str:
        parts = [_counted(self.holdings.experiments, "experiment")]
        parts += [f"{_counted(self.holdings.running, 'run')} under way"] * bool(
            self.holdings.running
        )
        parts += [f"{_counted(self.holdings.queued, 'run')} queued"] * bool(self.holdings.queued)
        return ", ".join(parts)

    def _workers(self) -> str:
        if not self.devices:
            return "none of its own: lab worker starts some"
        dealt = Counter(self.devices)
        where = ", ".join(
            f"{count} on {device}" if count > 1 or len(dealt) == 1 else device
            for device, count in dealt.items()
        )
        return f"{where}; starting, which takes some seconds"

    def _others(self) -> str:
        """A second service in one home is allowed, and shares its queue; who starts one by mistake reads it here."""
        return f"{_counted(self.holdings.workers, 'other')} seen in this home within the last 20 s"

    def _next(self) -> list[tuple[str, str]]:
        if self.holdings.experiments:
            return [("next", "lab recipes lists studies; lab submit FILE --wait sends a spec")]
        key = [("", '  -H "Authorization: Bearer $LAB_API_KEY" \\')] if self.needs_keys else []
        return [
            ("next", """curl -d '{"model": "mlp", "dataset": "digits"}' \\"""),
            *key,
            ("", f"  {self.url}/experiments"),
        ]

    def _fields(self) -> dict[str, object]:
        return {
            "home": str(self.home),
            "experiments": self.holdings.experiments,
            "runs_running": self.holdings.running,
            "runs_queued": self.holdings.queued,
            "devices": list(self.devices),
            "needs_keys": self.needs_keys,
        }


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
