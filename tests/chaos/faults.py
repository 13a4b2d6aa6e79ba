"""What goes wrong: one function a fault, each doing it for real and returning whether it found something to do it
to.
"""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable

from redis import Redis as RedisClient

from app.doorbell import QUEUE, TASK
from app.settings import Settings
from tests.chaos.stack import Stack
from tests.e2e.service import ancestors
from worker.celery import make_celery

FROZEN_SECONDS = 6.0
"""Longer than the lease: others take the run over."""

Fault = Callable[[Stack, random.Random], bool]


def _kill(kind: str) -> Fault:
    def fault(stack: Stack, chance: random.Random) -> bool:
        found = stack.pids(kind)
        return bool(found) and _signal(chance.choice(found), signal.SIGKILL)

    fault.__name__ = f"kill -9 {kind}"
    return fault


def kill_api(stack: Stack, chance: random.Random) -> bool:
    """kill -9 of the API."""
    return stack.api.poll() is None and _signal(stack.api.pid, signal.SIGKILL)


def stop_worker(stack: Stack, chance: random.Random) -> bool:
    """SIGTERM to a worker: it saves its run, puts it back and leaves."""
    stack.stop_gracefully(chance.randrange(len(stack.workers)))
    return True


def freeze_worker(stack: Stack, chance: random.Random) -> bool:
    """SIGSTOP to one worker with its children for longer than the lease, then SIGCONT: a zombie that wakes."""
    worker = chance.choice(stack.workers)
    family = [
        pid for pid in stack.service.lab_pids() if pid == worker.pid or worker.pid in ancestors(pid)
    ]
    for pid in family:
        _signal(pid, signal.SIGSTOP)
    threading.Timer(
        FROZEN_SECONDS, lambda: [_signal(pid, signal.SIGCONT) for pid in family]
    ).start()
    return bool(family)


def lock_database(stack: Stack, chance: random.Random) -> bool:
    """Another program holds SQLite's write lock."""
    file = stack.service.home / "lab.sqlite3"
    if stack.cluster is not None or not file.exists():
        return False
    connection = sqlite3.connect(file, timeout=10, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    time.sleep(chance.uniform(0.5, 6.0))
    connection.execute("ROLLBACK")
    connection.close()
    return True


def restart_postgresql(stack: Stack, chance: random.Random) -> bool:
    """PostgreSQL crashes and comes back."""
    if stack.cluster is None:
        return False
    stack.cluster.stop("immediate")
    time.sleep(chance.uniform(0.0, 2.0))
    stack.cluster.start()
    return True


def restart_redis(stack: Stack, chance: random.Random) -> bool:
    """Redis is killed and comes back empty."""
    if stack.redis is None:
        return False
    stack.redis.kill()
    time.sleep(chance.uniform(0.0, 3.0))
    stack.redis.start()
    return True


def freeze_redis(stack: Stack, chance: random.Random) -> bool:
    """Redis hangs for a while."""
    if stack.redis is None:
        return False
    stack.redis.send_signal(signal.SIGSTOP)
    time.sleep(chance.uniform(0.5, 4.0))
    stack.redis.send_signal(signal.SIGCONT)
    return True


def lose_messages(stack: Stack, chance: random.Random) -> bool:
    """Every message in Redis is lost."""
    if stack.redis is None:
        return False
    with RedisClient.from_url(stack.redis.url) as client:
        client.flushall()
    return True


def break_connections(stack: Stack, chance: random.Random) -> bool:
    """Every connection to Redis breaks."""
    if stack.redis is None:
        return False
    with RedisClient.from_url(stack.redis.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    return True


def double_messages(stack: Stack, chance: random.Random) -> bool:
    """Doorbells that nobody rang."""
    if stack.redis is None:
        return False
    celery = make_celery(Settings(broker_url=stack.redis.url, _env_file=None))
    for _ in range(chance.randint(2, 20)):
        celery.send_task(TASK, queue=QUEUE)
    celery.close()
    return True


def damage_checkpoint(stack: Stack, chance: random.Random) -> bool:
    """One byte of a checkpoint flips, or the file loses its end, and then the trainer dies: the next attempt must
    notice.
    """
    trainers = stack.pids("trainer")
    files = sorted(
        stack.service.home.glob("runs/*/attempt-*/*.pt"), key=lambda path: path.stat().st_mtime
    )
    if not files or not trainers:
        return False
    newest = files[-1]
    content = bytearray(newest.read_bytes())
    if not content:
        return False
    place = chance.randrange(len(content))
    content[place] ^= 1 << chance.randrange(8)
    newest.write_bytes(content if chance.random() < 0.5 else content[:place])
    for pid in trainers:
        _signal(pid, signal.SIGKILL)
    return True


FAULTS: tuple[tuple[int, Fault], ...] = (
    (4, _kill("trainer")),
    (3, _kill("worker")),
    (3, _kill("child")),
    (2, _kill("server")),
    (2, kill_api),
    (3, stop_worker),
    (2, freeze_worker),
    (2, lock_database),
    (2, restart_postgresql),
    (2, restart_redis),
    (1, freeze_redis),
    (2, lose_messages),
    (2, break_connections),
    (2, double_messages),
    (3, damage_checkpoint),
)
"""With their weights."""


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
