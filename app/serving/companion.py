"""A process beside the API that does one thing while there is something of it to do: started, watched, started again,
ended.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from app.services.lifecycle.local_workers import LocalWorkers
from app.serving.last_words import LastWords

WATCH_SECONDS = 0.2
LOOK_SECONDS = 2.0
"""How often is looked whether one is wanted."""
GRACE_SECONDS = 5.0
"""How long it may take to leave."""
THE_ONE = 0

log = logging.getLogger("lab.serve")


@dataclass(frozen=True)
class Equipment:
    """What a process is started with, beside the module: arguments, and what its environment has besides ours."""

    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Companion:
    """`python -m MODULE --parent-pid …`, at most one at a time, started again when it dies, after longer and longer
    pauses when it dies at once. One that ends with status 0 has nothing more to do, and another starts when `is_wanted`
    says so, which must not raise. It runs in a session of its own, so that Ctrl-C reaches it through here only.

    One thread starts, watches and ends it: the kernel kills it when that thread ends.
    """

    def __init__(
        self,
        module: str,
        is_wanted: Callable[[], bool],
        *,
        name: str | None = None,
        equip: Callable[[], Equipment] = Equipment,
    ) -> None:
        """`name`: what the log calls it, else the module. `equip` is asked before each start, by the thread that starts
        it; when it raises, that is a start that has failed.
        """
        self._module, self._is_wanted = module, is_wanted
        self._name, self._equip = name or module, equip
        self._fate = LocalWorkers()
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._words: LastWords | None = None
        self._due = 0.0
        self._thread = threading.Thread(target=self._watch, name=self._name)

    def start(self) -> None:
        """Begin to look whether it is wanted; returns at once."""
        self._thread.start()

    def ask_to_leave(self) -> None:
        """Ask it to leave; returns at once."""
        self._ending.set()

    def stop(self) -> None:
        """The same; returns when it is gone."""
        self.ask_to_leave()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            if self._process is not None:
                self._bury(self._process)
            elif time.monotonic() >= self._due:
                self._due = time.monotonic() + LOOK_SECONDS
                if self._is_wanted():
                    self._start_one()
        self._end()

    def _bury(self, process: "subprocess.Popen[bytes]") -> None:
        """See whether it has ended, and when another may start."""
        status = process.poll()
        if status is None:
            return
        self._process = None
        said = "" if self._words is None else self._words.said()
        if status == 0:
            self._due = time.monotonic() + LOOK_SECONDS
            return
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._has_ended(f"{how} ({said})" if said else how)

    def _has_ended(self, how: str) -> None:
        pause = self._fate.has_ended(THE_ONE, how)
        self._due = time.monotonic() + pause
        log.error("%s ended, %s; the next one starts in %g s", self._name, how, pause)

    def _start_one(self) -> None:
        self._fate.starts(THE_ONE)
        own = [sys.executable, "-P", "-m", self._module, "--parent-pid", str(os.getpid())]
        try:
            equipment = self._equip()
            self._process = process = subprocess.Popen(  # noqa: S603
                [*own, *equipment.arguments],
                env={**os.environ, **equipment.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, SQLAlchemyError) as error:
            self._has_ended(f"as it could not be started ({error})")
            return
        assert process.stderr is not None
        self._words = LastWords(process.stderr)

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            log.error("%s did not leave in time and is killed", self._name)
            self._process.kill()
            self._process.wait()
        if self._words is not None:
            self._words.wait()
