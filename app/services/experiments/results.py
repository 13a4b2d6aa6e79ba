"""From an experiment's runs to numbers with their uncertainty."""

from collections.abc import Sequence
from typing import Any

from lab_models.statistics.summary import CONFIDENCE, Summary, summarise

__all__ = ["CONFIDENCE", "Summary", "summarise", "summarise_scores"]


def summarise_scores(scores: Sequence[dict[str, Any]]) -> dict[str, Summary]:
    """One summary per number that all given score sheets have."""
    if not scores:
        return {}
    return {
        name: summarise([sheet[name] for sheet in scores])
        for name in scores[0]
        if all(isinstance(sheet.get(name), int | float) for sheet in scores)
    }
