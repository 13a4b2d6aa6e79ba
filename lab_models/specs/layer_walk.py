"""How long a list of layers is, all that stands in it counted."""

from collections.abc import Iterator
from typing import Any

from lab_models.specs.layer_list import AnyLayer, LayerEntry, RepeatEntry, ResidualEntry

MOST_ENTRIES = 500
"""Entries of a list, those in residuals and repeats with it."""
MOST_LAYERS = 2000
"""Layers that are left when all repeats are written out: He et al.'s network of 1,202 layers has more, a deep one of
people's own has not.
"""
DEEPEST = 8
"""Lists within lists."""


def entries_within(layers: tuple[AnyLayer, ...]) -> Iterator[LayerEntry]:
    """All entries, those in residuals and repeats with them, in order."""
    for entry in layers:
        yield entry
        if isinstance(entry, ResidualEntry):
            yield from entries_within(entry.residual)
        elif isinstance(entry, RepeatEntry):
            yield from entries_within(entry.layers)


def count_layers(layers: tuple[AnyLayer, ...]) -> int:
    """How many layers there are when all repeats are written out."""
    return sum(
        entry.repeat * count_layers(entry.layers)
        if isinstance(entry, RepeatEntry)
        else 1 + count_layers(entry.residual)
        if isinstance(entry, ResidualEntry)
        else 1
        for entry in layers
    )


def require_readable(value: Any) -> Any:
    """The list as it was sent; raises ValueError where it is too long or too deep to be looked at."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        below: list[Any] = []
        for part in level:
            for entry in part if isinstance(part, list | tuple) else ():
                count += 1
                if isinstance(entry, dict):
                    below += (entry[name] for name in ("residual", "layers") if name in entry)
        if count > MOST_ENTRIES:
            raise ValueError(f"there are more than {MOST_ENTRIES} entries: repeat some of them")
        level = below
    if any(isinstance(part, list | tuple) and part for part in level):
        raise ValueError(f"lists stand in lists more than {DEEPEST} deep")
    return value
