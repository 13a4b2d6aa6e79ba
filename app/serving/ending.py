"""SIGINT and SIGTERM: an end in good order, or at once."""

import logging
import os
import signal
import sys
from types import FrameType

from app.api.http.server import Server

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130


class Ending:
    """SIGINT, SIGTERM and the `further` signals: the first asks for an end in good order, a Ctrl-C after it ends the
    process at once, and with it what it has started.
    """

    def __init__(self, *further: signal.Signals) -> None:
        self.is_asked_for = False
        self._server: Server | None = None
        for number in (signal.SIGINT, signal.SIGTERM, *further):
            signal.signal(number, self._heard)

    def tell(self, server: Server) -> None:
        """Let the server know when it is asked for, or at once if it was already."""
        self._server = server
        server.should_exit = server.should_exit or self.is_asked_for

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        if self.is_asked_for and number == signal.SIGINT:
            os._exit(EXIT_INTERRUPTED)
        self.is_asked_for = True
        if self._server is not None:
            self._server.should_exit = True


def leave(status: int) -> int:
    """End the process at once: no thread that is busy for a request which was cut off is waited for."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
