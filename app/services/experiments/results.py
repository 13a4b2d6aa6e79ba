"""From an experiment's runs to numbers with their uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.storage.states import RunStatus
from lab_models.statistics.summary import CONFIDENCE, Summary, summarise

__all__ = [
    "CONFIDENCE",
    "ScoredRun",
    "Summary",
    "gap_of",
    "results_of",
    "summarise",
    "summarise_scores",
]

GAP_SIGNS = {"accuracy": 1, "loss": -1}
"""Both gaps grow as the network does better on what it has learned from than on test."""


class ScoredRun(Protocol):
    """What of a run says how well it did."""

    @property
    def status(self) -> RunStatus:
        """What has become of it."""

    @property
    def best(self) -> dict[str, Any] | None:
        """The best epoch, with its scores on val."""

    @property
    def test(self) -> dict[str, Any] | None:
        """Scores on test."""

    @property
    def train(self) -> dict[str, Any] | None:
        """Scores on train."""


def score_sheets(runs: Sequence[ScoredRun]) -> dict[str, list[dict[str, Any]]]:
    """By split the scores of each run that counts: of test, of val at the best epoch, of train, and the gap."""
    succeeded = [run for run in runs if run.status == RunStatus.SUCCEEDED]
    return {
        "test": [run.test for run in succeeded if run.test],
        "val": [run.best["val"] for run in succeeded if run.best],
        "train": [run.train for run in succeeded if run.train],
        "gap": [gap for run in succeeded if (gap := gap_of(run.test, run.train))],
    }


def results_of(runs: Sequence[ScoredRun], depends_on_seed: bool) -> dict[str, dict[str, Summary]]:
    """The results of an experiment's record: by split and score over the succeeded runs."""
    return {
        split: summarise_scores(sheets, depends_on_seed)
        for split, sheets in score_sheets(runs).items()
    }


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
