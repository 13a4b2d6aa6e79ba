"""Numbers over seeds, and how far something is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

VAGUE: Final = 0.25
"""Half an interval of a fraction that still tells something; more is left out, as on the pages."""


@dataclass(frozen=True)
class Summary:
    """A number over seeds: `0.974 ± 0.004 (n = 3)`, half of its 95 % interval beside the mean. `std` and `values` are
    those of a record; a list has none.
    """

    mean: float
    n: int
    std: float | None = None
    ci95: tuple[float, float] | None = None
    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """As the service answers it."""
        interval = raw.get("ci95")
        return cls(
            float(raw["mean"]),
            int(raw.get("n") or 0),
            raw.get("std"),
            None if interval is None else (float(interval[0]), float(interval[1])),
            tuple(raw.get("values") or ()),
        )

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval; None where there is none."""
        return None if self.ci95 is None else (self.ci95[1] - self.ci95[0]) / 2

    def __float__(self) -> float:
        return self.mean

    def __str__(self) -> str:
        half = self.half_width
        if half is None or (0 <= self.mean <= 1 and half > VAGUE):
            return f"{self.mean:.3f} (n = {self.n})"
        digits = next((some for some in range(3, 9) if round(half, some) > 0), 3)
        return f"{self.mean:.{digits}f} ± {half:.{digits}f} (n = {self.n})"

    __repr__ = __str__


@dataclass(frozen=True)
class Progress:
    """How far it is: `fraction` of all work; of an experiment the `epoch` of `epochs` begun, of a study 0 of 0."""

    fraction: float
    epoch: int = 0
    epochs: int = 0

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """As the service answers it."""
        return cls(
            float(raw.get("fraction") or 0), int(raw.get("epoch") or 0), int(raw.get("epochs") or 0)
        )
