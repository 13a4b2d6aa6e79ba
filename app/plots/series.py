"""A number over epochs as pictures show it: mean and range over runs."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """Mean, least and largest value over runs; all are (epoch,), and NaN where no run has a finite number.

    `num_runs` have this number at all; `has_gaps` says that some of theirs were not finite.
    """

    epochs: npt.NDArray[np.int64]
    mean: Values
    low: Values
    high: Values
    num_runs: int
    has_gaps: bool = False

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

    def without_gaps(self) -> "Series":
        """Those epochs alone in which any run has a finite number."""
        kept = self.is_finite
        return Series(
            self.epochs[kept],
            self.mean[kept],
            self.low[kept],
            self.high[kept],
            self.num_runs,
            self.has_gaps,
        )

    def times(self, factor: float) -> "Series":
        """All numbers times a factor of at least 0."""
        return Series(
            self.epochs,
            factor * self.mean,
            factor * self.low,
            factor * self.high,
            self.num_runs,
            self.has_gaps,
        )
