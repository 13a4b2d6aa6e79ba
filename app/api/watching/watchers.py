"""Who watches: how far each has been told, and what is still to be said; never what was."""

import asyncio

from app.api.watching import events
from app.api.watching.events import EndReason, Event
from app.services.experiments.changes import Scope
from app.services.owners.keys import Caller


class Watcher:
    """One that watches a scope. All changes of it up to `number` have been said, and of those after it the ids are
    kept of what changed, each once: what changes faster than a client reads is said once, as it stands then.
    """

    def __init__(self, caller: Caller, scope: Scope) -> None:
        self.caller, self.scope = caller, scope
        self.number = 0
        self.unsaid: set[str] = set()
        self.ends: EndReason | None = None
        self.begins_anew = False
        """Whether the database has gone back behind what was said."""
        self.is_cut = False
        self.wake = asyncio.Event()
        self._pings = False

    def note(self, changed: list[Event]) -> None:
        """Something of its scope has changed."""
        ids = [event.changed.id for event in changed if event.changed.number > self.number]
        if ids:
            self.unsaid.update(ids)
            self.wake.set()

    def end(self, reason: EndReason) -> None:
        """Nothing will be said after what is still to be said now; the first reason holds."""
        self.ends = self.ends or reason
        self.wake.set()

    def cut(self) -> None:
        """Nothing more can be said, not even that it ends."""
        self.is_cut = True
        self.wake.set()

    def begin_anew(self) -> None:
        """Forget what was said."""
        self.begins_anew = True
        self.unsaid.clear()
        self.wake.set()

    def ping(self) -> None:
        """A sign of life is due."""
        self._pings = True
        self.wake.set()

    def told(self, upto: int) -> None:
        """All up to that change has been said."""
        self.number = max(self.number, upto)

    def takes_ping(self) -> bytes:
        """The sign of life, if it is due."""
        if not self._pings:
            return b""
        self._pings = False
        return events.ping(self.number)
