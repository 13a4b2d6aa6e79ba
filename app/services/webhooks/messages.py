"""What a receiver is told: an event's body, and the same in words for a chat."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from app.storage.states import RunStatus

MessageFormat = Literal["standard", "slack"]

PAGES: Final = "/ui"
CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f|]+")
NO_MENTION: Final = "@\N{ZERO WIDTH SPACE}"


class EventType(StrEnum):
    """What a webhook can be told of."""

    EXPERIMENT_SUCCEEDED = "experiment.succeeded"
    EXPERIMENT_FAILED = "experiment.failed"
    EXPERIMENT_CANCELLED = "experiment.cancelled"
    STUDY_FINISHED = "study.finished"


TEST: Final = "webhook.test"
"""What a test is called; no webhook asks for it."""


@dataclass(frozen=True)
class Occurrence:
    """Something that has ended: the record's id, status and name, when its last run ended, and the number of the change
    by which it did.
    """

    type: EventType
    id: str
    status: RunStatus
    name: str | None
    owner: str
    at: datetime
    number: int
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Of its page."""
        return f"{PAGES}/{'studies' if self.is_study else 'experiments'}/{self.id}"

    @property
    def is_study(self) -> bool:
        """Whether it is a study, and no experiment."""
        return self.type is EventType.STUDY_FINISHED


def message_id(webhook_id: str, occurrence: Occurrence) -> str:
    """The same for the same end, however often it is read: what is told twice has one id."""
    parts = (webhook_id, occurrence.type, occurrence.id, occurrence.at.isoformat())
    return "msg_" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def body_of(occurrence: Occurrence, form: MessageFormat, service_url: str) -> str:
    """The body for an occurrence. Thin: whoever wants more asks for the record, with a key."""
    page = service_url + occurrence.path
    if form == "slack":
        name = occurrence.name or occurrence.id
        ended = f"Study {_link(page, name)} finished:" if occurrence.is_study else ""
        return _text(f"{ended or f'Experiment {_link(page, name)}'} {occurrence.status}")
    return _document(
        occurrence.type,
        occurrence.at,
        {
            "id": occurrence.id,
            "status": str(occurrence.status),
            "name": occurrence.name,
            "page": page,
        },
    )


def test_body(webhook_id: str, at: datetime, form: MessageFormat, service_url: str) -> str:
    """The body of a test."""
    page = service_url + PAGES
    if form == "slack":
        return _text(f"A test of {_link(page, 'training-lab')}: messages arrive here")
    return _document(TEST, at, {"id": webhook_id, "status": "test", "name": "a test", "page": page})


def _document(kind: str, at: datetime, data: Mapping[str, str | None]) -> str:
    timestamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(
        {"type": kind, "timestamp": timestamp, "data": data},
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _text(text: str) -> str:
    return json.dumps({"text": text}, ensure_ascii=False)


def _link(page: str, name: str) -> str:
    """A link as Slack writes it, which Mattermost and Discord read. Nothing of the name is markup: not a link's end,
    and no mention, by which a name would call a whole channel.
    """
    shown = CONTROLS.sub(" ", name).strip().replace("&", "&amp;")
    shown = shown.replace("<", "&lt;").replace(">", "&gt;").replace("@", NO_MENTION)
    return f"<{page}|{shown}>"
