"""A run's time: this attempt's and that of those before, on a clock that a test sets."""

from datetime import UTC, datetime, timedelta

from app.storage.tables import Attempt
from worker.limits import TimeLimit, seconds_of_earlier

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempt(number: int, seconds: float | None) -> Attempt:
    finished_at = None if seconds is None else NOON + timedelta(seconds=seconds)
    return Attempt(
        run_id="run_1",
        number=number,
        fence=number,
        worker_id="w",
        started_at=NOON,
        finished_at=finished_at,
    )


def test_a_run_has_had_its_time_when_this_attempt_and_those_before_have_used_it() -> None:
    clock = Clock()
    limit = TimeLimit(60.0, 45.0, clock)
    assert not limit.is_over
    clock.now += 14.9
    assert not limit.is_over
    clock.now += 0.1
    assert limit.is_over
    assert TimeLimit(60.0, 61.0, clock).is_over  # used up before: it ends at once


def test_without_a_limit_no_time_is_too_long() -> None:
    clock = Clock()
    limit = TimeLimit(0.0, 1e9, clock)
    clock.now += 1e9
    assert not limit.is_over


def test_the_failure_names_the_setting_and_says_what_to_do() -> None:
    failure = TimeLimit(3600.0, 0.0, Clock()).failure
    assert failure.code == "time_limit"
    assert "3600 s over all its attempts (LAB_MAX_RUN_SECONDS)" in failure.message
    assert failure.hint is not None
    assert "last checkpoint" in failure.hint


def test_attempts_before_count_by_their_rows() -> None:
    rows = [attempt(1, 10.0), attempt(2, 20.5), attempt(3, None), attempt(4, 1000.0)]
    assert seconds_of_earlier(rows, 4) == 30.5
    assert seconds_of_earlier(rows, 1) == 0.0
    # the clock was set back by an hour
    assert seconds_of_earlier([attempt(1, -3600.0), attempt(2, 5.0)], 3) == 5.0
