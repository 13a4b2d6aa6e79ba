"""A slot in this process: a real database file, a real trainer server, no Celery."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.services.experiments import experiments
from app.settings import Settings
from app.storage.db import Database, open_database
from tests.app.rows import create
from tests.databases import database_of_the_module, database_of_the_test  # noqa: F401 - fixtures
from worker.inner_bell import use_inner_bell
from worker.slot import Slot

use_inner_bell()  # before any test has a connection in memory, whose kind is then kept for the process


class Stage:
    """What a test of the worker needs at hand."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.stopping = False
        self.slot = Slot("tester", "cpu", 1, settings, database, lambda: self.stopping)

    def submit(self, **body: object) -> str:
        """Store an experiment with one run and return the run's id."""
        document = {"dataset": "digits", "model": {"hidden": [16]}, "epochs": 3, **body}
        with self.database.writing() as session:
            experiment = create(session, document)
            return experiments.its_runs(session, experiment.id)[0].id

    def run(self, run_id: str):  # type: ignore[no-untyped-def]
        """The run's row as it stands."""
        with self.database.reading() as session:
            return experiments.get_run(session, run_id)


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(**overrides: object) -> Stage:
        settings = Settings(home=tmp_path, _env_file=None, **{"lease_seconds": 3.0, **overrides})
        open_database(settings).close()
        stages.append(
            Stage(
                settings,
                Database(settings.effective_database_url, busy_seconds=settings.lease_seconds / 3),
            )
        )
        return stages[-1]

    yield make
    for stage in stages:
        stage.slot.spare.drop()
        stage.database.close()
