"""For all tests: the private PostgreSQL, and what the markers `sqlite` and `postgresql` mean."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
from sqlalchemy import Engine

import app.main
import app.storage.db
from app.plots.artists import Artists
from app.storage.db import Database
from tests import rings
from tests.databases import ON_POSTGRESQL
from tests.postgres import Cluster, start_or_skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A private server for the session."""
    cluster = start_or_skip()
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session", autouse=True)
def _nobody_is_logged_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whoever runs the tests may be, by `lab login` or their environment; nor has the command line kept anything."""
    fonts = os.environ.get("MPLCONFIGDIR") or matplotlib.get_cachedir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("user")))
        if fonts is not None:  # what matplotlib has found of them takes seconds to find again
            patch.setenv("MPLCONFIGDIR", fonts)
        for name in ("LAB_URL", "LAB_API_KEY"):
            patch.delenv(name, raising=False)
        yield


class SharedArtists(Artists):
    """Start nothing before the first picture, and outlive the applications that they are lent to."""

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="session", autouse=True)
def _artists() -> Iterator[None]:
    """One process draws for all applications of the session: to start one takes as long as many tests."""
    shared = SharedArtists(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.main, "Artists", lambda *_: shared)
        yield
    shared.end()


@pytest.fixture(scope="session", autouse=True)
def _migrated_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An SQLite file that is not there yet begins as a copy of one that was migrated: to migrate one takes as long as
    many tests.
    """
    home = tmp_path_factory.mktemp("template")
    template = home / "lab.sqlite3"
    migrate = app.storage.db.migrate
    database = Database(f"sqlite:///{template}")
    migrate(database.engine, home / "lock")
    database.close()

    def copied(engine: Engine, lock: Path) -> None:
        name = engine.url.database
        if engine.dialect.name == "sqlite" and name and not Path(name).exists():
            shutil.copyfile(template, name)
        migrate(engine, lock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.storage.db, "migrate", copied)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, tests of SQLite itself and tests that meet no database are not repeated; on SQLite, those of
    PostgreSQL are none.
    """
    listed = rings.thorough()
    for item in items:
        if item.nodeid.partition("[")[0] in listed:
            item.add_marker("thorough")
    items.sort(key=lambda item: "/worker/" not in item.nodeid)  # what takes longest goes first
    other = "sqlite" if ON_POSTGRESQL else "postgresql"
    config.hook.pytest_deselected(
        items=[item for item in items if item.get_closest_marker(other) is not None]
    )
    items[:] = [item for item in items if item.get_closest_marker(other) is None]
