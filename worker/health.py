"""`python -m worker.health`: whether the workers of this machine have lately shown themselves in the database.

The health check of a worker's container. It is no verb of `lab`, because it runs all the time beside the training and
so loads only what it needs: a second of processor time instead of four.
"""

import argparse
import socket
import sys

from sqlalchemy.exc import SQLAlchemyError

from app.errors import Misconfigured
from app.services.lifecycle.workers import ONLINE_SECONDS, online, trouble_of
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Worker


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0 when at least `--workers` workers of this host were seen within the last 20 seconds and can train,
    else 1 with the reason on one line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m worker.health",
        description="Tell whether this machine's workers are online.",
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="how many there must be (default: 1)"
    )
    wanted: int = parser.parse_args(arguments).workers
    host = socket.gethostname()
    try:
        seen = workers_seen(Settings(), host)
    except (Misconfigured, SQLAlchemyError) as error:
        print(f"cannot ask the database: {str(error).splitlines()[0]}")
        return 1
    fit = sum(worker.trouble is None for worker in seen)
    line = f"{len(seen)} of {wanted} workers on {host} were seen within the last {ONLINE_SECONDS} seconds"
    trouble = trouble_of(seen)
    print(line if trouble is None else f"{line}; {trouble}")
    return 0 if fit >= wanted else 1


def workers_seen(settings: Settings, host: str) -> list[Worker]:
    """The workers of this host that are online. Reads alone: it migrates nothing and makes no folder."""
    database = Database(settings.effective_database_url)
    try:
        with database.reading() as session:
            return [worker for worker in online(session) if worker.host == host]
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main())
