"""A number over epochs as pictures show it: mean and range over runs."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """Mean, least and largest value over runs; all are (epoch,), and NaN where no run has a finite number.

    `num_runs` have this number at all, `counts` (epoch,) of them in that epoch, finite or not, None for all in every
    one; `has_gaps` says that some were not finite.
    """

    epochs: npt.NDArray[np.int64]
    mean: Values
    low: Values
    high: Values
    num_runs: int
    has_gaps: bool = False
    counts: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def is_finite(self) -> npt.NDArray[np.bool_]:
        """(epoch,): whether any run has a finite number."""
        return np.isfinite(self.mean)

    @property
    def last(self) -> tuple[float, float] | None:
        """Epoch and mean of the last finite number; None without any."""
        ends = np.flatnonzero(self.is_finite)
        return (float(self.epochs[ends[-1]]), float(self.mean[ends[-1]])) if len(ends) else None

    @property
    def num_of_all(self) -> int:
        """How many epochs there are, from the first on, that all its runs have: beyond, the mean is of those that went
        on, which is another group.
        """
        if self.counts is None:
            return len(self)
        fewer = np.flatnonzero(self.counts < self.num_runs)
        return int(fewer[0]) if len(fewer) else len(self)

    @property
    def has_fewer(self) -> bool:
        """Whether later epochs are of fewer runs."""
        return self.num_of_all < len(self)

    def part(self, first: int, end: int) -> "Series":
        """The epochs from the first place to before the end."""
        kept = slice(max(first, 0), end)
        return self._only(kept)

    def without_gaps(self) -> "Series":
        """Those epochs alone in which any run has a finite number."""
        return self._only(self.is_finite)

    def times(self, factor: float) -> "Series":
        """All numbers times a factor of at least 0."""
        return replace(
            self, mean=factor * self.mean, low=factor * self.low, high=factor * self.high
        )

    def _only(self, kept: slice | npt.NDArray[np.bool_]) -> "Series":
        return replace(
            self,
            epochs=self.epochs[kept],
            mean=self.mean[kept],
            low=self.low[kept],
            high=self.high[kept],
            counts=None if self.counts is None else self.counts[kept],
        )
