"""The schema and the migrations that bring it up to date, which a start applies."""

import fcntl
import importlib.util
import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlmodel import Session

from app.errors import Misconfigured
from app.storage.advisory_locks import AdvisoryLock, hold

MIGRATION_LOCK_FILE = ".migrate.lock"

log = logging.getLogger("lab.db")


def migrate(engine: Engine, lock: Path) -> None:
    """Bring the schema up to date; of several processes that start at once, one does it and the others wait.

    Raises Misconfigured when the schema is one that this code does not know.
    """
    config = alembic_config()
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # another process's migration may take long
                connection.execute(text("SET LOCAL lock_timeout = 0"))
            hold(connection, AdvisoryLock.MIGRATION)
            if schema_revision(connection) != _head(config):
                _refuse_unknown_schema(config, schema_revision(connection))
                if connection.dialect.name == "sqlite":
                    connection.commit()  # foreign keys cannot be switched off within a transaction; the file lock holds
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                log.info("database schema is now at revision %s", _head(config))
            connection.commit()


def schema_is_current(session: Session) -> bool:
    """Whether the database has the schema that this code was written for."""
    return schema_revision(session.connection()) == _head(alembic_config())


def schema_revision(connection: Connection) -> str | None:
    """The migration that the database stands at, None when it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> frozenset[str]:
    """Every schema that this code can bring up to date."""
    return _known(alembic_config())


def alembic_config() -> Config:
    """Alembic's configuration without a file: the `migrations` folder beside this package."""
    found = importlib.util.find_spec("migrations")
    if found is None or found.origin is None:
        raise Misconfigured("the package 'migrations' is not installed")
    config = Config()
    config.set_main_option("script_location", str(Path(found.origin).parent).replace("%", "%%"))
    return config


def _head(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _known(config: Config) -> frozenset[str]:
    return frozenset(
        script.revision for script in ScriptDirectory.from_config(config).walk_revisions()
    )


def _refuse_unknown_schema(config: Config, revision: str | None) -> None:
    if revision is not None and revision not in _known(config):
        raise Misconfigured(
            f"the database has schema revision {revision}, which this version does not know: it was written by a newer"
            " one. Install that version again, or restore the backup made before it was installed"
        )
