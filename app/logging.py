"""One line a record on standard error, for API and worker alike."""

import logging
import sys
import time


def set_up_logging(level: str) -> None:
    """Give the root logger one handler; times are UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("alembic", "celery", "httpx", "httpx2", "kombu", "matplotlib"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
