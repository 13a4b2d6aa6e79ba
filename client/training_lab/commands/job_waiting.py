"""To wait for an experiment or a study with a bar, and above it a line for each epoch."""

import argparse
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from training_lab.commands.command_line import Detached, elsewhere
from training_lab.commands.epoch_lines import EpochLines
from training_lab.commands.requesting import Service, address, is_study
from training_lab.errors import Refused, TimedOut, Unreachable, Unusable
from training_lab.progress import WIDEST
from training_lab.retrying import PASSING, backoff
from training_lab.waiting import GONE_SECONDS, MOST_BACKOFF, POLL_SECONDS, POLL_SHARE

ENDED = ("succeeded", "failed", "cancelled")
AWAY = "the service does not answer; trying again"


def add_wait(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--wait` and `--timeout`; `what` says for people what waiting shows."""
    parser.add_argument("--wait", action="store_true", help=what)
    add_timeout(parser)


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add `--timeout`."""
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="wait so long at most; then status 124"
    )


def check_timeout(options: argparse.Namespace, *, waits: bool) -> None:
    """Raises Unusable for a time to wait where nothing is waited for."""
    if options.timeout is not None and not waits:
        raise Unusable("--timeout goes with --wait")


def wait_or_stop(service: Service, identifier: str, options: argparse.Namespace) -> dict[str, Any]:
    """`wait_with_progress`, which Ctrl-C and `--timeout` leave with a word on what goes on; raises Detached,
    TimedOut.
    """
    watch, cancel = (
        f"`lab {verb} {identifier}{elsewhere(options)}`" for verb in ("watch", "cancel")
    )
    how = f"{watch} tells how far it is, {cancel} ends it."
    try:
        return wait_with_progress(
            service, identifier, timeout=options.timeout, is_quiet=options.quiet
        )
    except TimedOut as late:
        raise TimedOut(
            f"{identifier} has not ended within {options.timeout:g} s, but goes on: {how}"
        ) from late
    except KeyboardInterrupt as interrupt:
        raise Detached(f"No longer waiting, but {identifier} goes on: {how}") from interrupt


def wait_with_progress(
    service: Service,
    identifier: str,
    *,
    tells_epochs: bool = True,
    timeout: float | None = None,
    is_quiet: bool = False,
) -> dict[str, Any]:
    """Poll an experiment or a study to its end with a bar on standard error, and above it a line for each epoch of an
    experiment, which stays; returns its last record. A service that is away is waited for, ten minutes at most. Raises
    TimedOut after so many seconds.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    console = Console(stderr=True, quiet=is_quiet)
    if not console.is_terminal:
        console.width = WIDEST
    with Progress(*columns, console=console, disable=is_quiet) as bar:
        task = bar.add_task(identifier, total=1.0, message="")
        say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
        lines = EpochLines(service.get, say) if tells_epochs and not is_study(identifier) else None
        patience = _Patience(timeout)
        while True:
            asked = time.monotonic()
            try:
                record: dict[str, Any] = service.get(address(identifier))
                if lines is not None:
                    lines.tell(record)
            except (Unreachable, Refused) as error:
                pause = patience.after(error)
                bar.update(task, message=AWAY)
                time.sleep(pause)
                continue
            took = time.monotonic() - asked
            patience.is_answered()
            message = study_message(record) if is_study(identifier) else record["status_message"]
            bar.update(task, completed=record["progress"]["fraction"], message=message)
            if record["is_terminal"]:
                return record
            patience.refuse_late()
            time.sleep(max(POLL_SECONDS, took / POLL_SHARE))


class _Patience:
    """How long is waited for an end, and for a service that is away."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._began = time.monotonic()
        self._away: float | None = None
        self._number = 0

    def after(self, error: Unreachable | Refused) -> float:
        """Seconds to the next try; raises the error where another is of no use."""
        now = time.monotonic()
        self._away = now if self._away is None else self._away
        passes = not isinstance(error, Refused) or error.status in PASSING
        if not passes or now - self._away > GONE_SECONDS:
            raise error
        self.refuse_late()
        pause = backoff(min(self._number, MOST_BACKOFF))
        self._number += 1
        return pause

    def is_answered(self) -> None:
        self._away, self._number = None, 0

    def refuse_late(self) -> None:
        if self._timeout is not None and time.monotonic() - self._began >= self._timeout:
            raise TimedOut(f"it has not ended within {self._timeout:g} s")


def study_message(record: Mapping[str, Any]) -> str:
    """`7 of 15 runs done, 1 failed, ends about 14:05`, by this machine's clock."""
    progress, finish = record["progress"], record["estimated_finish_at"]
    counts: dict[str, int] = progress["runs"]
    done = sum(counts.get(status, 0) for status in ENDED)
    parts = [f"{done} of {progress['num_runs']} runs done"]
    parts += [f"{counts[status]} {status}" for status in ENDED[1:] if counts.get(status)]
    if finish is not None and not record["is_terminal"]:
        moment, today = datetime.fromisoformat(finish).astimezone(), datetime.now(UTC).astimezone()
        parts.append(
            f"ends about {moment:%H:%M}"
            if moment.date() == today.date()
            else f"ends about {moment:%Y-%m-%d %H:%M}"
        )
    return ", ".join(parts)
