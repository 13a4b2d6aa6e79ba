"""`lab sync … --follow` as a process beside another command, such as one that waits: whatever the tracker does, that
goes on.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

MODULE: Final = "training_lab.commands.sync_process"
LAST_SECONDS: Final = 60.0
"""How long the end of the jobs is waited beyond, so that the last epochs arrive."""


class SyncBeside:
    """Sends experiments to a tracker until they have ended. Used as a context: at its end what is left is waited for, a
    minute at most; after an exception, such as Ctrl-C, it is ended at once. It raises nothing: what it has to say, also
    that the tracker cannot be reached, goes to `say`, a line at a time and from a thread of its own.
    """

    def __init__(
        self,
        tracker: str,
        ids: Sequence[str],
        *,
        url: str,
        project: str | None = None,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        """`ids`: of experiments and studies. `url`: the service; its key is the one of this process."""
        self._say, self._tracker = say, tracker
        self._again = f"`lab sync {tracker} {' '.join(ids)}`"
        named = [] if project is None else ["--project", project]
        words = [tracker, *ids, "--follow", "--url", url, *named]
        tied = ["--parent-pid", str(os.getpid())]
        self._process: subprocess.Popen[str] | None = None
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", MODULE, *tied, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            say(f"{tracker}: not started ({error}); {self._again} sends it later")
            return
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def __enter__(self) -> "SyncBeside":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.join(LAST_SECONDS if kind is None else 0.0)

    def join(self, seconds: float = LAST_SECONDS) -> bool:
        """Wait until all has been sent, so long at most, and end it; returns whether all has."""
        if self._process is None:
            return False
        try:
            status: int | None = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            self._process.kill()
            self._process.wait()
        self._thread.join(1.0)
        if status != 0:
            self._say(f"{self._tracker}: not all has been sent; {self._again} sends the rest")
        return status == 0

    def _pass_on(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._say(line.rstrip("\n"))
