"""What the checks of the maps say, in sentences: intervals are Student's t over images."""

from typing import TYPE_CHECKING

from lab_models.statistics.summary import Summary
from lab_models.statistics.wording import with_sign

if TYPE_CHECKING:
    from lab_models.explanations.explaining import Explanation
    from lab_models.explanations.faithfulness import Areas


def sentences(found: "Explanation") -> list[str]:
    """One for deletion, one for insertion, one for the randomization of the head and of the whole network."""
    faith = found.faithfulness
    head, whole = found.randomization[0], found.randomization[-1]
    return [
        f"Deletion ({faith.num_images} images, smaller is better): {_areas(faith.deletion, better=-1)}.",
        f"Insertion ({faith.num_images} images, larger is better): {_areas(faith.insertion, better=1)}.",
        (
            "Randomization: rank correlation with the maps of the network with a new head"
            f" {_correlation(head.correlation)}, with those of a wholly new network {_correlation(whole.correlation)};"
            " near 0 where the maps show what was learned."
        ),
    ]


def _areas(areas: "Areas", better: int) -> str:
    means = f"map {areas.by_map.mean:.3f}, random {areas.random.mean:.3f}, center {areas.center.mean:.3f}"
    return (
        f"{means}; map minus random {_judged(areas.map_minus_random, better)}; minus center"
        f" {_judged(areas.map_minus_center, better)}"
    )


def _judged(difference: Summary, better: int) -> str:
    if difference.ci95 is None:
        return f"{with_sign(difference.mean, 3)}, without an interval"
    low, high = difference.ci95
    verdict = "not told apart" if low <= 0 <= high else "better" if better * low > 0 else "worse"
    mean, *ends = (with_sign(number, 3) for number in (difference.mean, low, high))
    return f"{mean} (95 % interval {' to '.join(ends)}), {verdict}"


def _correlation(correlation: Summary | None) -> str:
    if correlation is None:
        return "not defined"
    interval = (
        ""
        if correlation.ci95 is None
        else " (95 % interval {:+.2f} to {:+.2f})".format(*correlation.ci95)
    )
    return f"{correlation.mean:+.2f}{interval}"
