"""How long `lab worker` works where it is a job of a batch system: until nothing is left to do, or its time is over."""

import logging
import math
import socket
import time
from contextlib import ExitStack
from types import TracebackType

from sqlalchemy.exc import OperationalError

from app.services import lifecycle
from app.services.lifecycle import workers as shown
from app.serving.workers import Workers
from app.settings import Settings
from app.storage.db import Database

LOOK_SECONDS = 1.0
TROUBLE_SECONDS = 30.0
"""How long none of its workers may be able to train before a job is given up: memory of the job before it may still be
let go.
"""

log = logging.getLogger("lab.serve")


class Shift:
    """Says when its workers are to leave. Used as a context: it may keep a connection.

    Empty is what all of them find together: a run that one of them trains may be queued again, or be what others wait
    for, and then there is something to do.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Workers,
        began: float,
        until_empty: bool = False,
        max_seconds: float = math.inf,
    ) -> None:
        self._settings, self._workers = settings, workers
        self._until_empty, self._max_seconds = until_empty, max_seconds
        self._ends = began + max_seconds
        self._looked = -math.inf
        self._fit_at = began
        self.has_failed = False
        self._stack = ExitStack()

    def __enter__(self) -> "Shift":
        if self._until_empty:
            self._database = Database(self._settings.effective_database_url)
            self._stack.callback(self._database.close)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def is_over(self) -> bool:
        """Whether the workers are to save what they train and leave now."""
        now = time.monotonic()
        if now >= self._ends:
            log.info(
                "%g seconds are over: the workers save their runs and leave", self._max_seconds
            )
            return True
        if not self._until_empty or now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        if self._is_given_up(now):
            self.has_failed = True
            log.error("none of the workers can train: the job ends; the lines above say why")
            return True
        if self._is_something_to_do():
            return False
        log.info("nothing is queued that could be claimed: the workers leave")
        return True

    def _is_given_up(self, now: float) -> bool:
        """Whether its workers are there and cannot train, none of them, for some time."""
        try:
            with self._database.reading() as session:
                is_unfit = shown.are_all_in_trouble(
                    session, socket.gethostname(), self._workers.pids, self._workers.count
                )
        except OperationalError:
            return False
        if not is_unfit:
            self._fit_at = now
        return now - self._fit_at > TROUBLE_SECONDS

    def _is_something_to_do(self) -> bool:
        """One look, so that a run cannot be taken between two questions. A database that does not answer may have
        something.
        """
        try:
            with self._database.reading() as session:
                mine = (session, socket.gethostname(), self._workers.pids)
                return shown.are_training(*mine) or lifecycle.is_any_to_take(
                    session, self._settings.max_running_per_owner, shown.kinds_of(*mine)
                )
        except OperationalError as error:
            log.warning("the database did not answer (%s); looking again", error.orig)
            return True
