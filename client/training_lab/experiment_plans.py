"""What an experiment says, and what can be done with it."""

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

from training_lab.documents import LONG_PATIENCE, body_of, by_path, given, post
from training_lab.errors import RunFailed, Unusable
from training_lab.events import Event, watched
from training_lab.html import experiment_html
from training_lab.keys import AUTO, key_for
from training_lab.metrics import Metrics, all_metrics
from training_lab.pictures import Picture, PictureFormat, drawn
from training_lab.progress import Shown
from training_lab.records import Record
from training_lab.steps import Flow, Plan, Reply, Request
from training_lab.summaries import Progress, Summary
from training_lab.waiting import document, until_over


class ExperimentPlans(Record):
    """What an experiment says and what can be done with it, whoever carries it out. Those of a list know what lists
    have; `refresh()` reads the rest.
    """

    def __init__(self, driver: Any, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._driver = driver

    @property
    def id(self) -> str:
        """`exp_…`."""
        return self.as_text("id")

    @property
    def name(self) -> str | None:
        """What people call it."""
        return self.as_text_or_none("name")

    @property
    def status(self) -> str:
        """`queued`, `running`, `paused`, `succeeded`, `failed`, `cancelled`, or one that a newer service has."""
        return self.as_text("status")

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended."""
        return bool(self.raw.get("is_terminal"))

    @property
    def message(self) -> str:
        """Why it stands so and how far, as a sentence."""
        return self.as_text("status_message")

    @property
    def owner(self) -> str | None:
        """Whose it is."""
        return self.as_text_or_none("owner")

    @property
    def labels(self) -> dict[str, str]:
        """Keys and values to find it by."""
        return self.as_object("labels")

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress.of(self.as_object("progress"))

    @property
    def queue(self) -> dict[str, Any]:
        """Its place in the queue: `position` from 1, `ahead`, `starts_at`."""
        return self.as_object("queue")

    @property
    def spec(self) -> dict[str, Any]:
        """The effective spec: every default written out."""
        self._refuse_row("spec")
        return self.as_object("spec")

    @property
    def results(self) -> dict[str, dict[str, Summary]]:
        """Over the succeeded runs: `results["test"]["accuracy"]`; also `val` at the best epoch, `train` and `gap`."""
        found = self.as_object("results") or {
            "test": self.as_object("test"),
            "val": self.as_object("best_val"),
        }
        return {
            split: {name: Summary.of(score) for name, score in scores.items()}
            for split, scores in found.items()
        }

    @property
    def error(self) -> dict[str, Any] | None:
        """The first failed run's."""
        return self.as_object("error") or None

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
        return f"/experiments/{quote(self.id, safe='')}"

    def diff(self, other: "ExperimentPlans") -> dict[str, tuple[Any, Any]]:
        """In what the effective specs differ, by dotted path: (here, there); None where one has no such field."""
        here, there = by_path(self.spec), by_path(other.spec)
        paths = sorted(here.keys() | there.keys())
        return {
            path: (here.get(path), there.get(path))
            for path in paths
            if here.get(path) != there.get(path)
        }

    def _refresh(self) -> Plan[Self]:
        """Read it anew."""
        return (yield from self._take(Request("GET", self._path)))

    def _wait(
        self,
        timeout: float | None = None,
        progress: Shown = "auto",
        raise_on_failure: bool = True,
    ) -> Plan[Self]:
        """Until it has ended; a service that is started anew meanwhile is waited for. Raises RunFailed where it has not
        succeeded, TimedOut after so many seconds.
        """
        self._raw = yield from until_over(
            self._path,
            may_hold=True,
            timeout=timeout,
            progress=progress,
            title=lambda record: str(record.get("name") or record["id"]),
        )
        if raise_on_failure and self.status != "succeeded":
            raise RunFailed(f"{self.id} has ended as {self.status}: {self.message}", self.error)
        return self

    def _stream(self, after: int | str | None = None) -> Flow[Event]:
        """What changes of it and its runs, until all have ended; first how they stand."""
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

    def _edit(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, Any] | None = None,
        notes: str | None = None,
        priority: int | None = None,
        archived: bool | None = None,
    ) -> Plan[Self]:
        """Change what can still be changed; None: as it is. A label of None is removed; an empty text takes name or
        notes away.
        """
        said = {"labels": labels, "priority": priority, "archived": archived}
        texts = {"name": name, "notes": notes}
        body: dict[str, Any] = given(**said)
        taken_away: dict[str, Any] = {"": None}
        body |= {
            field: taken_away.get(value, value)
            for field, value in texts.items()
            if value is not None
        }
        return (yield from self._take(post(self._path, body, method="PATCH")))

    def _clone(self, /, *, idempotency_key: str | None = AUTO, **changes: Any) -> Plan[Self]:
        """Another experiment like it, with its seeds and labels, but for the changes: `clone(epochs=20,
        optimizer__learning_rate=0.1)`.
        """
        body = body_of(None, {"like": self.id}, changes)
        reply: Reply = yield post("/experiments", body, key=key_for(idempotency_key))
        return type(self)(self._driver, document(reply))

    def _verify(self) -> Plan[Self]:
        """Train the succeeded seeds once more, as another experiment; its `verification()` says whether that gave the
        same.
        """
        reply: Reply = yield post(f"{self._path}/verify")
        return type(self)(self._driver, document(reply))

    def _verification(self) -> Plan[dict[str, Any]]:
        """Of an experiment that `verify()` has made: `bit_equal`, `within_interval` or `different`, seed by seed."""
        return (yield from self._read("verification"))

    def _reproduce(self) -> Plan[dict[str, Any]]:
        """Exact request, seeds, versions and hashes."""
        return (yield from self._read("reproduce"))

    def _metrics(self, names: list[str] | None = None) -> Plan[Metrics]:
        """Every number of every epoch of every run; of these names alone, such as `loss`, where they are given."""
        return all_metrics([self._path], names)

    def _curves(
        self,
        metric: str | None = None,
        format: PictureFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """Train and val over epochs, mean and range over seeds; `metric="loss,accuracy"`."""
        return drawn(f"{self._path}/curves", format, metric=metric, theme=theme)

    def _confusion(
        self,
        format: PictureFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """Which classes were taken for which on test."""
        return drawn(f"{self._path}/confusion-matrix", format, theme=theme)

    def _confusion_matrix(self) -> Plan[dict[str, Any]]:
        """The same as numbers."""
        return (yield from self._read("confusion-matrix.json"))

    def _gradient_flow(
        self,
        format: PictureFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """Gradients layer by layer; of experiments with `probes=["gradient_flow"]`."""
        return drawn(f"{self._path}/gradient-flow", format, theme=theme)

    def _explanations(
        self,
        method: str | None = None,
        format: PictureFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """Where the network finds its answers, by `cam`, `gradcam` or `gradcam++`."""
        return drawn(f"{self._path}/explanations", format, method=method, theme=theme)

    def _take(self, request: Request) -> Plan[Self]:
        reply: Reply = yield request
        self._raw = document(reply)
        return self

    def _read(self, below: str) -> Plan[dict[str, Any]]:
        reply: Reply = yield Request("GET", f"{self._path}/{below}", patience=LONG_PATIENCE)
        found: dict[str, Any] = document(reply)
        return found

    def _refuse_row(self, field: str) -> None:
        if field not in self.raw:
            raise Unusable(
                f"a list does not say the {field} of {self.id}: refresh() reads all of it"
            )

    def _best(self) -> dict[str, Any]:
        self._refuse_row("runs")
        by = "accuracy" if self.spec.get("best_by") == "accuracy" else "loss"
        scored = [
            (float((run["best"].get("val") or run["best"])[by]), run)
            for run in self.as_list("runs")
            if run.get("status") == "succeeded" and run.get("best")
        ]
        if not scored:
            raise Unusable(f"no run of {self.id} has succeeded yet: {self.message}")
        choose = max if by == "accuracy" else min
        best: dict[str, Any] = choose(scored, key=lambda one: one[0])[1]
        return best

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}: {self.message}>"

    def _html(self, picture: bytes | None) -> str:
        title = self.name or self.id
        return experiment_html(title, self.status, self.message, self.url, self.results, picture)
