"""From where to where axes reach, so that what they show is neither hidden nor made large."""

from collections.abc import Iterable
from typing import Final

View = tuple[float, float]

LEAST_ACCURACY: Final = 0.008
"""What an axis of accuracies spans at least, so that equal ones do not get one of thousandths of a percent."""
WHOLE_BELOW: Final = 0.5
"""An axis of accuracies that reaches so low begins at 0: chance and all that was learned are then in it."""
ROOM: Final = 0.06
LEAST_RELATIVE: Final = 0.04
LEAST_SHARE, LEAST_OF_SCORES = 0.01, 0.02


def epoch_view(last: Iterable[int], planned: int) -> View:
    """From the first epoch to the latest of the `last` ones, or to the second where more than one is planned."""
    end = max([1, min(planned, 2), *last])
    margin = max(0.02 * end, 0.1)
    return 1 - margin, end + margin


def accuracy_view(low: float, high: float) -> View:
    """Of fractions from `low` to `high`."""
    missing = max(0.0, LEAST_ACCURACY - (high - low))
    low, high = low - missing / 2, high + missing / 2
    start = 0.0 if low < WHOLE_BELOW else low - ROOM * (high - low)
    return start, min(high + ROOM * (high - start), 1 + 0.02 * (1 - start))


def loss_view(low: float, high: float) -> View:
    """Of losses, from 0 unless all are far from it."""
    room = max(ROOM * (high - low), 0.02 * abs(high), 1e-9)
    return (0.0 if 0 <= low < WHOLE_BELOW * high else low - room), high + room


def amount_view(low: float, high: float) -> View:
    """Of seconds, rates and the like, which have a true zero: a constant one is a flat line and no noise."""
    if low < 0:
        room = max(ROOM * (high - low), LEAST_RELATIVE * abs(high))
        return low - room, high + room
    return 0.0, high * (1 + ROOM) or 1.0


def least_span(largest: float, *, as_percent: bool) -> float:
    """What an axis or the colors of a study's scores span at least, so that noise does not look large: one percentage
    point where they are fractions, else that part of the largest one.
    """
    return LEAST_SHARE if as_percent else LEAST_OF_SCORES * abs(largest) or 1.0
