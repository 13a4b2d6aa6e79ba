"""The one that sends: it reads what has changed, has deliveries stored with how far it has read, and tries what is due.

What it has not written down it does again: after a kill at any moment each delivery is still there and due, or ended.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from app.logging import Rarely
from app.sender.posting import Poster
from app.services.experiments import changes
from app.services.webhooks import deliveries, occurrences, signing, turns, webhooks
from app.services.webhooks.deliveries import Due
from app.services.webhooks.schedule import Attempted
from app.services.webhooks.turns import NotItsTurn, TurnWatch
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import utc_now
from lab_models.common.revision import package_version

LOOK_SECONDS: Final = 1.0
AT_A_TIME: Final = 32
"""Tries; of one webhook there is one at a time, so that what is slow holds up only itself."""
AT_A_TIME_PER_OWNER: Final = 4
LAST_SECONDS: Final = 1.0
"""How long tries may go on when the sender is to leave; what has not been answered by then is sent again."""
AGENT: Final = f"training-lab/{package_version() or 'unknown'}"

Found = TypeVar("Found")

log = logging.getLogger("lab.webhooks")


class Sender:
    """Of one process and event loop; `name` says in the database who it is."""

    def __init__(self, database: Database, settings: Settings, poster: Poster, name: str) -> None:
        self._database, self._settings, self._poster, self._name = database, settings, poster, name
        self._watch = TurnWatch(settings.lease_seconds)
        self._thread = ThreadPoolExecutor(1, "database")
        self._leaving, self._woken = asyncio.Event(), asyncio.Event()
        self._fence: int | None = None
        self._held_at = 0.0
        self._read = 0
        self._busy: dict[str, str] = {}
        self._tries: set[asyncio.Task[None]] = set()
        self._trouble = Rarely(log)
        self._rest = min(LOOK_SECONDS, settings.lease_seconds / 5)

    def ask_to_leave(self) -> None:
        """Begin nothing more."""
        self._leaving.set()
        self._woken.set()

    async def run(self) -> None:
        """Send until it is asked to leave, or there is nobody to tell anything."""
        while not self._leaving.is_set():
            self._woken.clear()
            try:
                is_wanted, due = await self._in_thread(self._look)
            except NotItsTurn:
                self._lose()
                is_wanted, due = True, []
            except SQLAlchemyError as error:
                self._trouble.warn("the database did not answer (%s); looking again", error)
                self._watch.forget()
                is_wanted, due = True, []
            if not is_wanted and not self._tries:
                break
            for one in due:
                self._begin(one)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rest):
                    await self._woken.wait()
        await self._leave()

    def _look(self) -> tuple[bool, list[Due]]:
        """In the database's thread: whether somebody is to be told anything, and what is due."""
        if self._settings.max_webhooks_per_owner == 0:
            return False, []
        with self._database.reading() as session:
            if not webhooks.are_any_to_tell(session):
                return False, []
            seen = turns.look(session)
        if self._fence is None:
            if not self._watch.is_free(seen):
                return True, []
            with self._database.writing() as session:
                self._fence = turns.take(session, seen, self._name)
            self._held_at, self._read = time.monotonic(), 0
            log.info("%s sends to webhooks from now on", self._name)
        self._tell()
        return True, self._due()

    def _tell(self) -> None:
        """Store what is to be told, with how far is read: both or neither."""
        with self._database.reading() as session:
            told, number = turns.told(session), changes.latest(session)
            if number < self._read:
                log.warning("the database has gone back; reading on from where it says")
                self._read = 0
            found = occurrences.since(session, max(told, self._read))
        if found or self._is_to_hold():
            with self._database.writing() as session:
                if turns.hold(session, self._fence or 0) == told:
                    stored = webhooks.tell(session, self._settings, found)
                    turns.has_told(session, number)
                    if stored:
                        log.info("%d deliveries more to webhooks", stored)
                else:  # whoever has just made the first webhook has moved it
                    number = 0
            self._held_at = time.monotonic()
        self._read = number

    def _due(self) -> list[Due]:
        if time.monotonic() - self._held_at > self._settings.lease_seconds / 2:
            return []  # nobody knows whether another one sends by now
        free = AT_A_TIME - len(self._busy)
        of_owners = Counter(self._busy.values())
        full = [owner for owner, count in of_owners.items() if count >= AT_A_TIME_PER_OWNER]
        if free <= 0:
            return []
        with self._database.reading() as session:
            found = deliveries.due(session, utc_now(), list(self._busy), full, free)
        if found:
            with self._database.writing() as session:
                turns.hold(session, self._fence or 0)
                webhooks.disable_unentitled(session, self._settings)
            with self._database.reading() as session:
                found = deliveries.due(session, utc_now(), list(self._busy), full, free)
            self._held_at = time.monotonic()
        return found

    def _is_to_hold(self) -> bool:
        return time.monotonic() - self._held_at >= self._settings.lease_seconds / 5

    def _begin(self, due: Due) -> None:
        of_owner = sum(owner == due.owner for owner in self._busy.values())
        if self._fence is None or of_owner >= AT_A_TIME_PER_OWNER:
            return
        self._busy[due.webhook_id] = due.owner
        task = asyncio.create_task(self._deliver(due))
        self._tries.add(task)
        task.add_done_callback(self._tries.discard)

    async def _deliver(self, due: Due) -> None:
        try:
            body = due.body.encode()
            headers = {
                "Content-Type": "application/json",
                "User-Agent": AGENT,
                "Accept-Encoding": "identity",
                **signing.signed(due.id, utc_now(), body, due.secret),
            }
            attempted = await self._poster.post(due.id, due.url, headers, body)
            if attempted.is_success:
                log.info("%s: delivered to %s", due.id, due.webhook_id)
            else:
                log.info("%s: not delivered to %s: %s", due.id, due.webhook_id, attempted.in_words)
            await self._write_down(due, attempted)
            await self._poster.is_let_go(due.id)
        finally:
            del self._busy[due.webhook_id]
            self._woken.set()

    async def _write_down(self, due: Due, attempted: Attempted) -> None:
        """Until it is done: what is not written down would be sent again at once."""
        while True:
            try:
                await self._in_thread(lambda: self._record(due, attempted))
            except NotItsTurn:
                self._lose()
            except SQLAlchemyError as error:
                self._trouble.warn("what came of %s is not written down yet (%s)", due.id, error)
                await asyncio.sleep(LOOK_SECONDS)
                continue
            return

    def _record(self, due: Due, attempted: Attempted) -> None:
        if self._fence is None:
            raise NotItsTurn
        with self._database.writing() as session:
            turns.hold(session, self._fence)
            deliveries.record(session, due, attempted, utc_now())
        self._held_at = time.monotonic()

    def _lose(self) -> None:
        if self._fence is not None:
            log.warning("another process sends to webhooks now")
        self._fence = None

    async def _leave(self) -> None:
        if self._tries:
            await asyncio.wait(self._tries, timeout=LAST_SECONDS)
        if self._fence is not None:
            with suppress(SQLAlchemyError):
                await self._in_thread(self._release)

    def _release(self) -> None:
        with self._database.writing() as session:
            turns.leave(session, self._fence or 0)

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
