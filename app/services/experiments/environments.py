"""How the runs of one experiment were made: what they share, and in what they differ."""

from collections.abc import Iterable, Sequence
from typing import Any

from app.services.experiments.likeness import BEFORE_RESUMING, FACTS, UNKNOWN, conditions
from app.storage.tables import Run

Differing = dict[str, dict[str, Any]]
"""By name of a fact and seed, what the run's record says of it."""
OF_EACH_RUN = ("built_on",)
"""Facts in which the runs of one experiment may differ on purpose."""


def shared(runs: Iterable[Run]) -> tuple[dict[str, Any] | None, Differing]:
    """What all runs that have begun say of how they were made, and by seed what they say otherwise; None where none has
    begun.
    """
    begun = {str(run.seed): run.environment for run in runs if run.environment is not None}
    if not begun:
        return None, {}
    first, *others = begun.values()
    names = list(dict.fromkeys(name for environment in begun.values() for name in environment))
    same = [
        name
        for name in names
        if all(name in first and other.get(name) == first[name] for other in others)
    ]
    differing = {
        name: {seed: environment.get(name) for seed, environment in begun.items()}
        for name in names
        if name not in same and others
    }
    return {name: first[name] for name in names if name not in differing}, differing


def mixed(runs: Sequence[Run]) -> dict[str, dict[str, list[int]]]:
    """By label of each fact that decides results and in which runs that have succeeded differ, by value the seeds: what
    separates them then is not the seed alone.
    """
    made = {run.seed: run.environment for run in runs if run.environment and run.test is not None}
    found: dict[str, dict[str, list[int]]] = {}
    for fact in FACTS:
        if fact.compared is None or fact.name in OF_EACH_RUN:
            continue
        by_value: dict[str, list[int]] = {}
        for seed, environment in made.items():
            value = conditions(environment)[fact.name]
            if value is not UNKNOWN and value is not None:
                by_value.setdefault(_text(value), []).append(seed)
        if len(by_value) > 1:
            found[fact.label] = by_value
    return found


def resumed_elsewhere(runs: Sequence[Run]) -> list[int]:
    """Seeds of the runs that were gone on with under other conditions than they were begun under."""
    return [run.seed for run in runs if (run.environment or {}).get(BEFORE_RESUMING)]


def _text(value: Any) -> str:
    """A hash by its beginning."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
