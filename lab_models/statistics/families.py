"""Several tests at once: p-values corrected so that the whole family is wrong at most as often as one test."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from lab_models.statistics.looks import Look
from lab_models.statistics.paired import Paired

TestKey = Hashable
"""Names a test: the same key is the same test, wherever it is asked for."""

LookOf = Callable[[Sequence[str], Sequence[int]], Look]
"""Which look the given seeds of the given cells are."""


@dataclass(frozen=True)
class Test:
    """One test of a family."""

    __test__ = False  # no test of pytest's

    paired: Paired
    look: Look = Look.PLANNED

    @property
    def level(self) -> float | None:
        """What its corrected p must be below; None where it is not decided."""
        return self.look.level(self.paired.n)


def planned(_cells: Sequence[str], _seeds: Sequence[int]) -> Look:
    """A look that was planned, whatever it is at."""
    return Look.PLANNED


def pair_key(first: str, second: str) -> TestKey:
    """The key of a pair of cells, which is one test whichever of the two is the treatment."""
    return frozenset((first, second))


def corrected(tests: Mapping[TestKey, Test]) -> dict[TestKey, float | None]:
    """Every test's p after Holm's correction over all of them; None where there is no p.

    What has no p yet counts as a test all the same: its p may still come, and must not take back what was said before.
    """
    adjusted = holm([test.paired.p_t for test in tests.values()], len(tests))
    return dict(zip(tests, adjusted, strict=True))


def holm(p_values: Sequence[float | None], tests: int | None = None) -> list[float | None]:
    """Holm's step-down correction (1979, Scandinavian Journal of Statistics 6, 65-70), in the order given.

    The i-th smallest of m p-values, counted from 0, is multiplied by m - i, raised to the one before it where it would
    be smaller, and capped at 1. None (not tested) stays None and does not count in m, unless `tests` says what m is.
    Raises ValueError for a p-value outside 0 to 1, or fewer tests than p-values.
    """
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    count = len(tested) if tests is None else tests
    if count < len(tested):
        raise ValueError(f"there are {len(tested)} p-values, but only {count} tests")
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(tested):
        if not 0 <= p <= 1:
            raise ValueError(f"a p-value lies between 0 and 1, not at {p}")
        highest = max(highest, min(1.0, (count - rank) * p))
        adjusted[place] = highest
    return adjusted
