"""What an experiment says, and what can be done with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from training_lab.documents import LONG_PATIENCE, apart, body_of, by_path, given, post
from training_lab.errors import RunFailed, Unusable
from training_lab.files import place_for
from training_lab.html import experiment_html
from training_lab.job_plans import JobPlans
from training_lab.keys import AUTO, key_for
from training_lab.metrics import LONG_PATIENCE as DOWNLOAD_PATIENCE
from training_lab.metrics import Metrics, all_metrics
from training_lab.pictures import CurvesFormat, Picture, PictureFormat, drawn
from training_lab.progress import Shown
from training_lab.steps import Plan, Reply, Request
from training_lab.summaries import Summary
from training_lab.waiting import document


class ExperimentPlans(JobPlans):
    """What an experiment says and what can be done with it, whoever carries it out. Those of a list know what lists
    have; `refresh()` reads the rest.
    """

    @property
    def name(self) -> str | None:
        """What people call it."""
        return self.as_text_or_none("name")

    @property
    def owner(self) -> str | None:
        """Whose it is."""
        return self.as_text_or_none("owner")

    @property
    def labels(self) -> dict[str, str]:
        """Keys and values to find it by."""
        return self.as_object("labels")

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
    def _path(self) -> str:
        return f"/experiments/{quote(self.id, safe='')}"

    def diff(self, other: "ExperimentPlans") -> dict[str, tuple[Any, Any]]:
        """In what the effective specs differ, by dotted path: (here, there); None where one has no such field."""
        here, there = by_path(self.spec), by_path(other.spec)
        return {
            place: values
            for path in sorted(here.keys() | there.keys())
            for place, values in apart(path, here.get(path), there.get(path))
        }

    def _wait(
        self,
        timeout: float | None = None,
        progress: Shown = "auto",
        raise_on_failure: bool = True,
    ) -> Plan[Self]:
        """Until it has ended; a service that is started anew meanwhile is waited for. Raises RunFailed where it has not
        succeeded, TimedOut after so many seconds.
        """
        yield from self._until_over(timeout, progress, may_hold=True)
        if raise_on_failure and self.status != "succeeded":
            raise RunFailed(f"{self.id} has ended as {self.status}: {self.message}", self.error)
        return self

    def _edit(
        self,
        *,
        name: str | None = None,
        labels: Mapping[str, Any] | None = None,
        notes: str | None = None,
        priority: int | None = None,
        device: str | None = None,
        archived: bool | None = None,
    ) -> Plan[Self]:
        """Change what can still be changed; None: as it is. A label of None is removed; an empty text takes name or
        notes away.
        """
        said = {"labels": labels, "priority": priority, "device": device, "archived": archived}
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
        format: CurvesFormat = "svg",  # noqa: A002
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

    def _model_folder(self, path: str | Path) -> Plan[Path]:
        """Store the best run's network as a zip in the layout of Hugging Face's hub; raises Unusable where no run has
        succeeded.
        """
        run = str(self._best()["id"])
        place = place_for(path, f"{run}-model.zip")
        address = f"/runs/{quote(run, safe='')}/model.zip"
        yield Request("GET", address, into=place, patience=DOWNLOAD_PATIENCE)
        return place

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

    def _html(self, picture: bytes | None) -> str:
        title = self.name or self.id
        return experiment_html(title, self.status, self.message, self.url, self.results, picture)
