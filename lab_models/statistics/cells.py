"""What judgements of several settings share: the tests that are asked for and the result, the seeds that all settings
have, and the line through them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lab_models.statistics.families import Test, TestKey, corrected
from lab_models.statistics.paired import Paired, from_differences
from lab_models.statistics.verdicts import CLAIMED, ClaimVerdict, Terms
from lab_models.statistics.wording import signed

SeedScores = Mapping[int, float]
"""One setting's scores by seed."""

Corrected = Mapping[TestKey, float | None]
"""Every test's p after the correction over its family."""


@dataclass(frozen=True)
class ClaimResult:
    """A verdict on a claim. `estimate`, `ci95`, `p`, `p_holm` (corrected over the family) and `level` (what that must
    be below) are those of the number that decided, in the spoken unit, over `n` seeds.

    `evidence` is one sentence per setting or contrast that went into it, and one about seeds that had to be left out.
    """

    verdict: ClaimVerdict
    sentence: str
    estimate: float | None = None
    ci95: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    level: float | None = None
    n: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A claim before its tests have been corrected: the tests that it needs, and what it comes to with their p."""

    answer: Callable[[Corrected], ClaimResult]
    tests: Mapping[TestKey, Test] = field(default_factory=dict)

    def alone(self) -> ClaimResult:
        """The answer where the claim's own tests are the whole family."""
        return self.answer(corrected(self.tests))


def unmeasured(reason: str) -> Asked:
    """A claim that nothing is known about."""
    return Asked(lambda _: ClaimResult(ClaimVerdict.NOT_MEASURED, f"Not measured: {reason}."))


def result_of(
    test: Test,
    p_holm: float | None,
    verdict: ClaimVerdict,
    sentence: str,
    evidence: Sequence[str],
) -> ClaimResult:
    """A result that rests on one test."""
    paired = test.paired
    return ClaimResult(
        verdict,
        sentence,
        paired.mean,
        paired.ci95,
        paired.p_t,
        p_holm,
        None if paired.p_t is None else test.level,
        paired.n,
        tuple(evidence),
    )


def change_along(scores: Sequence[SeedScores], margin: float | None, scale: float) -> Paired:
    """Each seed's change along its least-squares line from the first place to the last."""
    seeds = common_seeds(scores)
    table: NDArray[np.float64] = scale * np.array(
        [[cell[seed] for cell in scores] for seed in seeds]
    ).reshape(len(seeds), len(scores))
    places = np.arange(len(scores)) - (len(scores) - 1) / 2
    changes = (len(scores) - 1) * (table @ places) / (places @ places)
    return from_differences(
        changes.tolist(), size=float(np.abs(table).max(initial=0)), margin=margin
    )


def common_seeds(cells: Sequence[Mapping[int, object]]) -> list[int]:
    """The seeds that every cell has, rising."""
    return sorted(set.intersection(*(set(cell) for cell in cells))) if cells else []


def left_out(cells: Sequence[Mapping[int, object]], seeds: Sequence[int]) -> tuple[str, ...]:
    """One sentence about the seeds that only some cells have; nothing when all have the same."""
    others = sorted({seed for cell in cells for seed in cell} - set(seeds))
    if not others:
        return ()
    plural = "" if len(others) == 1 else "s"
    return (f"left out, as not everything has them: seed{plural} {', '.join(map(str, others))}",)


def named(titles: Sequence[str] | None, count: int, kind: str) -> Sequence[str]:
    """The titles, or such as `setting 0`; raises ValueError when their number is another."""
    if titles is not None and len(titles) != count:
        raise ValueError(f"there are {count} {kind}s but {len(titles)} titles")
    return titles if titles is not None else [f"{kind} {place}" for place in range(count)]


def qualified(unit: str, *notes: str) -> str:
    """The unit with what is to be known about it in brackets."""
    said = ", ".join(note for note in notes if note)
    return f"{unit} ({said})" if said else unit


def trend_terms(unit: str, settings: int) -> Terms:
    """How a change along the line is spoken of."""
    return Terms(
        f"{unit} over {settings - 1} step{'' if settings == 2 else 's'}",
        missing="no seed has a number at every setting",
        single="one seed",
        heads=CLAIMED,
    )


def slope_sentence(change: Paired, unit: str, settings: int) -> tuple[str, ...]:
    """The change along the line as its slope, if there is one."""
    return (
        ()
        if change.mean is None
        else (f"least-squares trend: {signed(change.mean / (settings - 1))} {unit} per step",)
    )
