"""Alembic's environment: on a connection that the service hands over, or on the settings' database from the command
line.
"""

from alembic import context
from sqlalchemy import Connection

from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import metadata


def run(connection: Connection) -> None:
    """Apply migrations; SQLite rebuilds tables in batch mode, with foreign keys off while it does."""
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
    context.configure(
        connection=connection, target_metadata=metadata(), render_as_batch=True, compare_type=True
    )
    with context.begin_transaction():
        context.run_migrations()
    if connection.dialect.name == "sqlite":
        connection.commit()
        connection.connection.cursor().execute("PRAGMA foreign_keys=ON")


handed_over: Connection | None = context.config.attributes.get("connection")
if handed_over is not None:
    run(handed_over)
else:
    with Database(Settings().effective_database_url).engine.connect() as own:
        run(own)
        own.commit()
