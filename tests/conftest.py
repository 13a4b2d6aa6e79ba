"""For all tests: the private PostgreSQL, and what the markers `sqlite` and `postgresql` mean."""

from collections.abc import Iterator

import pytest

from tests.databases import ON_POSTGRESQL
from tests.postgres import Cluster, start_or_skip


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A private server for the session."""
    cluster = start_or_skip()
    yield cluster
    cluster.remove()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL, tests of SQLite itself and tests that meet no database are not repeated; on SQLite, those of PostgreSQL are none."""
    other = "sqlite" if ON_POSTGRESQL else "postgresql"
    config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker(other) is not None])
    items[:] = [item for item in items if item.get_closest_marker(other) is None]
