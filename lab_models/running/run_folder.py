"""What a run of the command line leaves in its folder, so that the same command goes on from it.

result.json    best epoch, test scores, environment; there once the run is over
metrics.csv    one row per epoch
probes.json    what the spec's probes measured, epoch by epoch; 0 is initialization
checkpoints.json, attempt-1/
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

from lab_models.common.files import write_atomically
from lab_models.training.protocol import KEPT_CHECKPOINTS, Metrics, SavedCheckpoint

MEASURED_SPLITS = ("train", "val")


class RunFolder:
    """One run's folder and what was found in it. Methods that write raise OSError where the disk does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = self._read_rows()
        self._checkpoints = self._read_checkpoints()

    @property
    def resumable(self) -> tuple[SavedCheckpoint, ...]:
        """The checkpoints that a run may start from, the newest first."""
        return tuple(reversed(self._checkpoints))

    def begin_after(self, epochs_done: int) -> None:
        """Forget the rows of later epochs: they are written anew."""
        self._rows = self._rows[:epochs_done]

    def write_epoch(self, epoch: int, metrics: Metrics) -> None:
        """The epoch's row of the table, and what its probes measured."""
        columns = {
            f"{split}.{name}": value
            for split in MEASURED_SPLITS
            for name, value in metrics[split].items()
        }
        self._rows.append({"epoch": epoch, **columns})
        self.write_probes(epoch, metrics)
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self._rows[0]))
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(self.path / "metrics.csv", text.getvalue().encode())

    def write_probes(self, epoch: int, metrics: Metrics) -> None:
        """What the probes found goes into a file of its own: one number per layer would drown the table."""
        found = {split: values for split, values in metrics.items() if split not in MEASURED_SPLITS}
        if not found:
            return
        path = self.path / "probes.json"
        before = json.loads(path.read_bytes()) if path.exists() else {}
        kept = {number: values for number, values in before.items() if int(number) < epoch}
        write_atomically(path, json.dumps(kept | {str(epoch): found}, indent=1).encode())

    def keep(self, new: SavedCheckpoint) -> None:
        """Record the new checkpoint, then drop the files of all but the last two."""
        kept = [item for item in self._checkpoints if item.path != new.path] + [new]
        self._checkpoints, dropped = kept[-KEPT_CHECKPOINTS:], kept[:-KEPT_CHECKPOINTS]
        documents = [item.model_dump() for item in self._checkpoints]
        write_atomically(self.path / "checkpoints.json", json.dumps(documents).encode())
        for item in dropped:
            (self.path / item.path).unlink(missing_ok=True)

    def result(self) -> dict[str, Any] | None:
        """What the run has come to; None where it is not over."""
        path = self.path / "result.json"
        if not path.exists():
            return None
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document

    def write_result(self, document: dict[str, Any]) -> None:
        """What the run has come to."""
        write_atomically(self.path / "result.json", json.dumps(document, indent=2).encode())

    def _read_rows(self) -> list[dict[str, Any]]:
        try:
            with (self.path / "metrics.csv").open(newline="") as file:
                return list(csv.DictReader(file))
        except OSError:
            return []

    def _read_checkpoints(self) -> list[SavedCheckpoint]:
        try:
            documents = json.loads((self.path / "checkpoints.json").read_bytes())
        except OSError:
            return []
        return [SavedCheckpoint(**document) for document in documents]
