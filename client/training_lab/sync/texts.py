"""Names and values as trackers take them."""

import re
from typing import Any, Final

from training_lab.sync.sink import RunInfo

LONGEST_NAME: Final = 60
LEFT_AS_THEY_ARE: Final = {"train.learning_rate": "learning_rate", "train.seconds": "seconds"}


def number_name(split: str, name: str) -> str:
    """What a number is called: `train/loss`; what belongs to no split by its name alone."""
    return LEFT_AS_THEY_ARE.get(f"{split}.{name}", f"{split}/{name}")


def plain_value(value: Any) -> str | int | float | bool | None:
    """A value of a spec as one that every tracker shows."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def as_folder_name(name: str) -> str:
    """A name of letters, digits, `.`, `_` and `-`; may be empty."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:LONGEST_NAME]


def config_table(run: RunInfo) -> str:
    """What a run was trained with, as a table of Markdown."""
    rows = [*run.config.items(), *((f"label {key}", value) for key, value in run.labels.items())]
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows]
    return "\n".join([run.notes.replace("\n", "  \n"), "", "| | |", "|---|---|", *lines])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
