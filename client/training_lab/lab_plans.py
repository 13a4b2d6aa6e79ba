"""What can be asked of a service, whoever carries it out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from training_lab.archives import as_archive
from training_lab.documents import LONG_PATIENCE, Spec, body_of, given, post, said, study_body
from training_lab.errors import NotFound, Unusable
from training_lab.events import Event, watched
from training_lab.experiment_plans import ExperimentPlans
from training_lab.keys import AUTO, key_for
from training_lab.metrics import Metrics, all_metrics
from training_lab.records import Dataset, DryRun, Recipe, StudyDryRun, WaitingRun, Worker
from training_lab.run import RunPlans
from training_lab.steps import Flow, Item, Plan, Reply, Request, gathered
from training_lab.study import StudyPlans
from training_lab.tables import Comparison
from training_lab.waiting import document

E = TypeVar("E", bound=ExperimentPlans)
S = TypeVar("S", bound=StudyPlans)
R = TypeVar("R", bound=RunPlans)

PAGE_ROWS = 100
Texts = str | Sequence[str]


class LabPlans(Generic[E, S, R]):
    """A service, by address and key; `E`, `S` and `R` are the experiments, studies and runs that it makes."""

    _driver: Any
    _experiment_type: type[E]
    _study_type: type[S]
    _run_type: type[R]

    @property
    def url(self) -> str:
        """Where the service is."""
        return str(self._driver.address.url)

    def _submit(
        self,
        /,
        spec: Spec | None = None,
        *,
        seeds: int | Sequence[int] | None = None,
        name: str | None = None,
        labels: Mapping[str, Any] | None = None,
        priority: int | None = None,
        idempotency_key: str | None = AUTO,
        **fields: Any,
    ) -> Plan[E]:
        """Store an experiment and queue a run per seed: a spec (an object, or a JSON or YAML file), over it keyword
        fields: `submit(model="mlp", epochs=5, optimizer__learning_rate=0.1)`. Everything has a default. However often
        it is sent, one experiment is made. Raises Refused with what is wrong, field by field.
        """
        body = body_of(spec, said(seeds, name, labels, priority), fields)
        reply: Reply = yield post("/experiments", body, key=key_for(idempotency_key))
        return self._experiment_type(self._driver, document(reply))

    def _dry_run(
        self,
        /,
        spec: Spec | None = None,
        *,
        seeds: int | Sequence[int] | None = None,
        **fields: Any,
    ) -> Plan[DryRun]:
        """Check and price what `submit` would store; nothing is stored."""
        body = body_of(spec, said(seeds, None, None, None), fields)
        reply: Reply = yield post("/experiments", body, dry_run="true")
        return DryRun(document(reply))

    def _experiments(
        self,
        /,
        *,
        status: Texts | None = None,
        label: Texts | None = None,
        dataset: str | None = None,
        network: str | None = None,
        q: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> Flow[E]:
        """The newest first, or by `sort="-test.accuracy"`; page by page, as they are asked for. `label="week:3"`;
        `filters` are the others of `GET /experiments`, such as `owner`, `study` and `archived`.
        """
        asked = {
            "status": status,
            "label": label,
            "dataset": dataset,
            "network": network,
            "q": q,
            "sort": sort,
            **filters,
        }
        left = limit
        while left is None or left > 0:
            rows = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            reply: Reply = yield Request("GET", "/experiments", {**asked, "limit": rows})
            page = document(reply)
            for row in page["data"]:
                yield Item(self._experiment_type(self._driver, row))
            left = None if left is None else left - len(page["data"])
            asked["cursor"] = page.get("next_cursor")
            if asked["cursor"] is None:
                return

    def _experiment(self, identifier: str) -> Plan[E]:
        """One, by its id."""
        reply: Reply = yield Request("GET", f"/experiments/{_in_a_path(identifier)}")
        return self._experiment_type(self._driver, document(reply))

    def _study(self, identifier: str) -> Plan[S]:
        """One, by its id."""
        reply: Reply = yield Request("GET", f"/studies/{_in_a_path(identifier)}")
        return self._study_type(self._driver, document(reply))

    def _run(self, identifier: str) -> Plan[R]:
        """One, by its id."""
        reply: Reply = yield Request("GET", f"/runs/{_in_a_path(identifier)}")
        return self._run_type(self._driver, document(reply))

    def _latest(self) -> Plan[E]:
        """The newest experiment that one may see; raises NotFound where there is none."""
        reply: Reply = yield Request("GET", "/experiments", {"limit": 1})
        rows = document(reply)["data"]
        if not rows:
            raise NotFound("There is no experiment yet: submit() makes one", status=404)
        return (yield from self._experiment(rows[0]["id"]))

    def _study_of(
        self,
        /,
        recipe: str | None = None,
        *,
        spec: Spec | None = None,
        vary: Mapping[str, Any] | None = None,
        seeds: int | Sequence[int] | None = None,
        scale: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        name: str | None = None,
        labels: Mapping[str, Any] | None = None,
        idempotency_key: str | None = AUTO,
        **fields: Any,
    ) -> Plan[S]:
        """Store a study: a recipe's, or of a spec and what to vary: `vary={"model.depth": [20, 56]}`; `fields` are the
        others of `POST /studies`, such as `specs`, `contrasts` and `margin_points`.
        """
        body = study_body(recipe, spec, said(seeds, name, labels, None), fields)
        body |= given(vary=vary, scale=scale, overrides=overrides)
        reply: Reply = yield post("/studies", body, key=key_for(idempotency_key))
        return self._study_type(self._driver, document(reply))

    def _dry_run_study(
        self,
        /,
        recipe: str | None = None,
        *,
        spec: Spec | None = None,
        vary: Mapping[str, Any] | None = None,
        seeds: int | Sequence[int] | None = None,
        scale: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Plan[StudyDryRun]:
        """Check and price what `study_of` would store; nothing is stored."""
        body = study_body(recipe, spec, said(seeds, None, None, None), fields)
        body |= given(vary=vary, scale=scale, overrides=overrides)
        reply: Reply = yield post("/studies", body, dry_run="true")
        return StudyDryRun(document(reply))

    def _compare(
        self,
        a: ExperimentPlans | str,
        b: ExperimentPlans | str,
        metric: str | None = None,
        margin: float | None = None,
        factor: str | None = None,
    ) -> Plan[Comparison]:
        """Is b better than a, seed by seed? Differences within ± `margin` count as none; None: by the data set."""
        asked = {"experiments": f"{_id_of(a)},{_id_of(b)}", "metric": metric, "margin": margin}
        reply: Reply = yield Request(
            "GET", "/comparisons", {**asked, "factor": factor}, patience=LONG_PATIENCE
        )
        return Comparison(document(reply))

    def _metrics(
        self,
        /,
        experiments: ExperimentPlans | str | Iterable[ExperimentPlans | str] | None = None,
        *,
        names: Sequence[str] | None = None,
        **filters: Any,
    ) -> Plan[Metrics]:
        """Every number of every epoch of these experiments, or of those that filters of the list let through:
        `metrics(label="week:3")`. One request an experiment.
        """
        if experiments is None and not filters:
            raise Unusable(
                "say of which experiments: metrics([a, b]), or a filter as of experiments()"
            )
        if experiments is None:
            found = yield from gathered(self._experiments(**filters))
            ids = [one.id for one in found]
        else:
            ids = _ids_of(experiments)
        paths = [f"/experiments/{_in_a_path(one)}" for one in ids]
        return (yield from all_metrics(paths, names))

    def _datasets(self) -> Plan[list[Dataset]]:
        """Built-in and imported ones."""
        reply: Reply = yield Request("GET", "/datasets")
        return [Dataset(one) for one in document(reply)["data"]]

    def _import_dataset(self, /, name: str, path: str | Path, **wishes: Any) -> Plan[Dataset]:
        """Make a data set of a folder or archive of images; `wishes` are those of `PUT /datasets/{name}`, such as
        `size=32`. Nothing is kept unless every image can be read. Raises Refused with every bad file.
        """
        wanted = {
            key: str(one).lower() if isinstance(one, bool) else one for key, one in wishes.items()
        }
        with as_archive(Path(path)) as archive:
            reply: Reply = yield Request(
                "PUT", f"/datasets/{_in_a_path(name)}", wanted, file=archive, patience=None
            )
        return Dataset(document(reply))

    def _queue(self, limit: int = 100) -> Plan[list[WaitingRun]]:
        """Runs in the order in which workers will take them."""
        reply: Reply = yield Request("GET", "/queue", {"limit": limit})
        return [WaitingRun(one) for one in document(reply)["data"]]

    def _workers(self) -> Plan[list[Worker]]:
        """Workers online."""
        reply: Reply = yield Request("GET", "/workers")
        return [Worker(one) for one in document(reply)["data"]]

    def _recipes(self) -> Plan[list[Recipe]]:
        """The labs' tables."""
        reply: Reply = yield Request("GET", "/recipes")
        return [Recipe(one) for one in document(reply)["data"]]

    def _get(self, /, path: str, **params: Any) -> Plan[Any]:
        """The JSON of any GET of the API: what this client has no word for."""
        reply: Reply = yield Request("GET", path, params, patience=LONG_PATIENCE)
        return document(reply)

    def _events(
        self,
        experiments: ExperimentPlans | str | Iterable[ExperimentPlans | str] | None = None,
        *,
        study: StudyPlans | str | None = None,
        owner: str | None = None,
        label: Texts | None = None,
        after: int | str | None = None,
    ) -> Flow[Event]:
        """What changes: of these experiments (100 at most), a study, an owner, or all that one may see; first how
        everything stands, or with `after="now"` nothing. With `label="week:3"` only what has that label, and `left` of
        what has lost it; runs come with their experiments' owner and labels then. It ends when all that was named has
        ended, and goes on over every cut.
        """
        params: dict[str, Any] = {"owner": owner, "label": label}
        if experiments is not None:
            params["experiments"] = ",".join(_ids_of(experiments))
        if study is not None:
            params["study"] = study if isinstance(study, str) else study.id
        return watched("/events", params, self.url, after, with_rows=label is not None)


def _ids_of(
    experiments: ExperimentPlans | str | Iterable[ExperimentPlans | str],
) -> list[str]:
    named = [experiments] if isinstance(experiments, ExperimentPlans | str) else experiments
    return [_id_of(one) for one in named]


def _id_of(one: ExperimentPlans | str) -> str:
    return one if isinstance(one, str) else one.id


def _in_a_path(identifier: str) -> str:
    return quote(identifier, safe="")
