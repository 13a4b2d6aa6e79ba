"""Fractions on an axis as percent, one way of writing them whatever the axis spans."""

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.ticker import Formatter

from app.plots.canvas.style import PERCENT

MOST_DIGITS: Final = 6
NOTHING: Final = 1e-9


class PercentFormatter(Formatter):
    """`30 %` and `97.5 %`: with as many digits after the point as the axis's ticks need."""

    _digits = 0

    def set_locs(self, locs: Sequence[float]) -> None:
        """Where the axis has ticks."""
        self._digits = _digits_of([100 * float(fraction) for fraction in locs])

    def __call__(self, value: float, pos: Any = None) -> str:  # noqa: ARG002 - matplotlib's
        """The text of one of the ticks."""
        return self.fix_minus(f"{100 * value:.{self._digits}f}{PERCENT}")


def _digits_of(percents: Sequence[float]) -> int:
    enough = (
        digits
        for digits in range(MOST_DIGITS)
        if all(abs(round(percent, digits) - percent) < NOTHING for percent in percents)
    )
    return next(enough, MOST_DIGITS)
