"""Model folders: a network taken out with all that it takes to load it elsewhere, where it says the same."""

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sqlmodel import select
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Metric, Run
from lab_models.datasets.catalog import BUILT_IN
from lab_models.datasets.references import REFERENCES
from tests.app.test_predict import SMALL, Service
from tests.app.test_reads import long_experiment

pytestmark = pytest.mark.sqlite  # trains

NAME = "a \"name\": with, = < & 'quotes' \\ | `code` and Übung"
FILES = {
    "README.md",
    "config.json",
    "classes.json",
    "preprocessing.json",
    "model.safetensors",
    "model.onnx",
    "metrics.csv",
    "curves.svg",
    "LICENSE-DATA.md",
    "SHA256SUMS",
}
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), log_level="ERROR", _env_file=None)
    app = create_app(settings)
    with TestClient(app) as api:
        yield Service(api, app.state.database, settings)


@pytest.fixture(scope="module")
def run_id(service: Service) -> str:
    """A run of two seeds, each with a number of its first epoch."""
    trained = service.trained({**SMALL, "name": NAME, "seeds": 2})
    with service.database.writing() as session:
        for run in session.exec(select(Run)):
            session.add(
                Metric(run_id=run.id, epoch=1, split="val", name="loss", value=0.1 + run.seed)
            )
    return trained


@pytest.fixture(scope="module")
def folder(service: Service, run_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked."""
    place = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(
        io.BytesIO(service.api.get(f"/runs/{run_id}/model.zip").content)
    ) as zipped:
        assert zipped.testzip() is None
        zipped.extractall(place)
    (inner,) = place.iterdir()
    return inner


def blocks(folder: Path) -> list[str]:
    """The Python of the card."""
    parts = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    return [part.partition("```")[0] for part in parts]


def test_it_has_all_files_with_true_checksums_and_the_runs_own_numbers(
    service: Service, run_id: str, folder: Path
) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    sums = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert sums == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in FILES - {"SHA256SUMS"}
    }
    record = service.api.get(f"/runs/{run_id}").json()
    experiment = service.api.get(f"/experiments/{record['experiment_id']}").json()
    weights = service.api.get(f"/runs/{run_id}/artifacts/weights.safetensors").content
    assert (folder / "model.safetensors").read_bytes() == weights
    assert (folder / "model.onnx").read_bytes() == service.api.get(
        f"/runs/{run_id}/model.onnx"
    ).content
    config = json.loads((folder / "config.json").read_bytes())
    assert config["spec"] == experiment["spec"]
    assert (config["seed"], config["num_labels"]) == (record["seed"], 10)
    rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))
    assert {(row["run_id"], float(row["value"])) for row in rows} == {
        (run["id"], 0.1 + run["seed"]) for run in experiment["runs"]
    }


def test_the_card_has_a_head_that_programs_read_and_the_interval_over_seeds(
    service: Service, run_id: str, folder: Path
) -> None:
    _, head, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    document = yaml.safe_load(head)
    assert document["pipeline_tag"] == "image-classification"
    (result,) = document["model-index"]
    assert result["name"].startswith(NAME)
    record = service.api.get(f"/runs/{run_id}").json()
    accuracy = service.api.get(f"/experiments/{record['experiment_id']}").json()["results"]["test"][
        "accuracy"
    ]
    low, high = accuracy["ci95"]
    assert f"| accuracy | {accuracy['mean']:.4f} | {low:.4f} to {high:.4f} | 2 |" in body.replace(
        "\N{MINUS SIGN}", "-"
    )
    assert {
        "type": "accuracy",
        "value": accuracy["mean"],
        "name": "test accuracy, mean of 2 seeds",
    } in result["results"][0]["metrics"]
    assert "@misc{alpaydin1998optical," in body
    assert "CC BY 4.0" in (folder / "LICENSE-DATA.md").read_text()


@pytest.mark.parametrize("which", [0, 1], ids=["onnx", "pytorch"])
@pytest.mark.parametrize("side", [8, 21], ids=["as-learned", "another-size"])
def test_the_eight_lines_of_its_card_say_what_predict_says(
    service: Service, run_id: str, folder: Path, tmp_path: Path, which: int, side: int
) -> None:
    code = blocks(folder)[which]
    assert len([line for line in code.splitlines() if line.strip()]) == 8
    pixels = np.random.default_rng(side).integers(0, 255, (side, side), np.uint8)
    for name in FILES:
        (tmp_path / name).symlink_to(folder / name)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    environment = {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    predicted: Any = service.api.post(
        f"/runs/{run_id}/predict?top=10", content=(tmp_path / "image.png").read_bytes()
    ).json()
    assert json.loads(said.stdout) == pytest.approx(
        {one["name"]: one["probability"] for one in predicted["probabilities"]}, abs=1e-6
    )


def test_the_same_run_gives_the_same_bytes_and_need_not_be_sent_again(
    service: Service, run_id: str
) -> None:
    first, second = (service.api.get(f"/runs/{run_id}/model.zip") for _ in range(2))
    assert first.content == second.content
    assert first.headers["content-disposition"] == f'attachment; filename="{run_id}-model.zip"'
    tag = first.headers["etag"]
    unchanged = service.api.get(f"/runs/{run_id}/model.zip", headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert (
        service.api.get(f"/runs/{run_id}").json()["links"]["model_folder"]
        == f"/runs/{run_id}/model.zip"
    )


def test_what_has_no_weights_says_why(
    api: TestClient, database: Database, service: Service
) -> None:
    queued = api.post("/experiments", json=SMALL).json()["runs"][0]["id"]
    refused = api.get(f"/runs/{queued}/model.zip")
    assert refused.status_code == 409
    assert "it can be taken out as a folder once it has succeeded" in refused.json()["detail"]
    long_experiment(database, epochs=2, seeds=1)
    bare = api.get("/experiments?limit=1").json()["data"][0]["id"]
    without = api.get(f"/experiments/{bare}").json()["runs"][0]["id"]
    gone = api.get(f"/runs/{without}/model.zip")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    removed = service.trained({**SMALL, "epochs": 1})
    service.artifact(removed).unlink()
    assert service.api.get(f"/runs/{removed}/model.zip").status_code == 404


def test_every_built_in_data_set_has_a_reference() -> None:
    assert REFERENCES.keys() == BUILT_IN.keys()
    for name, reference in REFERENCES.items():
        assert reference.bibtex.startswith("@"), name
        assert reference.bibtex.count("{") == reference.bibtex.count("}"), name
