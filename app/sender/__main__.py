"""`python -m app.sender`: sends to webhooks until a signal ends it, or until there are none."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys

from app.home import home_in_use
from app.logging import set_up_logging
from app.sender.posting import Poster
from app.sender.sender import AT_A_TIME, Sender
from app.settings import Settings
from app.storage.db import Database, open_database
from lab_models.running.process import die_with_parent, give_way, leave_no_core_files

NICENESS = 2
"""Behind the API, before training."""


def main() -> int:
    """Send; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m app.sender", description="Send to webhooks for the service that starts it."
    )
    parser.add_argument("--parent-pid", type=int, help="die when this process dies")
    options = parser.parse_args()
    if options.parent_pid is not None:
        die_with_parent(options.parent_pid)
    leave_no_core_files()
    give_way(NICENESS)
    settings = Settings()
    set_up_logging(settings.log_level, settings.log_format)
    with home_in_use(settings.home, settings.database_name):
        database = open_database(settings)
        try:
            asyncio.run(_send(database, settings))
        finally:
            database.close()
    return 0


async def _send(database: Database, settings: Settings) -> None:
    poster = Poster(private=settings.webhook_private, most=AT_A_TIME)
    sender = Sender(database, settings, poster, f"sender-{socket.gethostname()}-{os.getpid()}")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, sender.ask_to_leave)
    await sender.run()


def leave(status: int) -> None:
    """End the process at once: no thread that still looks up a name is waited for."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
