"""Where an attempt's time went: seconds by phase, and the same as a sentence."""

from collections.abc import Sequence

from app.storage.states import RunStatus
from app.storage.tables import Attempt, StatusChange

WORDS = {
    "starting": "starting its trainer",
    "data": "loading data",
    "building": "building the network and what it stands on",
    "warm_up": "until the first step",
    "training": "of training",
    "validation": "validation",
    "checkpoint": "checkpoints",
    "test": "weights and test scores",
    "other": "unaccounted for",
}
"""By phase, in the order of their time."""
LEAST_SHARE = 0.03
"""What took less of the whole is left out of the sentence."""


def phases_of(attempt: Attempt, history: Sequence[StatusChange]) -> dict[str, float] | None:
    """Seconds by phase in the order of their time, `waiting` in the queue before all of them; None for attempts of
    older versions, and until a trainer has said its first word.
    """
    if not attempt.phases:
        return None
    known = {phase: attempt.phases[phase] for phase in WORDS if phase in attempt.phases}
    return {"waiting": round(_waiting(attempt, history), 3), **known}


def time_message(phases: dict[str, float]) -> str:
    """`7.1 s of training, 2.0 s loading data, 1.1 s validation; waited 12 s.`, the longest first."""
    spent = {phase: seconds for phase, seconds in phases.items() if phase != "waiting"}
    whole = sum(spent.values())
    told = sorted(
        (phase for phase, seconds in spent.items() if seconds and seconds >= LEAST_SHARE * whole),
        key=lambda phase: -spent[phase],
    )
    said = ", ".join(f"{_words(spent[phase])} {WORDS[phase]}" for phase in told) or "no time at all"
    return f"{said}; waited {_words(phases['waiting'])}."


def _waiting(attempt: Attempt, history: Sequence[StatusChange]) -> float:
    """From when it was queued last until the attempt's claim; a clock that was set back makes it nothing."""
    queued = [
        change.at
        for change in history
        if change.to_status == RunStatus.QUEUED and change.attempt < attempt.number
    ]
    return max(0.0, (attempt.started_at - queued[-1]).total_seconds()) if queued else 0.0


def _words(seconds: float) -> str:
    """`0.31 s`, `7.1 s`, `45 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
