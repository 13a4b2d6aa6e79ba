"""Two arms compared seed by seed: the paired t-test, the signed-rank test, equivalence within a margin, and McNemar's
test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtr

from lab_models.statistics.summary import ROUNDING, t_interval

ALPHA = 0.05
"""How often all that is said of one difference may be wrong."""

LEAST_P = 1e-300
"""Stands for every p that is smaller: float64 ends at 1e-308, and nothing has a p of 0."""

FEWEST_FOR_WILCOXON = 6
"""Below 6 pairs the smallest two-sided p of the signed-rank test, 2 / 2^n, is above 5 %: it could never show anything.
"""


@dataclass(frozen=True)
class Paired:
    """Differences, treatment minus control, and what they show; all in the pairs' own unit.

    `std` is the sample's (n - 1). `ci95` is Student's t interval of the mean difference, `p_t` is two-sided,
    `p_tost` the larger of the two one-sided p-values of "the mean lies within ± margin". Without spread (one
    pair, or differences that are equal up to float rounding) nothing is known about further seeds, and all of these are
    None; so is `mean` without a pair.
    """

    n: int
    differences: tuple[float, ...]
    mean: float | None
    std: float | None = None
    ci95: tuple[float, float] | None = None
    p_t: float | None = None
    p_wilcoxon: float | None = None
    margin: float | None = None
    p_tost: float | None = None

    def is_equivalent(self, level: float) -> bool:
        """Whether the mean difference is shown, at this level, to lie within ± margin; False without margin or without
        spread.
        """
        return self.p_tost is not None and self.p_tost < level


def compare(pairs: Sequence[tuple[float, float]], margin: float | None = None) -> Paired:
    """Pairs (treatment, control), one per seed, tested; raises ValueError for numbers that are not finite or a margin
    not above 0.
    """
    size = max((abs(score) for pair in pairs for score in pair), default=0.0)
    return from_differences(
        [treatment - control for treatment, control in pairs], size=size, margin=margin
    )


def from_differences(
    differences: Sequence[float], *, size: float, margin: float | None = None
) -> Paired:
    """Like `compare`, for one number per seed that is 0 under "no difference"; `size` is the largest score it was
    computed from.

    A spread below `size` · 1e-12 is float rounding. TOST is that of Schuirmann (1987), doi:10.1007/BF01068419. Raises
    ValueError as `compare` does.
    """
    if margin is not None and not margin > 0:
        raise ValueError(f"the margin of equivalence must be above 0, not {margin}")
    if not all(math.isfinite(difference) for difference in differences):
        raise ValueError(
            "a score is not finite, so it cannot be compared: leave out the seeds whose training diverged, and say so"
        )
    values, n, tolerance = (
        tuple(float(difference) for difference in differences),
        len(differences),
        ROUNDING * size,
    )
    if not values:
        return Paired(0, (), None, margin=margin)
    mean = float(np.mean(values))
    if n == 1:
        return Paired(1, values, mean, margin=margin)
    std = float(np.std(values, ddof=1))
    if std <= tolerance:
        return Paired(n, values, mean, std, margin=margin)
    error = std / math.sqrt(n)
    return Paired(
        n=n,
        differences=values,
        mean=mean,
        std=std,
        ci95=t_interval(mean, error, n - 1, 1 - ALPHA),
        p_t=max(LEAST_P, 2 * float(stdtr(n - 1, -abs(mean) / error))),
        p_wilcoxon=_signed_rank_p(np.array(values), tolerance)
        if n >= FEWEST_FOR_WILCOXON
        else None,
        margin=margin,
        p_tost=None
        if margin is None
        else max(LEAST_P, float(stdtr(n - 1, (abs(mean) - margin) / error))),
    )


def mcnemar(only_treatment_right: int, only_control_right: int) -> float:
    """Two-sided exact p that two checkpoints are right equally often, from the images that just one of them gets right.

    The smaller count against Binomial(their sum, 1/2), doubled; Edwards' correction of McNemar (1947),
    doi:10.1007/BF02295996, is for large counts only. It says nothing about further seeds. 1 when the two never differ,
    `LEAST_P` where it is smaller; raises ValueError for a count below 0.
    """
    if min(only_treatment_right, only_control_right) < 0:
        raise ValueError(
            f"counts of images cannot be below 0: {only_treatment_right} and {only_control_right}"
        )
    both = only_treatment_right + only_control_right
    if both == 0:
        return 1.0
    p = 2 * float(bdtr(min(only_treatment_right, only_control_right), both, 0.5))
    return min(1.0, max(LEAST_P, p))


def discordant(
    treatment_predictions: ArrayLike, control_predictions: ArrayLike, labels: ArrayLike
) -> tuple[int, int]:
    """How many images only the treatment gets right and how many only the control: what `mcnemar` takes.

    All three are class numbers of the same images in the same order, shape (images,); raises ValueError when the shapes
    differ.
    """
    treatment, control, truth = (
        np.asarray(treatment_predictions),
        np.asarray(control_predictions),
        np.asarray(labels),
    )
    if not treatment.shape == control.shape == truth.shape:
        raise ValueError(
            f"predictions and labels must be of the same images: their shapes are {treatment.shape}, {control.shape}"
            f" and {truth.shape}"
        )
    right, control_right = treatment == truth, control == truth
    return int(np.sum(right & ~control_right)), int(np.sum(control_right & ~right))


def _signed_rank_p(differences: NDArray[np.float64], tolerance: float) -> float:
    """Wilcoxon's (1945) exact two-sided p: zeros are dropped, ties share their mean rank, and every pattern of signs is
    equally likely.
    """
    kept = differences[np.abs(differences) > tolerance]
    kept = kept[np.argsort(np.abs(kept))]
    tie = np.concatenate([[0], np.cumsum(np.diff(np.abs(kept)) > tolerance)])
    places = np.arange(1, len(kept) + 1)
    # twice the mean rank is whole
    doubled = np.rint(2 * (np.bincount(tie, places) / np.bincount(tie))[tie]).astype(int)
    chances = np.ones(1)  # chances[s]: that the doubled ranks of the positive differences sum to s
    for rank in doubled:
        chances = 0.5 * (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0)))
    positive = int(doubled[kept > 0].sum())
    return min(1.0, 2 * float(min(chances[: positive + 1].sum(), chances[positive:].sum())))
