"""Numbers of every epoch: all of them, never sampled."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training_lab.documents import package
from training_lab.files import replacing
from training_lab.steps import Plan, Reply, Request
from training_lab.waiting import document

KEYS = ("experiment", "run", "seed", "epoch")
LONG_PATIENCE = 300.0


class Metrics:
    """A row per run and epoch; a column for each number, called as in the service's CSV, such as `val.accuracy`. None
    where it was not measured or not finite.
    """

    def __init__(self, answers: Sequence[dict[str, Any]]) -> None:
        self.raw = list(answers)
        """What the service has answered of each experiment, as columns."""

    @property
    def names(self) -> list[str]:
        """The columns of numbers: train before val, each in alphabetical order."""
        return sorted(
            {
                f"{split}.{name}"
                for _, run in self._runs()
                for split in ("train", "val")
                for name in run.get(split, {})
            }
        )

    def columns(self) -> dict[str, list[Any]]:
        """Each column as a list, all of one length."""
        names = self.names
        found: dict[str, list[Any]] = {name: [] for name in (*KEYS, *names)}
        for experiment, run in self._runs():
            epochs = run["epochs"]
            keys = (experiment, run["run_id"], run["seed"])
            for key, value in zip(KEYS, keys, strict=False):
                found[key] += [value] * len(epochs)
            found["epoch"] += epochs
            for name in names:
                split, _, number = name.partition(".")
                found[name] += run.get(split, {}).get(number) or [None] * len(epochs)
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as an object."""
        columns = self.columns()
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def to_csv(self, path: str | Path) -> Path:
        """Store it as CSV."""
        chosen = Path(path)
        with replacing(chosen) as file:
            self.write_csv(_Utf8(file))
        return chosen

    def write_csv(self, file: Any) -> None:
        """Write it as CSV to what takes texts, such as `sys.stdout`."""
        columns, lines = self.columns(), csv.writer(file, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))

    def to_parquet(self, path: str | Path) -> Path:
        """Store it as Parquet; raises Unusable where pyarrow is not installed."""
        table, parquet, chosen = self.arrow(), package("pyarrow.parquet", "Parquet"), Path(path)
        with replacing(chosen) as file:
            parquet.write_table(table, file)
        return chosen

    def frame(self) -> Any:
        """A frame of pandas, the runs as its index, so that means can be taken of all its numbers. Raises Unusable
        where pandas is not installed.
        """
        pandas = package("pandas", "a frame")
        columns = self.columns()
        types = dict.fromkeys(self.names, "float64")
        return pandas.DataFrame(columns).astype(types).set_index("run")

    def polars(self) -> Any:
        """A frame of polars; raises Unusable where that is not installed."""
        polars = package("polars", "a frame of polars")
        types = dict.fromkeys(self.names, polars.Float64)
        return polars.DataFrame(self.columns(), schema_overrides=types)

    def arrow(self) -> Any:
        """A table of pyarrow; raises Unusable where that is not installed."""
        pyarrow = package("pyarrow", "a table of Arrow")
        texts, whole = {"experiment", "run"}, {"seed", "epoch"}
        columns = self.columns()
        return pyarrow.table(
            {
                name: pyarrow.array(
                    values,
                    pyarrow.string()
                    if name in texts
                    else pyarrow.int64()
                    if name in whole
                    else pyarrow.float64(),
                )
                for name, values in columns.items()
            }
        )

    def __len__(self) -> int:
        return sum(len(run["epochs"]) for _, run in self._runs())

    def __repr__(self) -> str:
        num_runs = sum(1 for _ in self._runs())
        return f"<Metrics of {len(self.raw)} experiments, {num_runs} runs, {len(self)} epochs>"

    def _runs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for answer in self.raw:
            for run in answer["runs"]:
                yield answer["experiment_id"], run


class _Utf8:
    """A file of bytes that is written as text."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode())


def all_metrics(paths: Sequence[str], names: Sequence[str] | None) -> Plan[Metrics]:
    """Of experiments or runs, by address, one after the other."""
    asked = None if names is None else ",".join(names)
    answers = []
    for path in paths:
        reply: Reply = yield Request(
            "GET", f"{path}/metrics", {"format": "columns", "names": asked}, patience=LONG_PATIENCE
        )
        answers.append(document(reply))
    return Metrics(answers)
