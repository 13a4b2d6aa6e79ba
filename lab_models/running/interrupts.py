"""Ctrl-C while a run is trained: the step ends first, and the run is saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class StopFlag:
    """Set by the first Ctrl-C, which lets the current step end; the second interrupts at once."""

    def __init__(self) -> None:
        self.is_set = False

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM within the block."""

        def request_stop(number: int, _frame: object) -> None:
            self.is_set = True
            signal.signal(number, signal.default_int_handler)

        interrupts = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, request_stop) for number in interrupts}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
