"""What `lab doctor` finds on a machine of the service itself: home, database, broker, memory, and what trains there."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.commands.homes import what_is_missing
from app.errors import Misconfigured
from app.quantities import in_words
from training_lab.commands.findings import Finding, State

if TYPE_CHECKING:
    from app.settings import Settings

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - its room is looked at
PROBE: Final = (sys.executable, "-P", "-m", "worker.probe", "--json")
"""It takes some ten seconds: a trainer is started up to its first step on each device, as workers do it."""
STATES: Final[dict[str, State]] = {"ok": "ok", "warn": "unknown", "FAIL": "bad"}
LEAST_SHARED_MEMORY: Final = 64_000_000
"""Bytes; what Docker gives where nobody says more."""


def add_options(commands: Any) -> None:
    """Add these to `lab doctor`, which is the client's."""
    commands.choices["doctor"].set_defaults(local_checks=local_findings)


def local_findings() -> Iterator[Finding]:
    """Of the home that commands here would use, if there is one, and of what trains here."""
    from app.settings import Settings

    try:
        settings = Settings()
        missing = what_is_missing(settings)
    except Misconfigured as error:
        yield Finding("home", "bad", str(error), "`lab settings` says where each setting is from")
        return
    if missing is None:
        yield from _of_the_home(settings)
    else:
        yield Finding("home", "unknown", "no home of a service is on this machine, or not here")
    yield from findings_of_devices(PROBE)


def _of_the_home(settings: "Settings") -> Iterator[Finding]:
    yield Finding("home", "ok", str(settings.home.absolute()))
    yield _database(settings)
    yield _disk(settings)
    if not settings.embedded:
        yield _broker(settings)
    yield _shared_memory()


def _database(settings: "Settings") -> Finding:
    """That it answers with the schema of this version, and a file lies where its write-ahead log is safe."""
    from sqlalchemy.exc import DatabaseError

    from app.storage.db import Database, why_not
    from app.storage.engines import refuse_network_file_system
    from app.storage.schema import schema_is_current

    url = settings.effective_database_url
    try:
        refuse_network_file_system(url)
        database = Database(url)
        try:
            with database.reading() as session:
                is_current = schema_is_current(session)
        finally:
            database.close()
    except Misconfigured as error:
        return Finding("database here", "bad", str(error))
    except DatabaseError as error:
        return Finding("database here", "bad", why_not(error, url))
    if not is_current:
        said = f"{settings.database_name} has the schema of another version"
        return Finding("database here", "bad", said, "start the service of this version once")
    is_file = url.startswith("sqlite")
    said = f"{settings.database_name}" + (", its log on a local disk" if is_file else " answers")
    return Finding("database here", "ok", said)


def _disk(settings: "Settings") -> Finding:
    from app.services.upkeep.readiness import OK, storage_state

    found = storage_state(settings.home, settings.min_free_bytes)
    free = f"{in_words(found.free_bytes)} free"
    if found.state == OK:
        return Finding("disk here", "ok", free)
    return Finding(
        "disk here", "bad", f"{found.state}, {free}", "`lab gc` removes what nothing needs"
    )


def _broker(settings: "Settings") -> Finding:
    from app.doorbell import broker_answers

    if broker_answers(settings.broker_url):
        return Finding("broker here", "ok", "Redis answers")
    return Finding("broker here", "bad", "Redis does not answer", "look at LAB_BROKER_URL")


def _shared_memory() -> Finding:
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError as error:
        return Finding("shared memory", "unknown", f"{SHARED_MEMORY}: {error.strerror}")
    said = f"{in_words(free)} free in {SHARED_MEMORY}"
    if free >= LEAST_SHARED_MEMORY:
        return Finding("shared memory", "ok", said)
    return Finding("shared memory", "bad", said, "give the container more: --shm-size 1g")


def findings_of_devices(command: Sequence[str]) -> Iterator[Finding]:
    """What `python -m worker.probe` says line by line, while it says it: driver, GPUs, a trainer on each device, the
    bits of the same steps done twice, and disk.
    """
    last = ""
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as probe:
        assert probe.stdout is not None
        for line in probe.stdout:
            try:
                found = json.loads(line)
                yield Finding(found["what"], STATES[found["level"]], found["found"], found["do"])
            except (ValueError, TypeError, KeyError):
                last = line.strip() or last
    if probe.returncode not in (0, 1):
        said = last or f"the probe of this machine ended with status {probe.returncode}"
        yield Finding("devices", "bad", said, "`python -P -m worker.probe` looks closer")
