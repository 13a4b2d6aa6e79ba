"""One look at the database for all who watch, four times a second and only while somebody does."""

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlmodel import Session

from app.api.http.passes import Passes
from app.api.watching import events
from app.api.watching.events import Event, RowsOf
from app.api.watching.log_reader import LogReader
from app.api.watching.looking import Looking
from app.api.watching.watchers import Watcher
from app.errors import TooManyWatchers
from app.services.experiments import changes
from app.services.experiments.changes import Scope
from app.services.owners import keys
from app.services.owners.keys import ANYONE, Caller
from app.settings import Settings
from app.storage.db import Database

KEY_SECONDS: Final = 20.0
"""How often is looked whether the watchers' keys are still good."""
EVERYTHING: Final = Scope()
LATEST: Final = "SELECT value FROM change_counter WHERE id = 1"

Found = TypeVar("Found")

log = logging.getLogger("lab.api")


@dataclass(frozen=True)
class News:
    """What changed up to `number` of what is watched, and the scopes of which nothing more will."""

    number: int
    events: list[Event]
    over: frozenset[Scope]


class Hub:
    """The watchers of one process, and the task that looks for what they are told. Of one event loop."""

    def __init__(
        self, database: Database, passes: Passes, settings: Settings, rows_of: RowsOf
    ) -> None:
        self.num_looks = 0
        self.num_refused = 0
        self._database, self._passes, self._settings = database, passes, settings
        self.rows_of = rows_of
        self.logs = LogReader(self.read, passes, settings.home)
        self._scopes: dict[Scope, set[Watcher]] = {}
        self._of_keys: Counter[str | None] = Counter()
        self._number = 0
        self.looking = Looking("changes", self._look, self._watchers)
        self._keys_seen_at = 0.0
        self._is_closed = False

    @property
    def num_watchers(self) -> int:
        """Streams that are open."""
        return self._of_keys.total()

    async def admit(self, caller: Caller, scope: Scope) -> Watcher:
        """One more watcher, whom `leave` lets go; raises TooManyWatchers, or as a look at the database does."""
        self._refuse_too_many(caller)
        watcher = Watcher(caller, scope)
        self._of_keys[caller.key_id] += 1
        self._scopes.setdefault(scope, set()).add(watcher)
        if self._is_closed:
            watcher.end("shutdown")
        with ExitStack() as leaving:
            leaving.callback(self.leave, watcher)
            await self._begin_to_look()
            leaving.pop_all()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """It has gone."""
        self._of_keys[watcher.caller.key_id] -= 1
        theirs = self._scopes[watcher.scope]
        theirs.remove(watcher)
        if not theirs:
            del self._scopes[watcher.scope]

    def news(self, watcher: Watcher) -> bytes:
        """The next piece of what is to be said; after the last one all is said up to the last look. To whose key has
        ended nothing.
        """
        return b"" if watcher.ends == "revoked" else watcher.takes_news(self._number)

    def close(self) -> None:
        """Tell everybody that the service stops."""
        self._is_closed = True
        for watcher in self._watchers():
            watcher.end("shutdown")
        self.looking.close()
        self.logs.looking.close()

    async def closed(self) -> None:
        """The same; returns when nothing is looked at any more."""
        self.close()
        await asyncio.gather(self.looking.closed(), self.logs.looking.closed())

    async def read(self, client: str, work: Callable[[Session], Found]) -> Found:
        """What one look at the database finds, in a pass of its own."""

        def look() -> Found:
            with self._database.reading() as session:
                return work(session)

        return await self._passes.go(self._passes.reading, client, look)

    def _refuse_too_many(self, caller: Caller) -> None:
        most, of_a_key = self._settings.max_watchers, self._settings.max_watchers_per_key
        if self.num_watchers >= most:
            self.num_refused += 1
            raise TooManyWatchers(
                f"{most:,} streams of events are open, which is the most (LAB_MAX_WATCHERS)"
            )
        if of_a_key and caller is not ANYONE and self._of_keys[caller.key_id] >= of_a_key:
            self.num_refused += 1
            raise TooManyWatchers(
                f"{of_a_key:,} streams of events are open with your key, which is the most"
                " (LAB_MAX_WATCHERS_PER_KEY); close some"
            )

    def _watchers(self) -> list[Watcher]:
        return [watcher for theirs in self._scopes.values() for watcher in theirs]

    async def _begin_to_look(self) -> None:
        """From the first watcher on. One that comes while another look goes on begins by reading a later state."""
        if not self.looking.is_on:
            number = await self._latest()
            if not self.looking.is_on:
                self._number = number
                self._keys_seen_at = time.monotonic()
                self.looking.begin()

    async def _look(self) -> bool:
        number = await self._latest()
        if number < self._number:
            log.warning("the database has gone back; telling everybody all anew")
            self._number = number
            for watcher in self._watchers():
                watcher.begin_anew()
        elif number > self._number:
            self._tell(await self.read("watch", self._found))
        await self._look_at_keys()
        return False

    async def _latest(self) -> int:
        """The number of the last change: of a SQLite file at a glance, else in a pass."""
        self.num_looks += 1
        if self._database.is_sqlite:
            try:
                found = self._database.glance(LATEST)
            except sqlite3.Error:  # in a pass, then, which waits for others
                found = None
            if found is not None:
                return int(found[0])

        def look() -> int:
            with self._database.looking() as session:
                return changes.latest(session)

        return await self._passes.go(self._passes.reading, "watch", look)

    def _found(self, session: Session) -> News:
        """In a thread. Who comes after the scopes are read has not read the state that they are told from yet, and so
        reads all that they are not told.
        """
        number = changes.latest(session)
        scopes = tuple(self._scopes)
        changed = changes.since(
            session, EVERYTHING, self._number, for_labels=any(one.labels for one in scopes)
        )
        found = events.encoded(
            session,
            [one for one in changed if any(scope.holds(one) for scope in scopes)],
            self.rows_of,
        )
        ending = [
            scope
            for scope in scopes
            if scope.can_be_over
            and any(event.is_final and scope.holds(event.changed) for event in found)
        ]
        over = frozenset(scope for scope in ending if changes.is_over(session, scope))
        return News(number, found, over)

    def _tell(self, news: News) -> None:
        self._number = news.number
        for scope, watchers in self._scopes.items():
            theirs = [event for event in news.events if scope.holds(event.changed)]
            for watcher in watchers:
                watcher.note(theirs)
                if scope in news.over and watcher.number < news.number:
                    watcher.end("terminal")

    async def _look_at_keys(self) -> None:
        """End those whose key has been revoked, or who have none since one is asked for."""
        if time.monotonic() - self._keys_seen_at < KEY_SECONDS:
            return
        self._keys_seen_at = time.monotonic()
        callers = {watcher.caller for watcher in self._watchers()}
        good = await self.read(
            "watch", lambda session: keys.still_good(session, self._settings, callers)
        )
        for watcher in self._watchers():
            if watcher.caller in callers - good:
                watcher.end("revoked")
