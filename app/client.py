"""A client of the HTTP API, for the command line."""

import time
from collections.abc import Iterator
from typing import Any, Self

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 30.0


class Refused(Exception):
    """The service answered with a problem; the message is readable."""


class Service:
    """A running service."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        """JSON of a GET; raises Refused."""
        return _checked(self._http.get(path)).json()

    def post(self, path: str, body: str = "") -> Any:
        """JSON of a POST; raises Refused."""
        return _checked(self._http.post(path, content=body, headers={"Content-Type": "application/json"})).json()

    def put(self, path: str, chunks: Iterator[bytes], num_bytes: int) -> Any:
        """JSON of a PUT of a file, however long the service works on it; raises Refused."""
        waiting = httpx.Timeout(TIMEOUT_SECONDS, read=None)
        return _checked(self._http.put(path, content=chunks, headers={"Content-Length": str(num_bytes)}, timeout=waiting)).json()

    def delete(self, path: str) -> None:
        """DELETE; raises Refused."""
        _checked(self._http.delete(path))

    def download(self, path: str) -> bytes:
        """Bytes of a GET; raises Refused."""
        return _checked(self._http.get(path)).content


def wait_with_progress(service: Service, experiment_id: str) -> Any:
    """Poll an experiment to its end with a bar on standard error; returns its last record."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[message]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(experiment_id, total=1.0, message="")
        while True:
            record = service.get(f"/experiments/{experiment_id}")
            bar.update(task, completed=record["progress"]["fraction"], message=record["status_message"])
            if record["is_terminal"]:
                return record
            time.sleep(POLL_SECONDS)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
        lines = [f"{problem['title']} ({response.status_code})" + ("" if problem["errors"] else f": {problem['detail']}")]
        lines += [f"  {e['pointer'] or '(body)'}: {e['message']}" + (f" ({e['hint']})" if "hint" in e else "") for e in problem["errors"]]
    except (ValueError, KeyError, TypeError):
        lines = [f"{response.status_code} {response.reason_phrase}"]
    raise Refused("\n".join(lines))
