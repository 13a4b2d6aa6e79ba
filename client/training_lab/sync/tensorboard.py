"""TensorBoard: event files in a folder, one folder a seed. Nothing has to be installed to write them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from training_lab import event_files
from training_lab.errors import Unusable
from training_lab.sync.sink import RunInfo, SinkOptions, Tracker, TrackerAway
from training_lab.sync.texts import as_folder_name, config_table

USUAL_FOLDER: Final = "tensorboard"
PICTURES: Final = ".png"


def tracker(options: SinkOptions) -> Tracker:
    """Event files below the folder `options.to`; raises Unusable where that is a file."""
    folder = Path(options.to or USUAL_FOLDER).absolute()
    if folder.exists() and not folder.is_dir():
        raise Unusable(f"{folder} is no folder: name one by --to, in which event files are to be")
    return Tracker("tensorboard", str(folder), lambda: TensorBoardSink(folder))


class TensorBoardSink:
    """A run as an event file, which is added to."""

    keeps_at_once = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder
        self._last_step = 0
        self._last_at = 0.0

    def begin(self, run: RunInfo) -> None:
        """Make the file, or find it, cut behind the last record that is whole."""
        started = 0.0 if run.started_at is None else run.started_at.timestamp()
        try:
            self._path = self._place(run)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            found = self._path.read_bytes() if self._path.exists() else b""
            ends = list(event_files.whole_records(found))
            self._last_step = max((step for _, step in ends), default=0)
            self._last_at = started
            if not ends:
                head = event_files.beginning(started)
                self._path.write_bytes(
                    head + event_files.text(started, 0, "config", config_table(run))
                )
            elif ends[-1][0] < len(found):
                with self._path.open("r+b") as file:
                    file.truncate(ends[-1][0])
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def log(self, epoch: int, at: datetime, values: Mapping[str, float]) -> None:
        """Add a record; before one of an epoch that was there already another, by which readers forget that."""
        moment = at.timestamp()
        again = event_files.going_back(moment, epoch) if epoch <= self._last_step else b""
        self._add(again + event_files.scalars(moment, epoch, values))
        self._last_step, self._last_at = epoch, moment

    def end(self, status: str, summary: Mapping[str, float | str], files: Sequence[Path]) -> None:
        """Add the numbers of the end at the last step, how it ended, and the pictures; other files are copied."""
        at, step = self._last_at, self._last_step
        numbers = {name: one for name, one in summary.items() if not isinstance(one, str)}
        words = "\n".join(
            f"{name}: {one}  " for name, one in summary.items() if isinstance(one, str)
        )
        told = event_files.scalars(at, step, numbers) if numbers else b""
        told += event_files.text(at, step, "end", f"{status}  \n{words}")
        for file in files:
            if file.suffix == PICTURES:
                told += event_files.picture(at, step, file.stem, file.read_bytes())
        self._add(told)
        for file in files:
            if file.suffix != PICTURES:
                try:
                    (self._path.parent / file.name).write_bytes(file.read_bytes())
                except OSError as error:
                    raise _unwritable(self._path.parent, error) from error

    def _place(self, run: RunInfo) -> Path:
        """An experiment keeps its folder when it gets another name."""
        found = sorted(self._folder.glob(f"*{run.experiment_id}"))
        folder = (
            found[0]
            if found
            else self._folder / experiment_folder(run.experiment_name, run.experiment_id)
        )
        return folder / event_files.seed_folder(run.seed) / event_files.file_name(run.id)

    def _add(self, records: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(records)
        except OSError as error:
            raise _unwritable(self._path, error) from error


def experiment_folder(name: str | None, experiment_id: str) -> str:
    """Such as `a-name-exp_4k7z…`."""
    plain = as_folder_name(name or "")
    return f"{plain}-{experiment_id}" if plain and plain != experiment_id else experiment_id


def _unwritable(path: Path, error: OSError) -> TrackerAway:
    return TrackerAway(f"{path} cannot be written: {error.strerror or error}")
