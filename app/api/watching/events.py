"""From what has changed to the events that tell of it: each is encoded once, whoever gets it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

from sqlmodel import Session, col, select

from app.api.experiments.list_schemas import ExperimentRow
from app.api.schemas import Answer
from app.api.studies.study_records import study_row
from app.services.experiments import experiments, watched_runs
from app.services.experiments.changes import Changed, Kind
from app.services.experiments.experiments import Listed
from app.services.studies import study_lists
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Study, utc_now

EndReason = Literal["terminal", "shutdown", "revoked"]

AT_ONCE: Final = 200
"""Events that are read by the same statements, and sent in one piece."""

RETRY: Final = b"retry: 2000\n\n"
"""How many milliseconds a browser's EventSource waits before it comes again."""


class RunEvent(Answer):
    """A run as it stands; `metrics` are those of its last whole epoch, by split. Where `epochs_done` has grown by more
    than one, `GET /runs/{id}/metrics?after=` has the epochs between; where it has become less, the run goes on from a
    checkpoint and writes the later epochs again.
    """

    id: str
    experiment_id: str
    seed: int
    status: RunStatus
    status_reason: StatusReason
    attempt: int
    epochs_done: int
    epochs: int
    fraction: float
    best: dict[str, Any] | None
    metrics: dict[str, dict[str, float | None]]


class DeletedEvent(Answer):
    """What is no longer there; an experiment's runs are gone with it."""

    kind: Literal["experiment", "study"]
    id: str


class LeftEvent(Answer):
    """An experiment that has not the labels that are watched, or not any more: to be forgotten, with its runs, by
    whoever knows it.
    """

    id: str


class PingEvent(Answer):
    """A sign of life."""

    at: datetime


class EndEvent(Answer):
    """The last event: all that is watched has ended, the service stops, or the key ends."""

    reason: EndReason


@dataclass(frozen=True)
class Event:
    """What has changed, and how that is said, but for the number and the empty line at its end."""

    changed: Changed
    content: bytes
    is_final: bool = False
    """Whether this may be the last that there is to say of an experiment."""


RowsOf = Callable[[Session, Sequence[Listed]], Sequence[ExperimentRow]]
"""Makes the rows of a list."""


def encoded(session: Session, changed: Sequence[Changed], rows_of: RowsOf) -> list[Event]:
    """The events of these, in their order. What has just been deleted is left out: another event says so."""
    return [
        event
        for begin in range(0, len(changed), AT_ONCE)
        for event in _encoded(session, changed[begin : begin + AT_ONCE], rows_of)
    ]


def in_bytes(events: Sequence[Event], upto: int | None = None) -> bytes:
    """The events as they are sent. The last of each change carries its number, and the last of all the number `upto`
    up to which all is said; where that is None more of the last change is to come.
    """
    parts: list[bytes] = []
    for place, event in enumerate(events):
        number = event.changed.number
        is_last = place + 1 == len(events)
        if is_last:
            said = None if upto is None else max(number, upto)
        else:
            said = number if events[place + 1].changed.number > number else None
        parts += (event.content, b"\n" if said is None else b"id: %d\n\n" % said)
    return b"".join(parts)


def ping(number: int | None) -> bytes:
    """A sign of life, with the number up to which all is said."""
    said = b"" if number is None else b"id: %d\n" % number
    return content_of("ping", PingEvent(at=utc_now())) + said + b"\n"


def reset() -> bytes:
    """Forget what you know: what follows is the state as at a first connection."""
    return b"event: reset\ndata: {}\n\n"


def end(reason: EndReason) -> bytes:
    """The last event."""
    return content_of("end", EndEvent(reason=reason)) + b"\n"


def content_of(name: str, answer: Answer) -> bytes:
    """An event, but for its number and the empty line at its end."""
    return b"event: %b\ndata: %b\n" % (
        name.encode(),
        answer.__pydantic_serializer__.to_json(answer, by_alias=True),
    )


def _encoded(session: Session, changed: Sequence[Changed], rows_of: RowsOf) -> list[Event]:
    ids: dict[Kind, list[str]] = {kind: [] for kind in get_args(Kind)}
    for one in changed:
        ids[one.kind].append(one.id)
    contents: dict[Kind, dict[str, Answer]] = {
        "run": _runs(session, ids["run"]),
        "experiment": _experiments(session, ids["experiment"], rows_of),
        "study": _studies(session, ids["study"]),
        "left": {one: LeftEvent(id=one) for one in ids["left"]},
        "deleted": {one.id: _deleted(one) for one in changed if one.kind == "deleted"},
    }
    return [
        Event(one, content_of(one.kind, content), _is_final(content))
        for one in changed
        if (content := contents[one.kind].get(one.id)) is not None
    ]


def _is_final(answer: Answer) -> bool:
    return isinstance(answer, DeletedEvent) or bool(getattr(answer, "is_terminal", False))


def _deleted(changed: Changed) -> Answer:
    return DeletedEvent(kind="study" if changed.was == "study" else "experiment", id=changed.id)


def _runs(session: Session, ids: Sequence[str]) -> dict[str, Answer]:
    return {
        run.id: RunEvent(
            id=run.id,
            experiment_id=run.experiment_id,
            seed=run.seed,
            status=run.status,
            status_reason=run.reason,
            attempt=run.attempt,
            epochs_done=run.epochs_done,
            epochs=run.epochs,
            fraction=round(run.fraction, 4),
            best=run.best,
            metrics=run.metrics,
        )
        for run in watched_runs.read(session, ids)
    }


def _experiments(session: Session, ids: Sequence[str], rows_of: RowsOf) -> dict[str, Answer]:
    """As `GET /experiments` lists them."""
    if not ids:
        return {}
    return {row.id: row for row in rows_of(session, experiments.listed_by_id(session, ids))}


def _studies(session: Session, ids: Sequence[str]) -> dict[str, Answer]:
    """As `GET /studies` lists them."""
    if not ids:
        return {}
    rows = session.exec(select(Study).where(col(Study.id).in_(ids))).all()
    return {outline.study.id: study_row(outline) for outline in study_lists.outlines(session, rows)}
