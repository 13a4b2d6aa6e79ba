"""A study: experiments that answer one question in one table."""

from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from training_lab.awaiting import awaited, awaited_each
from training_lab.blocking import blocking, blocking_each
from training_lab.documents import LONG_PATIENCE, post
from training_lab.errors import RunFailed
from training_lab.files import place_for
from training_lab.html import status_html
from training_lab.job_plans import JobPlans
from training_lab.pictures import DRAWING_SECONDS, CurvesFormat, Picture, PictureFormat, drawn
from training_lab.progress import Shown
from training_lab.steps import Plan, Reply, Request
from training_lab.tables import Table, Verdicts
from training_lab.waiting import document


class StudyPlans(JobPlans):
    """What a study says and what can be done with it, whoever carries it out."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.as_text("name")

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Each with its `key`, `title`, `factors` and `experiment_id`."""
        return self.as_list("cells")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The failed runs' errors, with cell, run and seed."""
        return self.as_list("errors")

    @property
    def _path(self) -> str:
        return f"/studies/{quote(self.id, safe='')}"

    def _wait(
        self,
        timeout: float | None = None,
        progress: Shown = "auto",
        raise_on_failure: bool = True,
    ) -> Plan[Self]:
        """Until all has ended, as of an experiment."""
        yield from self._until_over(timeout, progress, may_hold=False)
        if raise_on_failure and self.status != "succeeded":
            first = self.errors[0] if self.errors else None
            raise RunFailed(f"{self.id} has ended as {self.status}: {self.message}", first)
        return self

    def _extend(self, seeds: int = 1) -> Plan[Self]:
        """Add so many replicates to every cell."""
        return (yield from self._take(post(f"{self._path}/extend", {"seeds": seeds})))

    def _table(self, metric: str | None = None, sort: str | None = None) -> Plan[Table]:
        """Per cell mean, spread, n and interval, at any time, with what there is; `sort="best"` or a factor."""
        forms: list[Reply] = []
        for form in ("json", "md", "csv", "latex"):
            params = {"metric": metric, "sort": sort, "format": form}
            forms.append(
                (yield Request("GET", f"{self._path}/table", params, patience=LONG_PATIENCE))
            )
        return Table(document(forms[0]), *(form.content.decode() for form in forms[1:]))

    def _verdicts(self, metric: str | None = None) -> Plan[Verdicts]:
        """Contrasts paired by seed and the source's claims, with what is shown of each."""
        reply: Reply = yield Request(
            "GET", f"{self._path}/verdicts", {"metric": metric}, patience=LONG_PATIENCE
        )
        return Verdicts(document(reply))

    def _curves(
        self,
        metric: str | None = None,
        format: CurvesFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """All cells over the epochs."""
        return drawn(f"{self._path}/curves", format, metric=metric, theme=theme)

    def _factor(
        self,
        factor: str | None = None,
        metric: str | None = None,
        format: CurvesFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """A score against a factor, such as accuracy against depth; None: the first that suits."""
        return drawn(f"{self._path}/factor", format, factor=factor, metric=metric, theme=theme)

    def _differences(
        self,
        metric: str | None = None,
        format: PictureFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """Every contrast with its interval, margin and verdict."""
        return drawn(f"{self._path}/differences", format, metric=metric, theme=theme)

    def _heat_map(
        self,
        x: str | None = None,
        y: str | None = None,
        metric: str | None = None,
        format: PictureFormat = "svg",  # noqa: A002
        theme: str | None = None,
    ) -> Plan[Picture]:
        """Means over two factors."""
        return drawn(f"{self._path}/heat-map", format, x=x, y=y, metric=metric, theme=theme)

    def _report(self, path: str | Path) -> Plan[Path]:
        """Store one page with all of it and the data, which needs no network; returns where it is."""
        place = place_for(path, f"{self.id}.html")
        yield Request("GET", f"{self._path}/report.html", into=place, patience=DRAWING_SECONDS)
        return place

    def _repr_html_(self) -> str:
        from html import escape

        return (
            f'<p><a href="{escape(self.url)}" rel="noopener"><b>{escape(self.name)}</b></a>'
            f" {status_html(self.status)} {escape(self.message)}</p>"
        )


class Study(StudyPlans):
    """A study on a service that is waited for."""

    refresh = blocking(StudyPlans._refresh)
    wait = blocking(StudyPlans._wait)
    stream = blocking_each(StudyPlans._stream)
    extend = blocking(StudyPlans._extend)
    cancel = blocking(StudyPlans._cancel)
    pause = blocking(StudyPlans._pause)
    resume = blocking(StudyPlans._resume)
    retry = blocking(StudyPlans._retry)
    delete = blocking(StudyPlans._delete)
    table = blocking(StudyPlans._table)
    verdicts = blocking(StudyPlans._verdicts)
    curves = blocking(StudyPlans._curves)
    factor = blocking(StudyPlans._factor)
    differences = blocking(StudyPlans._differences)
    heat_map = blocking(StudyPlans._heat_map)
    report = blocking(StudyPlans._report)


class AsyncStudy(StudyPlans):
    """A study on a service that is awaited."""

    refresh = awaited(StudyPlans._refresh)
    wait = awaited(StudyPlans._wait)
    stream = awaited_each(StudyPlans._stream)
    extend = awaited(StudyPlans._extend)
    cancel = awaited(StudyPlans._cancel)
    pause = awaited(StudyPlans._pause)
    resume = awaited(StudyPlans._resume)
    retry = awaited(StudyPlans._retry)
    delete = awaited(StudyPlans._delete)
    table = awaited(StudyPlans._table)
    verdicts = awaited(StudyPlans._verdicts)
    curves = awaited(StudyPlans._curves)
    factor = awaited(StudyPlans._factor)
    differences = awaited(StudyPlans._differences)
    heat_map = awaited(StudyPlans._heat_map)
    report = awaited(StudyPlans._report)
