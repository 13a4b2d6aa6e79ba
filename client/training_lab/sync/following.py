"""Sending as epochs come: the service's stream of changes says which run has news, and back-off when to try again."""

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from training_lab.errors import LabError, NotFound
from training_lab.events import Event
from training_lab.sync.calls import Hopeless
from training_lab.sync.sink import ENDED, TrackerRefused
from training_lab.sync.transfers import Elsewhere, Transfer

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0
LAST_TRIES: Final = 5
"""After all runs have ended; then what is left is said, and the next sync sends it."""

Say = Callable[[str], None]


@dataclass
class News:
    """Of a run: what the last event said of it, and when it is to be sent."""

    experiment_id: str
    attempt: int
    has_ended: bool
    due: float = 0.0
    tries: int = 0


class Feed:
    """A thread that reads events and keeps the newest of each run."""

    def __init__(self, events: Iterable[Event], wanted: frozenset[str] | None = None) -> None:
        """`wanted`: experiments whose runs count; None: all."""
        self.changed = threading.Condition()
        self.error: LabError | None = None
        self.is_over = False
        self._news: dict[str, News] = {}
        self._events, self._wanted = events, wanted
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
        self._thread.start()

    def take(self) -> dict[str, News]:
        """What has come since the last time."""
        with self.changed:
            found, self._news = self._news, {}
            return found

    def wait(self, seconds: float | None) -> None:
        """Until there are news, or for so long."""
        with self.changed:
            self.changed.wait_for(lambda: bool(self._news) or self.is_over, seconds)

    def _read(self) -> None:
        error: LabError | None = None
        try:
            for event in self._events:
                if event.type == "run" and event.experiment_id is not None:
                    self._learn(event, event.experiment_id)
        except LabError as found:
            error = found
        finally:
            with self.changed:
                self.error, self.is_over = error, True
                self.changed.notify_all()

    def _learn(self, event: Event, experiment_id: str) -> None:
        if self._wanted is not None and experiment_id not in self._wanted:
            return
        with self.changed:
            self._news[event.id] = News(
                experiment_id, event.as_count("attempt"), event.status in ENDED
            )
            self.changed.notify_all()


class Follower:
    """Sends what the feed tells of, one run after the other."""

    def __init__(self, transfer: Transfer, feed: Feed, say: Say) -> None:
        self._transfer, self._feed, self._say = transfer, feed, say
        self._left: dict[str, News] = {}
        self._rests_until = 0.0
        self._troubles = 0
        self._is_ending = False

    @property
    def left(self) -> list[str]:
        """Runs of which the tracker does not have all."""
        return list(self._left)

    def run(self) -> bool:
        """Until all that is watched has ended; returns whether the tracker has all of it. Raises LabError where the
        service wants nothing more of this key, and Hopeless.
        """
        while True:
            self._learn()
            if self._feed.is_over:
                if self._feed.error is not None:
                    raise self._feed.error
                self._learn()
                self._begin_to_end()
                if not self._left or self._has_given_up():
                    return not self._left
            run_id = self._next()
            if run_id is None:
                self._wait()
            else:
                self._send(run_id)

    def _learn(self) -> None:
        for run_id, news in self._feed.take().items():
            before = self._left.get(run_id)
            if news.has_ended and self._transfer.is_told(news.experiment_id, run_id, news.attempt):
                self._left.pop(run_id, None)
                continue
            if not news.has_ended:
                if before is None:
                    news.due = self._transfer.not_before(news.experiment_id)
                else:
                    news.due, news.tries = before.due, before.tries
            self._left[run_id] = news

    def _next(self) -> str | None:
        now = time.monotonic()
        if now < self._rests_until:
            return None
        return next((run_id for run_id, news in self._left.items() if news.due <= now), None)

    def _wait(self) -> None:
        now = time.monotonic()
        moment = min((news.due for news in self._left.values()), default=None)
        if moment is None:
            self._feed.wait(None)
        elif now < self._rests_until or self._feed.is_over:
            # what comes meanwhile waits as well
            time.sleep(max(0.01, max(moment, self._rests_until) - now))
        else:
            self._feed.wait(max(0.01, moment - now))

    def _send(self, run_id: str) -> None:
        news = self._left[run_id]
        try:
            self._transfer.send(run_id)
        except NotFound:
            del self._left[run_id]  # deleted
            return
        except Hopeless:
            raise
        except Elsewhere:
            self._again(run_id, news, None)
            return
        except LabError as error:
            self._again(run_id, news, error)
            return
        self._troubles = 0
        # what has not ended, or not any more, comes again with its next event
        del self._left[run_id]
        if news.has_ended and not any(
            one.experiment_id == news.experiment_id for one in self._left.values()
        ):
            self._transfer.let_go(news.experiment_id)

    def _again(self, run_id: str, news: News, error: LabError | None) -> None:
        news.tries += 1
        seconds = backoff(news.tries)
        news.due = time.monotonic() + seconds
        # the others first: one that is never taken holds up nobody
        self._left[run_id] = self._left.pop(run_id)
        if error is None:
            return
        if not isinstance(error, TrackerRefused):
            self._troubles += 1
            seconds = backoff(self._troubles)
            self._rests_until = time.monotonic() + seconds
        self._say(f"{self._transfer.tracker.name}: {error} ({run_id}; again in {seconds:.0f} s)")

    def _begin_to_end(self) -> None:
        """Nothing more will come: what is left is tried once more at once, and then a few times."""
        if not self._is_ending:
            self._is_ending = True
            self._rests_until, self._troubles = 0.0, 0
            for news in self._left.values():
                news.due, news.tries = 0.0, 0

    def _has_given_up(self) -> bool:
        is_away = self._troubles >= LAST_TRIES
        return is_away or all(news.tries >= LAST_TRIES for news in self._left.values())


def backoff(number: int) -> float:
    """Seconds after the trouble of that number, from 1: twice as long each time, with chance in it."""
    most = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(number - 1, 20))
    return random.uniform(most / 2, most)
