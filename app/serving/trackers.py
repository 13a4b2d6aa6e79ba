"""What sends all runs to trackers: for each a process beside the API, which is a client like any other."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import entry_points
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.errors import Misconfigured
from app.roles import Role
from app.services.owners import keys
from app.serving.companion import Companion, Equipment
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import utc_now

MODULE: Final = "training_lab.commands.sync_process"
"""Of the client, which is started and not imported."""
OWN: Final = ("wandb", "mlflow", "tensorboard", "trackio")
GROUP: Final = "lab.sinks"
"""Entry points of others' trackers."""
OWNER: Final = "lab.trackers"
"""Whose its keys are."""
LEFT_OVER: Final = timedelta(days=1)
"""A key of a service that was killed. A process that has one as old all the same gets another at its next start."""
MOST_BYTES: Final = 1 << 30
"""Of memory, for each process: one that leaks ends, and another goes on."""

log = logging.getLogger("lab.serve")


@contextmanager
def tracker_companions(settings: Settings, url: str) -> Iterator[None]:
    """While this lasts, every run of the service at `url` is sent to the trackers of the settings."""
    names = settings.tracker_names
    if not names:
        yield
        return
    database = Database(settings.effective_database_url)
    given = [(name, ReadKey(database, settings)) for name in names]
    companions = [
        Companion(
            MODULE,
            lambda: True,
            name=f"tracker {name}",
            equip=partial(_equipment, settings, url, name, key),
        )
        for name, key in given
    ]
    try:
        for one in companions:
            one.start()
        yield
    finally:
        for one in companions:
            one.ask_to_leave()
        for one in companions:
            one.stop()
        for _, key in given:
            key.end()
        database.close()


def refuse_unknown(settings: Settings) -> None:
    """Raises Misconfigured where LAB_TRACKERS names what is no tracker."""
    there = [*OWN, *sorted({one.name for one in entry_points(group=GROUP)} - set(OWN))]
    for name in settings.tracker_names:
        if name not in there:
            raise Misconfigured(
                f"LAB_TRACKERS: there is no tracker {name!r}; there are {', '.join(there)}"
            )


class ReadKey:
    """A key that reads everything, where the service asks for keys; nobody but one process knows it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._id: str | None = None

    def make(self) -> str | None:
        """Another one in place of the last; None where no key is asked for. Raises SQLAlchemyError."""
        with self._database.writing() as session:
            if not keys.are_asked_for(session, self._settings):
                return None
            if self._id is not None:
                keys.revoke_key(session, self._id)
            before = utc_now() - LEFT_OVER
            for left in keys.live_keys(session, {OWNER}).get(OWNER, []):
                if left.created_at < before:
                    keys.revoke_key(session, left.id)
            key, secret = keys.create_key(session, OWNER, Role.READ)
            self._id = key.id
            return secret

    def end(self) -> None:
        """Revoke the last one."""
        if self._id is None:
            return
        try:
            with self._database.writing() as session:
                keys.revoke_key(session, self._id)
        except SQLAlchemyError as error:
            log.warning("a tracker's key could not be revoked: %s", error)


def _equipment(settings: Settings, url: str, name: str, key: ReadKey) -> Equipment:
    folder = settings.trackers_folder
    return Equipment(
        [
            *(name, "--all", "--follow"),
            *("--url", url),
            *("--state", str(folder / "state"), "--folder", str(folder)),
            *("--most-bytes", str(MOST_BYTES)),
        ],
        # an empty one is none
        {"LAB_API_KEY": key.make() or ""},
    )
