"""From an experiment's runs to numbers with their uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any

from lab_models.statistics.summary import CONFIDENCE, Summary, summarise

__all__ = ["CONFIDENCE", "Summary", "gap_of", "summarise", "summarise_scores"]

GAP_SIGNS = {"accuracy": 1, "loss": -1}
"""Both gaps grow as the network does better on what it has learned from than on test."""


def gap_of(test: Mapping[str, Any] | None, train: Mapping[str, Any] | None) -> dict[str, float]:
    """How much better a network is on images that it has learned from than on test, by score; empty where one of the
    two is not known.
    """
    return {
        name: sign * (train[name] - test[name])
        for name, sign in GAP_SIGNS.items()
        if test and train and name in test and name in train
    }


def summarise_scores(
    scores: Sequence[dict[str, Any]], depends_on_seed: bool = True
) -> dict[str, Summary]:
    """One summary per number that all given score sheets have. What no seed changes is one number, however often it
    was made.
    """
    if not scores:
        return {}
    if not depends_on_seed:
        scores = scores[:1]
    return {
        name: summarise([sheet[name] for sheet in scores])
        for name in scores[0]
        if all(isinstance(sheet.get(name), int | float) for sheet in scores)
    }
