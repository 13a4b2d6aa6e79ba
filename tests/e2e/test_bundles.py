"""A bundle as whoever gets it uses it: its checksums are right, and its script makes the same experiments again."""

import io
import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service

SMALL = {"dataset": "digits", "model": {"arch": "mlp", "hidden": [16]}, "epochs": 2}
PLAIN = 'it\'s $(touch broken) "网络"'


@pytest.mark.slow
def test_reproduce_sh_makes_equal_experiments_and_trains_nothing(
    service: Service, tmp_path: Path
) -> None:
    labels = {"labels": {"exercise": "1.2"}}
    plain = service.submit({**SMALL, **labels, "name": PLAIN, "seeds": 2})
    student: dict[str, Any] = {
        "kind": "distill",
        "teacher": {"spec": {**SMALL, "model": {"arch": "mlp", "hidden": [32]}}},
        "student": SMALL["model"],
        "dataset": "digits",
        "epochs": 2,
    }
    taught = service.submit({**student, **labels})
    for one in (plain, taught):
        service.wait_for(one, "succeeded")
    answer = service.http.get("/bundles?label=exercise:1.2")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "bundle-exercise-1.2"
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)

    def reproduce() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", folder / "reproduce.sh"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "LAB_URL": f"http://127.0.0.1:{service.port}",
                "no_proxy": "127.0.0.1",
            },
            capture_output=True,
            text=True,
        )

    done = reproduce()
    assert done.returncode == 0, done.stderr
    by_name: dict[str, Any] = {}
    assert len(done.stdout.splitlines()) == 2  # two seeds, and one
    for line in done.stdout.splitlines():
        study = service.get(f"/studies/{line.rpartition('/')[2]}")
        by_name |= {cell["key"]: cell["experiment_id"] for cell in study["cells"]}
    assert len(by_name) == 3  # with the teacher
    for folder_of_one, experiment_id in by_name.items():
        results = json.loads((folder / folder_of_one / "results.json").read_text())
        first = service.get(f"/experiments/{results['id']}")
        second = service.get(f"/experiments/{experiment_id}")
        assert second["id"] != first["id"]
        assert (second["status"], second["fingerprint"]) == ("succeeded", first["fingerprint"])
        assert [run["seed"] for run in second["runs"]] == [run["seed"] for run in first["runs"]]
        assert all(run["reused_from"] for run in second["runs"])
        assert [run["test"] for run in second["runs"]] == [run["test"] for run in first["runs"]]
    assert reproduce().stdout == done.stdout  # to run it twice makes nothing twice
    assert service.get("/experiments/counts?label=exercise:1.2")["total"] == 3
    assert not list(tmp_path.rglob("broken"))

    (folder / "reproduce-1.json").write_text('{"specs": []}')
    refused = reproduce()
    assert refused.returncode == 1
    assert "reproduce-1.json: refused with 4" in refused.stderr
    assert len(refused.stdout.splitlines()) == 1  # the others are sent all the same
