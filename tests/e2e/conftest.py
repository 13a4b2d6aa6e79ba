"""Services for the tests of this folder; each test that breaks one gets its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Redis, Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running embedded service with one worker, shared by the tests of a module that leave it as it was."""
    running = Service(tmp_path_factory.mktemp("home"))
    running.serve()
    yield running
    running.stop()


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services that are ended after the test."""
    made: list[Service] = []

    def make(**settings: object) -> Service:
        made.append(Service(tmp_path / f"home{len(made)}", **settings))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    """A private Redis server."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    server = Redis(tmp_path)
    yield server
    server.send_signal(18)  # SIGCONT, in case a test has left it stopped
    server.kill()
