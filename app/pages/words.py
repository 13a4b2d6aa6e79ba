"""How pages write numbers, times and sizes; a missing one is a dash."""

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from app.api.experiments.list_schemas import MeanOverSeeds
from app.api.experiments.schemas import SummaryAnswer
from app.quantities import in_words
from app.services.analyses.scores import ScoreKind
from app.tabulation import real_minus
from lab_models.statistics.summary import is_vague

MISSING: Final = "\N{EN DASH}"


@lru_cache(maxsize=1000)
def is_fraction(score: str) -> bool:
    """Whether a score is read in percent."""
    return bool(score) and ScoreKind(score).is_fraction


def number(value: float | None, score: str = "") -> str:
    """A score: in percent with two places, or with four significant digits."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{100 * value:.2f}" if is_fraction(score) else f"{value:.4g}"
    return real_minus(text)


def with_interval(summary: SummaryAnswer | MeanOverSeeds | None, score: str) -> str:
    """`97.75 ± 0.18`: a mean and half its 95 % interval, or the mean alone where there is none, or one so wide that it
    says nothing.
    """
    if summary is None:
        return MISSING
    mean = number(summary.mean, score)
    half = 0.0 if summary.ci95 is None else (summary.ci95[1] - summary.ci95[0]) / 2
    if summary.ci95 is None or (is_fraction(score) and is_vague(summary.ci95)):
        return mean
    return f"{mean} ± {number(half, score) if is_fraction(score) else f'{half:.2g}'}"


def count(value: int | None) -> str:
    """`109,386`."""
    return MISSING if value is None else f"{value:,}"


def short_count(value: float | None) -> str:
    """`109 k`, `11.2 M`."""
    if value is None:
        return MISSING
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


def size(num_bytes: int | None) -> str:
    """`4.2 MB`."""
    return MISSING if num_bytes is None else in_words(num_bytes)


def duration(seconds: float | None) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def between(started: datetime | None, finished: datetime | None) -> str:
    """How long something took, or has taken until now."""
    if started is None:
        return MISSING
    return duration(((finished or datetime.now(UTC)) - started).total_seconds())


def age(moment: datetime | None) -> str:
    """`just now`, `5 min ago`, `3 h ago`, `2 d ago`."""
    if moment is None:
        return MISSING
    seconds = (datetime.now(UTC) - moment).total_seconds()
    if seconds < 5:
        return "just now"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"


def until(moment: datetime | None) -> str:
    """`in 5 min`; `now` where that has passed."""
    if moment is None:
        return MISSING
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return "now" if seconds < 1 else f"in {duration(seconds)}"


def clock(moment: datetime | None) -> str:
    """`2026-11-29 18:05 UTC`."""
    return MISSING if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
