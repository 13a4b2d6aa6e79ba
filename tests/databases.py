"""Which database the tests of the service run on: SQLite in each test's folder or, with LAB_TEST_DATABASE=postgresql, a
database each in a private PostgreSQL.

Tests say `Settings(home=…)` as users do and know nothing of it: LAB_DATABASE_URL leads to the module's database while
fixtures of the module are made, and to the test's own within a test, in this process and those that it starts.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from app.settings import Settings
from app.storage.db import Database
from tests.postgres import Cluster

VARIABLE = "LAB_TEST_DATABASE"
ON_POSTGRESQL = os.environ.get(VARIABLE, "sqlite") == "postgresql"
assert os.environ.get(VARIABLE, "sqlite") in ("sqlite", "postgresql"), (
    f"{VARIABLE} is sqlite or postgresql"
)

_in_use: list[tuple[Cluster, str]] = []


@pytest.fixture(scope="module", autouse=True)
def database_of_the_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """For services that the tests of a module share."""
    with database_of_its_own(request):
        yield


@pytest.fixture(autouse=True)
def database_of_the_test(
    request: pytest.FixtureRequest, database_of_the_module: None
) -> Iterator[None]:
    """A fresh one."""
    with database_of_its_own(request):
        yield


def renew_database() -> None:
    """For a test that opens one database after the other, each in a new folder: on PostgreSQL the test's only one is
    made as new.
    """
    if ON_POSTGRESQL:
        cluster, name = _in_use[-1]
        cluster.renew(name)


@contextmanager
def empty_database() -> Iterator[None]:
    """Within the block `Settings` lead to a database without any table: on PostgreSQL a new one, on SQLite the file
    that is not there yet.
    """
    if not ON_POSTGRESQL:
        yield
        return
    cluster = _in_use[-1][0]
    name = cluster.create()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAB_DATABASE_URL", cluster.url(name))
        yield
    cluster.drop(name)


@contextmanager
def writers_blocked(settings: Settings) -> Iterator[None]:
    """Within the block somebody else holds what every writer needs; readers read on."""
    database = Database(settings.effective_database_url, busy_seconds=20)
    with database.engine.connect() as connection:
        # SQLite's transaction begins as a writer's
        connection.execute(
            text("LOCK TABLE run IN EXCLUSIVE MODE" if ON_POSTGRESQL else "SELECT 1")
        )
        yield
        connection.rollback()
    database.close()


@contextmanager
def database_of_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """Within the block `Settings` lead to a fresh database; for a module's second service, too."""
    if not ON_POSTGRESQL:
        yield
        return
    cluster: Cluster = request.getfixturevalue("postgresql")
    name = cluster.take()
    _in_use.append((cluster, name))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAB_DATABASE_URL", cluster.url(name))
        yield
    _in_use.pop()
    cluster.give_back(name)
