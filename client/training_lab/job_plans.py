"""What experiments and studies have in common: how they stand, and the verbs that steer them."""

from collections.abc import Mapping
from typing import Any, Self

from training_lab.documents import LONG_PATIENCE, post
from training_lab.events import Event, watched
from training_lab.progress import Shown
from training_lab.records import Record
from training_lab.steps import Flow, Plan, Reply, Request
from training_lab.summaries import Progress
from training_lab.waiting import document, until_over


class JobPlans(Record):
    """Something that is sent, trains and ends, whoever carries it out."""

    def __init__(self, driver: Any, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._driver = driver

    @property
    def id(self) -> str:
        """`exp_…` or `stu_…`."""
        return self.as_text("id")

    @property
    def status(self) -> str:
        """`queued`, `running`, `paused`, `succeeded`, `failed`, `cancelled`, or one that a newer service has."""
        return self.as_text("status")

    @property
    def is_terminal(self) -> bool:
        """Whether all its runs have ended."""
        return bool(self.raw.get("is_terminal"))

    @property
    def message(self) -> str:
        """How it stands and why, as a sentence."""
        return self.as_text("status_message")

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress.of(self.as_object("progress"))

    @property
    def warnings(self) -> list[str]:
        """Of what was just sent: what is probably not meant, and what will be in its way."""
        return [str(line) for line in self.as_list("warnings")]

    @property
    def url(self) -> str:
        """Its page, for a browser."""
        return f"{self._driver.address.url}/ui{self._path}"

    @property
    def _path(self) -> str:
        raise NotImplementedError

    def _refresh(self) -> Plan[Self]:
        """Read it anew."""
        return (yield from self._take(Request("GET", self._path)))

    def _until_over(self, timeout: float | None, progress: Shown, *, may_hold: bool) -> Plan[None]:
        self._raw = yield from until_over(
            self._path,
            may_hold=may_hold,
            timeout=timeout,
            progress=progress,
            title=lambda record: str(record.get("name") or record["id"]),
        )

    def _stream(self, after: int | str | None = None) -> Flow[Event]:
        """What changes of it and what belongs to it, until all runs have ended; first how they stand."""
        return watched(f"{self._path}/events", {}, self._driver.address.url, after)

    def _cancel(self) -> Plan[Self]:
        """End every unfinished run."""
        return (yield from self._take(post(f"{self._path}/cancel")))

    def _pause(self) -> Plan[Self]:
        """Let every unfinished run stand still, its progress kept."""
        return (yield from self._take(post(f"{self._path}/pause")))

    def _resume(self) -> Plan[Self]:
        """Let every paused run go on."""
        return (yield from self._take(post(f"{self._path}/resume")))

    def _retry(self) -> Plan[Self]:
        """Queue every failed or cancelled run again."""
        return (yield from self._take(post(f"{self._path}/retry")))

    def _delete(self) -> Plan[None]:
        """Delete it with its runs, numbers and files; raises Conflict while something needs them."""
        yield Request("DELETE", self._path, patience=LONG_PATIENCE)

    def _take(self, request: Request) -> Plan[Self]:
        reply: Reply = yield request
        self._raw = document(reply)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}: {self.message}>"
