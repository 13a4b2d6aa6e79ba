"""Who watches: how far each has been told, and what is still to be said; never what was."""

import asyncio
from collections import OrderedDict

from app.api.watching import events
from app.api.watching.events import EndReason, Event
from app.services.experiments.changes import Scope
from app.services.owners.keys import Caller


class Watcher:
    """One that watches a scope. All changes of it up to `number` have been said, and of what changed after it the
    newest event is kept, which all watchers share: what changes faster than a client reads is said once, as it stands
    then.
    """

    def __init__(self, caller: Caller, scope: Scope) -> None:
        self.caller, self.scope = caller, scope
        self.number = 0
        self._unsaid: OrderedDict[str, Event] = OrderedDict()
        """By id, in the order of the last changes."""
        self.ends: EndReason | None = None
        self.begins_anew = False
        """Whether the database has gone back behind what was said."""
        self.is_cut = False
        self.wake = asyncio.Event()
        self._pings = False

    def note(self, changed: list[Event]) -> None:
        """This of its scope has changed, after all that was noted before."""
        for event in changed:
            if event.changed.number > self.number:
                self._unsaid[event.changed.id] = event
                self._unsaid.move_to_end(event.changed.id)
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
        self._unsaid.clear()
        self.wake.set()

    def ping(self) -> None:
        """A sign of life is due."""
        self._pings = True
        self.wake.set()

    def told(self, upto: int) -> None:
        """All up to that change has been said."""
        self.number = max(self.number, upto)

    def takes_news(self, upto: int) -> bytes:
        """The next piece of what is to be said, and the sign of life, if it is due. After the last piece all is said up
        to that change.
        """
        found = self.takes_events()
        following = next(iter(self._unsaid.values()), None)
        self.told(upto if following is None else following.changed.number - 1)
        is_half = bool(found) and found[-1].changed.number > self.number
        content = events.in_bytes(found, None if is_half else self.number)
        return content + (events.ping(self.number) if self.takes_ping() else b"")

    def takes_events(self) -> list[Event]:
        """What is to be said next, without what was said while it waited."""
        found: list[Event] = []
        while self._unsaid and len(found) < events.AT_ONCE:
            _, event = self._unsaid.popitem(last=False)
            if event.changed.number > self.number:
                found.append(event)
        return found

    def takes_ping(self) -> bool:
        """Whether a sign of life is due; then it is no more."""
        was_due, self._pings = self._pings, False
        return was_due
