"""Two machines, as far as one has two: processes with one database and one folder, which each knows by another name."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.e2e.test_faults import QUICK
from tests.postgres import Cluster

pytestmark = pytest.mark.postgres


@pytest.fixture
def database_url(postgresql: Cluster) -> Iterator[str]:
    """Of an empty database of the test's own."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def worker_at(home: Path, service: Service) -> "subprocess.Popen[bytes]":
    """`lab worker` on another machine, where the service's folder has another path."""
    lab = [sys.executable, "-m", "app.commands"]
    return service.start(
        f"LAB_HOME={home}", *lab, "worker", "--workers", "1", "--until-empty", lab=["env"]
    )


@pytest.mark.slow
def test_a_worker_with_a_folder_of_its_own_is_refused_and_one_with_the_apis_trains(
    database_url: str, make_service: Callable[..., Service], tmp_path: Path
) -> None:
    """PostgreSQL and a folder are enough: without Redis each worker looks at the database itself."""
    service = make_service(database_url=database_url)
    service.api()
    experiment = service.submit(QUICK)
    assert worker_at(tmp_path / "own", service).wait(60) == 2
    assert "is another folder than the API's" in service.read_log()
    assert service.record(experiment)["status"] == "queued"

    (tmp_path / "mounted").symlink_to(service.home)
    assert worker_at(tmp_path / "mounted", service).wait(90) == 0, service.read_log()
    assert service.record(experiment)["status"] == "succeeded"
    assert f"files in {tmp_path / 'mounted'}" in service.read_log()
    picture = service.http.get(f"/experiments/{experiment['id']}/curves.png")
    assert picture.content.startswith(b"\x89PNG")
    name, digest = next(iter(service.weights_sha256(experiment).items()))
    run_id = experiment["runs"][0]["id"]
    weights = service.http.get(f"/runs/{run_id}/artifacts/{name}").content
    assert sha256(weights).hexdigest() == digest
    service.stop()
