"""What changes, as the service tells it: server-sent events, over every cut of the line."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from training_lab.errors import NotFound, Refused, Unreachable
from training_lab.records import Record
from training_lab.retrying import PASSING, answered, backoff, pause_after
from training_lab.steps import Failure, Flow, Item, Open, Plan, Read, Reply, Request, Sleep
from training_lab.waiting import document

UNSEEN = frozenset({"ping"})
"""Signs of life, which nobody is told of."""


class Event(Record):
    """The newest state of a run, an experiment or a study; or that one was deleted."""

    def __init__(self, type: str, raw: Mapping[str, Any], number: int | None = None) -> None:  # noqa: A002
        super().__init__(raw)
        self.type = type
        """`run`, `experiment`, `study`, `deleted`, `left` (an experiment that has not the label, or not any more:
        forget it and its runs), `reset` (forget what you know: all follows anew), or one that a newer service has.
        """
        self.number = number
        """Up to which change all has been told; None within a change. `events(after=…)` goes on from there."""
        self.experiment: dict[str, Any] | None = None
        """Of a run: its experiment's row, where that is known."""

    @property
    def id(self) -> str:
        """Of what has changed."""
        return self.as_text("id")

    @property
    def experiment_id(self) -> str | None:
        """Of a run its experiment's; of an experiment its own."""
        return self.id if self.type == "experiment" else self.as_text_or_none("experiment_id")

    @property
    def status(self) -> str:
        """`queued`, `running`, `paused`, `succeeded`, `failed`, `cancelled`, or one that a newer service has."""
        return self.as_text("status")

    @property
    def reason(self) -> str:
        """Why it stands so, for scripts."""
        return self.as_text("status_reason")

    @property
    def owner(self) -> str | None:
        """Whose it is; of a run where its experiment is known."""
        return (self.experiment or self.raw).get("owner")

    @property
    def labels(self) -> dict[str, str]:
        """Of the experiment or study; of a run its experiment's, where that is known."""
        return dict((self.experiment or self.raw).get("labels") or {})

    def __repr__(self) -> str:
        return f"<Event {self.type} {self.id} {self.status}>".replace("  ", " ").replace(" >", ">")


class Parser:
    """Bytes of a stream into events; lines end at a line feed alone, whatever other separators a text has."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events that are whole now."""
        blocks = (self._rest + piece.replace(b"\r\n", b"\n")).split(b"\n\n")
        self._rest = blocks.pop()
        for block in blocks:
            lines = (line.partition(b":") for line in block.split(b"\n"))
            fields = {name: value.removeprefix(b" ") for name, _, value in lines}
            if b"data" in fields:
                number = fields.get(b"id", b"")
                yield Event(
                    fields.get(b"event", b"message").decode(),
                    json.loads(fields[b"data"]),
                    int(number) if number.isdigit() else None,
                )


Rows = dict[str, dict[str, Any] | None]
"""What is known of experiments: their rows, None for those that are gone."""


def watched(
    path: str,
    params: Mapping[str, Any],
    base_url: str,
    after: int | str | None = None,
    *,
    with_rows: bool = False,
) -> Flow[Event]:
    """All events of an address until what is watched has ended, over any number of connections. `with_rows`: every run
    comes with its experiment's row, as it does otherwise where that is known.

    A line that is cut is opened again after the last event that was told; raises Refused where the service wants
    nothing more of this key.
    """
    rows: Rows = {}
    tries = 0
    while True:
        request = Request("GET", path, {**params, "after": after})
        reply: Reply | Failure = yield Open(request)
        if isinstance(reply, Failure) or reply.status in PASSING:
            yield Sleep(pause_after(request, reply, tries) or backoff(tries))
            tries += 1
            continue
        answered(reply, request, base_url)
        parser, held = Parser(), list[Event]()
        while (piece := (yield Read())) is not None:
            tries = 0
            for event in parser.feed(piece):
                if event.type == "end":
                    reason = event.as_text("reason")
                    for one in held:
                        yield Item(one)
                    held.clear()
                    if reason == "terminal":
                        return
                    if reason == "revoked":
                        raise Refused("the key is of no use any more", status=401, code="revoked")
                    break
                held.append(event)
                if event.number is None:
                    continue  # a run stands before its experiment
                after = event.number
                for one in (yield from _known(held, rows, with_rows)):
                    yield Item(one)
                held.clear()
        yield Sleep(backoff(tries))
        tries += 1


def _known(held: Collection[Event], rows: Rows, with_rows: bool) -> Plan[list[Event]]:
    """The events of a change that are to be told, each run with its experiment."""
    for event in held:
        if event.type == "experiment":
            rows[event.id] = event.raw
        elif event.type in ("deleted", "left"):
            rows.pop(event.id, None)
        elif event.type == "reset":
            rows.clear()
    told = []
    for event in held:
        if event.type == "run" and event.experiment_id is not None:
            if with_rows and event.experiment_id not in rows:
                rows[event.experiment_id] = yield from _row(event.experiment_id)
            event.experiment = rows.get(event.experiment_id)
        if event.type not in UNSEEN:
            told.append(event)
    return told


def _row(experiment_id: str) -> Plan[dict[str, Any] | None]:
    try:
        reply: Reply = yield Request("GET", f"/experiments/{experiment_id}")
    except (NotFound, Unreachable):
        return None
    found: dict[str, Any] = document(reply)
    return found
