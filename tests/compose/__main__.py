"""`python -m tests.compose`: builds the images and goes through every promise of docs/containers.md on a project of its
own.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.compose.engine import Missing, Stack, find_compose
from tests.compose.steps import Steps, write_digits_as_mnist

EXIT_FAILED, EXIT_MISSING = 1, 2
PROFILES: tuple[tuple[str, ...], ...] = ((), ("gpu",), ("postgres",), ("gpu", "postgres"))
PASSES = ("sqlite", "postgres")


def main() -> int:
    """Exit status 0 when every step went well, 1 when one did not, 2 when something that is needed is absent."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.compose",
        description="Test docker-compose.yml: build, up, faults, down.",
    )
    parser.add_argument("--only", choices=PASSES, help="one pass alone (default: both)")
    parser.add_argument("--no-build", action="store_true", help="take the images as they are")
    options = parser.parse_args()
    try:
        command = find_compose()
    except Missing as error:
        print(error, file=sys.stderr)
        return EXIT_MISSING
    log = Path(tempfile.mkdtemp(prefix="lab-compose-test-")) / "log.txt"
    print(f"{' '.join(command)}; what the commands say is in {log}", flush=True)
    began = time.monotonic()
    try:
        _check_files(command, log)
        if not options.no_build:
            _step("build", lambda: _build(command, log))
        for name in [options.only] if options.only else PASSES:
            PASS_FUNCTIONS[name](command, log)
    except AssertionError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(f"passed in {time.monotonic() - began:.0f} s")
    return 0


def _check_files(command: list[str], log: Path) -> None:
    for profiles in PROFILES:
        stack = Stack(command, "lab-compose-test", log, profiles)
        _step(
            f"config, {' and '.join(profiles) or 'no'} profile", lambda stack=stack: _config(stack)
        )


def _config(stack: Stack) -> str:
    stack.compose("config", "--quiet")
    return "valid"


def _build(command: list[str], log: Path) -> str:
    Stack(command, "lab-compose-test", log).compose("build", "api", "worker")
    return ""


def _pass_on_sqlite(command: list[str], log: Path) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="lab-compose-data-") as data,
        tempfile.TemporaryDirectory(prefix="lab-compose-backup-") as backup,
        _stack(command, log, LAB_DATA=data) as stack,
    ):
        steps = Steps(stack)
        write_digits_as_mnist(Path(data))
        _all(
            ("up", lambda: stack.up()),
            ("images", steps.images),
            ("hardening", steps.hardening),
            ("POST to PNG", steps.post_to_png),
            ("data sets from a folder", steps.data_folder),
            ("backup into a folder", lambda: steps.backup(Path(backup))),
            ("undisturbed run", steps.undisturbed),
            ("docker kill of the worker", steps.kill_container),
            ("kill -9 within the worker", steps.kill_processes),
            ("restart of Redis", steps.restart_redis),
            ("graceful stop of the worker", steps.graceful_stop),
            ("down and up", steps.down_and_up),
        )


def _pass_on_postgres(command: list[str], log: Path) -> None:
    password = secrets.token_hex(16)
    settings = {
        "LAB_POSTGRES_PASSWORD": password,
        "LAB_DATABASE_URL": "postgresql+psycopg://lab@postgres/lab",
    }
    with _stack(command, log, ("postgres",), **settings) as stack:
        steps = Steps(stack)
        _all(
            ("postgres: up", lambda: stack.up()),
            ("postgres: hardening", steps.hardening),
            ("postgres: is the database in use", steps.uses_postgres),
            ("postgres: POST to PNG", steps.post_to_png),
            ("postgres: undisturbed run", steps.undisturbed),
            ("postgres: docker kill of the worker", steps.kill_container),
            ("postgres: restart of PostgreSQL", steps.restart_postgres),
            ("postgres: graceful stop of the worker", steps.graceful_stop),
            ("postgres: down and up", steps.down_and_up),
        )


PASS_FUNCTIONS = {"sqlite": _pass_on_sqlite, "postgres": _pass_on_postgres}


@contextmanager
def _stack(
    command: list[str], log: Path, profiles: tuple[str, ...] = (), **settings: object
) -> Iterator[Stack]:
    """A project of its own; nothing of it is left behind, whatever happens."""
    stack = Stack(command, f"lab-compose-test-{os.getpid()}", log, profiles, **settings)
    try:
        yield stack
    finally:
        stack.remove()


def _all(*steps: tuple[str, Callable[[], str | None]]) -> None:
    for name, work in steps:
        _step(name, work)


def _step(name: str, work: Callable[[], str | None]) -> None:
    began = time.monotonic()
    try:
        said = work()
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from error
    print(f"{time.monotonic() - began:7.1f} s  {name:<37} {said or ''}".rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
