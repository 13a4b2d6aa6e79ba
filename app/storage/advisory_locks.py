"""PostgreSQL's advisory locks: the number of each, and how one is held until the transaction ends.

SQLite has one writer at a time anyway, and each of its processes migrates under the lock of a file.
"""

from enum import IntEnum

from sqlalchemy import Connection, func, select


class AdvisoryLock(IntEnum):
    """What is locked. The numbers are any, the same in every process; some are locks themselves, some classes of locks
    on names.
    """

    MIGRATION = 7_236_011
    KEYS_OF_STUDIES = 7_236_012
    KEYS_OF_EXPERIMENTS = 7_236_013
    CLAIM = 7_236_014
    DATASETS = 7_236_015
    INSTALLATION = 7_236_016


def hold(
    connection: Connection, lock: AdvisoryLock, name: str | None = None, *, shared: bool = False
) -> None:
    """Hold it, of that name where it is a class, until the transaction ends; `shared` with others who share it."""
    if connection.dialect.name != "postgresql":
        return
    function = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    named = () if name is None else (func.hashtext(name),)
    connection.execute(select(function(int(lock), *named)))
