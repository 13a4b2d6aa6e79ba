"""What guessing would score, as a line to hold accuracies against."""

from collections.abc import Sequence
from typing import Any

from lab_models.datasets.catalog import BUILT_IN


def chance_of(specs: Sequence[dict[str, Any]]) -> float | None:
    """One over the number of classes; None where the specs' data sets have different numbers, or are imported ones,
    whose classes are not known without reading their files.
    """
    found = {
        1 / info.num_classes if (info := BUILT_IN.get(spec["dataset"]["name"])) else None
        for spec in specs
    }
    return found.pop() if len(found) == 1 else None
