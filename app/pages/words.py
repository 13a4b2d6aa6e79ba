"""How pages write numbers, times and sizes; a missing one is a dash."""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from markupsafe import Markup

from app.api.experiments.list_schemas import MeanOverSeeds
from app.api.experiments.schemas import SummaryAnswer
from app.quantities import in_words
from app.services.analyses.scores import ScoreKind
from app.tabulation import real_minus
from lab_models.statistics.summary import is_vague

MISSING: Final = "\N{EN DASH}"

CLAUSE: Final = re.compile(r"(?<=[.;]) ")
FOR_CURL: Final = re.compile(r"(GET|POST|PUT|PATCH|DELETE) /")
"""How the API says what to do next; a page has a link or a button there."""
HELD_TOGETHER: Final = re.compile(r"\b[np] [=<] [0-9]|[0-9] %")
"""What no line ends within."""
WORD: Final = re.compile(r"[a-z]+[ ,:]")
"""A message's first word that is none of a name's, such as `exp_1` or `model.depth`."""


def sentence(text: str) -> str:
    """What the API says, as pages say it: it begins large, ends with a full stop, and names no request."""
    said = [part for part in CLAUSE.split(text.strip()) if not FOR_CURL.match(part)]
    text = " ".join(said).rstrip("; ") or text
    if WORD.match(text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."


def after_verdict(text: str, verdict: str) -> str:
    """A sentence that stands beside its verdict, which it does not say once more."""
    said = real_minus(text).removeprefix(f"{verdict.capitalize()}: ")
    return HELD_TOGETHER.sub(
        lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), said[:1].upper() + said[1:]
    )


def or_dash(text: str) -> str:
    """A cell of a table, whose hyphen for what is missing is the pages' dash."""
    return MISSING if text == "-" else real_minus(text)


@lru_cache(maxsize=1000)
def is_fraction(score: str) -> bool:
    """Whether a score is read in percent."""
    return bool(score) and ScoreKind(score).is_fraction


def number(value: float | None, score: str = "") -> str:
    """A score: in percent with two places, or with four significant digits, of which zeros are shown, too."""
    if value is None or not math.isfinite(value):
        return MISSING
    return real_minus(f"{100 * value:.2f}" if is_fraction(score) else _significant(value, 4))


def with_interval(summary: SummaryAnswer | MeanOverSeeds | None, score: str) -> str:
    """`97.75 ± 0.18`: a mean and half its 95 % interval, or the mean alone where there is none, or one so wide that it
    says nothing.
    """
    return "".join(_parts(summary, score))


def aligned(summary: SummaryAnswer | MeanOverSeeds | None, score: str) -> Markup:
    """The same for a column of a table, in which means stand below each other whether they have an interval or not."""
    return Markup('<span>{}<span class="half">{}</span></span>').format(*_parts(summary, score))


def _parts(summary: SummaryAnswer | MeanOverSeeds | None, score: str) -> tuple[str, str]:
    """A mean, and what stands behind it."""
    if summary is None:
        return MISSING, ""
    mean = number(summary.mean, score)
    if summary.ci95 is None or (is_fraction(score) and is_vague(summary.ci95)):
        return mean, ""
    half = (summary.ci95[1] - summary.ci95[0]) / 2
    return mean, f" ± {number(half, score) if is_fraction(score) else _significant(half, 2)}"


def _significant(value: float, digits: int) -> str:
    return f"{value:#.{digits}g}".rstrip(".")


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
