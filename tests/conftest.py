"""For all tests: the private PostgreSQL, and what the markers `sqlite` and `postgresql` mean."""

from collections.abc import Iterator

import pytest

import app.main
from app.drawing import Artists
from tests.databases import ON_POSTGRESQL
from tests.postgres import Cluster, start_or_skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A private server for the session."""
    cluster = start_or_skip()
    yield cluster
    cluster.remove()


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, tests of SQLite itself and tests that meet no database are not repeated; on SQLite, those of PostgreSQL are none."""
    other = "sqlite" if ON_POSTGRESQL else "postgresql"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other) is not None])
    items[:] = [item for item in items if item.get_closest_marker(other) is None]
