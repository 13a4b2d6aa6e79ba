"""How far each run has been sent, in the user's state folder: a file for each experiment and target."""

import fcntl
import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from training_lab.errors import Unusable
from training_lab.user_folders import user_folder

PRIVATE: Final = 0o700


@dataclass(frozen=True)
class Cursor:
    """Of one run: the last epoch that the tracker has, of which attempt, and whether it was told the end."""

    epoch: int = 0
    attempt: int = 0
    is_finished: bool = False


class Cursors:
    """Of one tracker's target. Written whole or not at all, so that a kill leaves the one before."""

    def __init__(self, state: Path, sink: str, target: str) -> None:
        """`state`: the folder of all. Raises Unusable where it cannot be written."""
        digest = hashlib.sha256(target.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._folder = state / sink / digest
        try:
            self._folder.mkdir(PRIVATE, parents=True, exist_ok=True)
            (self._folder / "target").write_text(f"{target}\n", "utf-8", "surrogateescape")
        except OSError as error:
            raise Unusable(
                f"{self._folder}: what was sent cannot be noted here ({error.strerror}): set XDG_STATE_HOME"
            ) from error

    def read(self, experiment_id: str) -> dict[str, Cursor]:
        """By run; what cannot be read counts as nothing sent, and is sent again."""
        try:
            found = json.loads(self._path(experiment_id).read_bytes())
            return {run: Cursor(**said) for run, said in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def write(self, experiment_id: str, run_id: str, cursor: Cursor) -> None:
        """Note how far a run is; raises Unusable."""
        all_runs = {**self.read(experiment_id), run_id: cursor}
        document = json.dumps({run: asdict(one) for run, one in all_runs.items()})
        path = self._path(experiment_id)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            beside.write_text(document)
            beside.replace(path)
        except OSError as error:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise Unusable(f"{path} cannot be written: {error.strerror}") from error

    def forget(self, experiment_id: str) -> None:
        """As if nothing had been sent."""
        self._path(experiment_id).unlink(missing_ok=True)

    @contextmanager
    def held(self, experiment_id: str) -> Iterator[bool]:
        """Whether this process is the one that sends this experiment now; another that is killed lets go."""
        with (self._folder / f"{experiment_id}.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # a file system that has no locks
                yield True
                return
            yield True

    def _path(self, experiment_id: str) -> Path:
        return self._folder / f"{experiment_id}.json"


def state_folder() -> Path:
    """`lab/sync` in $XDG_STATE_HOME, else in ~/.local/state."""
    return user_folder("XDG_STATE_HOME", ".local", "state") / "lab" / "sync"
