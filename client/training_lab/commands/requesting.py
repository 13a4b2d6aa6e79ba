"""Requests of commands that need the service's own JSON: what has no word in `Lab` yet, by path."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from training_lab.commands.ids import STUDY
from training_lab.commands.output import plain, say
from training_lab.documents import LONG_PATIENCE, post
from training_lab.keys import AUTO, key_for
from training_lab.lab import Lab
from training_lab.pictures import DRAWING_SECONDS
from training_lab.retrying import document_of, unreachable
from training_lab.steps import Failure, Plan, Reply, Request, Send
from training_lab.waiting import document


class Service:
    """The service that a command speaks to. Every request raises Refused and Unreachable, and is sent again where that
    is safe.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.url = lab.url

    def get(self, path: str) -> Any:
        """JSON of a GET; the path may have a query."""
        return document(self._send("GET", path, patience=LONG_PATIENCE))

    def post(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        """JSON of a POST."""
        return document(self._carried_out(post(path, body, **params)))

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """JSON of a PATCH."""
        found: dict[str, Any] = document(self._carried_out(post(path, body, method="PATCH")))
        return found

    def make(self, path: str, body: Mapping[str, Any]) -> Any:
        """JSON of a POST that makes something: once, however often it is sent."""
        return document(self._carried_out(post(path, body, key=key_for(AUTO))))

    def put(
        self, path: str, params: Mapping[str, Any], file: Path, told: Callable[[int], None]
    ) -> Any:
        """JSON of a PUT of a file, however long the service works on it; `told` hears of each piece's bytes."""
        sent = Request("PUT", path, params, file=file, told=told, patience=None)
        return document(self._carried_out(sent))

    def delete(self, path: str) -> dict[str, Any]:
        """DELETE; the answer's object, empty where it has none."""
        reply = self._send("DELETE", path, patience=LONG_PATIENCE)
        found: dict[str, Any] = document(reply) if reply.content else {}
        return found

    def download(self, path: str) -> bytes:
        """Bytes of a GET, however long the service draws."""
        return self._send("GET", path, patience=DRAWING_SECONDS).content

    def store(self, path: str, into: Path) -> None:
        """Store the bytes of a GET in a file, which is whole or not there."""
        self._carried_out(Request("GET", path, into=into, patience=DRAWING_SECONDS))

    def look(self, path: str) -> Reply:
        """The answer to a GET, whatever its status; raises Unreachable."""
        request = Request("GET", path)
        reply: Reply | Failure = self.lab._driver.run(_tried(request))
        if isinstance(reply, Failure):
            raise unreachable(reply, request, self.url)
        return reply

    @staticmethod
    def document_of(reply: Reply) -> dict[str, Any]:
        """The object of an answer; empty where it is none."""
        found = document_of(reply)
        return found if isinstance(found, dict) else {}

    def _send(self, method: str, path: str, *, patience: float) -> Reply:
        parts = urlsplit(path)
        return self._carried_out(
            Request(method, parts.path, parse_qs(parts.query), patience=patience)
        )

    def _carried_out(self, request: Request) -> Reply:
        reply: Reply = self.lab._driver.run(_only(request))
        return reply


def address(identifier: str) -> str:
    """Where an experiment (exp_…) or a study (stu_…) is served."""
    return f"/{'studies' if is_study(identifier) else 'experiments'}/{quote(identifier, safe='')}"


def is_study(identifier: str) -> bool:
    """Whether this is a study's id."""
    return identifier.startswith(STUDY)


def say_warnings(answer: Mapping[str, Any]) -> None:
    """What the service warns of, on standard error; an earlier version says nothing."""
    for warning in answer.get("warnings", ()):
        say(plain(f"warning: {warning}"))


def _tried(request: Request) -> Plan[Reply | Failure]:
    reply: Reply | Failure = yield Send(request)
    return reply


def _only(request: Request) -> Plan[Reply]:
    reply: Reply = yield request
    return reply
