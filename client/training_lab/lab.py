"""The two clients: `Lab`, which waits for answers, and `AsyncLab`, which is awaited."""

import platform
from typing import TYPE_CHECKING, Self

from training_lab.awaiting import AsyncDriver, awaited, awaited_each
from training_lab.blocking import BlockingDriver, blocking, blocking_each
from training_lab.driving import Address
from training_lab.experiment import AsyncExperiment, Experiment
from training_lab.keys import key_header, url_for
from training_lab.lab_plans import LabPlans
from training_lab.run import AsyncRun, Run
from training_lab.study import AsyncStudy, Study
from training_lab.version import VERSION

if TYPE_CHECKING:
    import httpx


def _address(url: str | None, key: str | None, timeout: float, retries: int) -> Address:
    agent = f"training-lab-client/{VERSION} python/{platform.python_version()}"
    chosen = url_for(url)
    headers = {"User-Agent": agent, **key_header(key, chosen)}
    return Address(chosen, headers, timeout, max(0, retries))


class Lab(LabPlans[Experiment, Study, Run]):
    """A service, spoken to by a program that waits for each answer. Several threads may share one.

    url: where it is; None: LAB_URL, else what `lab login` stored, else one on this machine.
    key: None: LAB_API_KEY, else the one that is stored for this service, if there is one.
    timeout: seconds to connect and for each silence; what takes long by its nature gets more.
    retries: how often a request is sent again where that is safe.
    transport: httpx's, for proxies of one's own and tests. Raises Unusable for a url or key that can be none.
    """

    _experiment_type = Experiment
    _study_type = Study
    _run_type = Run

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        *,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        self._driver = BlockingDriver(_address(url, key, timeout, retries), transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._driver.http.close()

    def __repr__(self) -> str:
        return f"<Lab {self.url}>"

    submit = blocking(LabPlans._submit)
    dry_run = blocking(LabPlans._dry_run)
    experiments = blocking_each(LabPlans._experiments)
    experiment = blocking(LabPlans._experiment)
    study = blocking(LabPlans._study)
    run = blocking(LabPlans._run)
    latest = blocking(LabPlans._latest)
    study_of = blocking(LabPlans._study_of)
    dry_run_study = blocking(LabPlans._dry_run_study)
    compare = blocking(LabPlans._compare)
    metrics = blocking(LabPlans._metrics)
    datasets = blocking(LabPlans._datasets)
    import_dataset = blocking(LabPlans._import_dataset)
    queue = blocking(LabPlans._queue)
    workers = blocking(LabPlans._workers)
    recipes = blocking(LabPlans._recipes)
    events = blocking_each(LabPlans._events)
    get = blocking(LabPlans._get)


class AsyncLab(LabPlans[AsyncExperiment, AsyncStudy, AsyncRun]):
    """The same, awaited; iterators are asynchronous ones. Belongs to one event loop."""

    _experiment_type = AsyncExperiment
    _study_type = AsyncStudy
    _run_type = AsyncRun

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._driver = AsyncDriver(_address(url, key, timeout, retries), transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._driver.http.aclose()

    def __repr__(self) -> str:
        return f"<AsyncLab {self.url}>"

    submit = awaited(LabPlans._submit)
    dry_run = awaited(LabPlans._dry_run)
    experiments = awaited_each(LabPlans._experiments)
    experiment = awaited(LabPlans._experiment)
    study = awaited(LabPlans._study)
    run = awaited(LabPlans._run)
    latest = awaited(LabPlans._latest)
    study_of = awaited(LabPlans._study_of)
    dry_run_study = awaited(LabPlans._dry_run_study)
    compare = awaited(LabPlans._compare)
    metrics = awaited(LabPlans._metrics)
    datasets = awaited(LabPlans._datasets)
    import_dataset = awaited(LabPlans._import_dataset)
    queue = awaited(LabPlans._queue)
    workers = awaited(LabPlans._workers)
    recipes = awaited(LabPlans._recipes)
    events = awaited_each(LabPlans._events)
    get = awaited(LabPlans._get)
