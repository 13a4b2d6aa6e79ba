"""A service on loopback in this process, whose runs tests carry out by hand, and clients of it."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from app.main import create_app
from app.settings import Settings
from app.storage.db import Database, open_database
from tests.client.commanding import Command, commanding
from tests.client.faults import FaultyProxy
from training_lab import Lab


class Loopback(uvicorn.Server):
    """The service in a thread, on a port of the system's choice."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(settings),
                port=0,
                log_config=None,
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()
        while not self.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"

    def end(self) -> None:
        self.should_exit = True
        self._thread.join(20)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, log_level="ERROR", _env_file=None)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = open_database(settings)
    yield database
    database.close()


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    server = Loopback(settings)
    yield server.url
    server.end()


@pytest.fixture
def lab(url: str) -> Iterator[Lab]:
    with Lab(url) as lab:
        yield lab


@pytest.fixture
def proxy(url: str) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(url)
    yield proxy
    proxy.end()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LAB_URL", "LAB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("config", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))


@pytest.fixture
def command(url: str, capsys: pytest.CaptureFixture[str]) -> Command:
    return commanding(capsys, url)
