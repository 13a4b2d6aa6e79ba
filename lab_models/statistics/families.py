"""Several tests at once: p-values corrected so that the whole family is wrong at most as often as one test."""

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979, Scandinavian Journal of Statistics 6, 65-70), in the order given.

    The i-th smallest of m p-values, counted from 0, is multiplied by m - i, raised to the one before it where it would
    be smaller, and capped at 1. None (not tested) stays None and does not count in m; raises ValueError for a p-value
    outside 0 to 1.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value lies between 0 and 1, not at {p}")
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[place] = highest
    return adjusted
