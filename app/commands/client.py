"""A client of the HTTP API, for the command line."""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import training_lab
from app.commands.epoch_lines import EpochLines
from app.storage.states import RunStatus
from lab_models.common.documents import NotJSON, parse_json
from training_lab.keys import key_header, url_with_source
from training_lab.yaml_documents import read_yaml

POLL_SECONDS = 0.2
POLL_SHARE = 0.1
"""The most of its time that a service spends on answering one who waits: a large study is asked for less often."""
TIMEOUT_SECONDS = 30.0
DRAWING_SECONDS = 300.0
"""The longest wait for a report, whose pictures are drawn when it is asked for."""
MOST_ERRORS = 10
WIDEST = 200
"""Columns of a progress line that is not written to a terminal."""


class Refused(Exception):
    """The service answered with a problem; the message is readable."""


class Unusable(Exception):
    """What the command line names cannot be used; the message says why."""


class StoppedWaiting(Exception):
    """Ctrl-C while waiting: what was waited for goes on, and the message says how to end it."""


class Service:
    """A running service, spoken to with the key in LAB_API_KEY, or the one that is stored for it, if there is one;
    raises Unusable for what can be no key.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=url, timeout=TIMEOUT_SECONDS, headers=_key_header(self.url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """JSON of a GET; raises Refused."""
        return _checked(self._http.get(path)).json()

    def post(self, path: str, body: str = "") -> Any:
        """JSON of a POST; raises Refused."""
        return _checked(
            self._http.post(path, content=body, headers={"Content-Type": "application/json"})
        ).json()

    def put(self, path: str, chunks: Iterator[bytes], num_bytes: int) -> Any:
        """JSON of a PUT of a file, however long the service works on it; raises Refused."""
        waiting = httpx.Timeout(TIMEOUT_SECONDS, read=None)
        return _checked(
            self._http.put(
                path, content=chunks, headers={"Content-Length": str(num_bytes)}, timeout=waiting
            )
        ).json()

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE; the answer's object, empty where it has none. Raises Refused."""
        answer = _checked(self._http.delete(path))
        return answer.json() if answer.content else {}

    def download(self, path: str) -> bytes:
        """Bytes of a GET, however long the service draws; raises Refused."""
        return _checked(
            self._http.get(path, timeout=httpx.Timeout(TIMEOUT_SECONDS, read=DRAWING_SECONDS))
        ).content


def say_warnings(answer: dict[str, Any]) -> None:
    """What the service warns of, on standard error; an earlier version says nothing."""
    for warning in answer.get("warnings", ()):
        print(f"warning: {warning}", file=sys.stderr, flush=True)


def default_url() -> str:
    """The service that is spoken to where nobody names another; raises Unusable where what is stored says nothing."""
    try:
        return url_with_source()[0]
    except training_lab.Unusable as error:
        raise Unusable(str(error)) from error


def address(identifier: str) -> str:
    """Where an experiment (exp_…) or a study (stu_…) is served."""
    return f"/{'studies' if is_study(identifier) else 'experiments'}/{quote(identifier, safe='')}"


def is_study(identifier: str) -> bool:
    """Whether this is a study's id."""
    return identifier.startswith("stu_")


def read_body(path: Path) -> Any:
    """The document in a JSON or YAML file; raises Unusable."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    try:
        if path.suffix in {".yaml", ".yml"}:
            content = json.dumps(read_yaml(content)).encode()
        return parse_json(content)
    except NotJSON as error:
        raise Unusable(f"{path} is not JSON: {error}") from error
    except (TypeError, ValueError) as error:
        raise Unusable(f"{path} is not YAML that can become JSON: {error}") from error


def wait_or_stop(service: Service, identifier: str) -> Any:
    """`wait_with_progress`, which Ctrl-C leaves with a word on what goes on; raises StoppedWaiting."""
    try:
        return wait_with_progress(service, identifier)
    except KeyboardInterrupt as interrupt:
        elsewhere = "" if service.url == default_url().rstrip("/") else f" --url {service.url}"
        show, cancel = (f"`lab {verb} {identifier}{elsewhere}`" for verb in ("show", "cancel"))
        raise StoppedWaiting(
            f"No longer waiting, but {identifier} goes on: {show} tells how far it is, {cancel} ends it."
        ) from interrupt


def wait_with_progress(service: Service, identifier: str, *, tells_epochs: bool = True) -> Any:
    """Poll an experiment or a study to its end with a bar on standard error, and above it a line for each epoch of an
    experiment, which stays; returns its last record.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}", markup=False),
    )
    console = Console(stderr=True)
    if not console.is_terminal:
        console.width = WIDEST
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(identifier, total=1.0, message="")
        say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
        lines = EpochLines(service.get, say) if tells_epochs and not is_study(identifier) else None
        while True:
            asked = time.monotonic()
            record = service.get(address(identifier))
            took = time.monotonic() - asked
            message = study_message(record) if is_study(identifier) else record["status_message"]
            bar.update(task, completed=record["progress"]["fraction"], message=message)
            if lines is not None:
                lines.tell(record)
            if record["is_terminal"]:
                return record
            time.sleep(max(POLL_SECONDS, took / POLL_SHARE))


def study_message(record: dict[str, Any]) -> str:
    """`7 of 15 runs done, 1 failed, ends about 14:05`, by this machine's clock."""
    progress, finish = record["progress"], record["estimated_finish_at"]
    counts: dict[str, int] = progress["runs"]
    done = sum(count for status, count in counts.items() if RunStatus(status).is_terminal)
    parts = [f"{done} of {progress['num_runs']} runs done"]
    parts += [
        f"{counts[status]} {status}"
        for status in (RunStatus.FAILED, RunStatus.CANCELLED)
        if counts.get(status)
    ]
    if finish is not None and not record["is_terminal"]:
        moment, today = datetime.fromisoformat(finish).astimezone(), datetime.now(UTC).astimezone()
        parts.append(
            f"ends about {moment:%H:%M}"
            if moment.date() == today.date()
            else f"ends about {moment:%Y-%m-%d %H:%M}"
        )
    return ", ".join(parts)


def _key_header(url: str) -> dict[str, str]:
    try:
        return key_header(None, url)
    except training_lab.Unusable as error:
        raise Unusable(str(error)) from error


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
        errors = problem["errors"]
        lines = [
            f"{problem['title']} ({response.status_code})"
            + ("" if _is_told(problem["detail"], errors) else f": {problem['detail']}")
        ]
        lines += [
            f"  {e['pointer'] or '(body)'}: {e['message']}"
            + (f" ({e['hint']})" if "hint" in e else "")
            for e in errors[:MOST_ERRORS]
        ]
        lines += [f"  and {len(errors) - MOST_ERRORS} more"] if len(errors) > MOST_ERRORS else []
    except (ValueError, KeyError, TypeError):
        lines = [f"{response.status_code} {response.reason_phrase}"]
    raise Refused("\n".join(lines))


def _is_told(detail: str, errors: Sequence[Mapping[str, str]]) -> bool:
    """Whether the errors say all that the detail does: nothing is left of it but where they are, and signs between."""
    left = detail
    for error in sorted(errors, key=lambda one: -len(one["message"])):
        left = left.replace(error["message"], "").replace(error["pointer"], "")
    return bool(errors) and not re.search(r"\w", left)
