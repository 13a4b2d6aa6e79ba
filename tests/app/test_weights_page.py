"""docs/weights.md: its programs load what runs of every architecture have published, and say what the service says."""

import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from starlette.testclient import TestClient
from torchvision import datasets, models

from app.main import create_app
from app.settings import Settings
from lab_models.architectures.pixels import IMAGENET_MEAN, IMAGENET_STD
from lab_models.datasets.catalog import BUILT_IN
from lab_models.datasets.readers import open_dataset
from tests.app.test_predict import Service
from tests.lab_models.conftest import PROJECT, data_folders

pytestmark = pytest.mark.sqlite  # one process trains and answers

PAGE = (PROJECT / "docs" / "weights.md").read_text()
WITH_THE_PACKAGE, WITH_TORCHVISION, PLAIN_MLP = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [24, 16], "dropout": 0.2},
    "mlp in blocks": {
        "depth": 3,
        "width": 8,
        "norm": "batch",
        "block": "inverted_bottleneck",
        "residual": True,
    },
    "cnn": {"arch": "cnn", "stages": 2, "width": 4, "residual": True},
    "henet": {"arch": "henet", "depth": 8, "width": 4},
    "vgg": {"arch": "vgg", "widths": [4, 8], "hidden": 8},
    "resnet18": {"arch": "resnet18"},
    "resnet18 as ImageNet's": {
        "arch": "resnet18",
        "stem": "imagenet",
        "statistics": "imagenet",
        "image_size": 32,
    },
}
EQUAL = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = Settings(home=tmp_path_factory.mktemp("service"), log_level="ERROR", _env_file=None)
    app = create_app(settings)
    with TestClient(app, raise_server_exceptions=False) as api:
        yield Service(api, app.state.database, settings)


@pytest.fixture(scope="module")
def runs(service: Service) -> dict[str, str]:
    """A run of each network, after an epoch on a few digits."""
    few = {"dataset": {"train_limit": 100}, "batch_size": 50, "epochs": 1}
    return {name: service.trained({**few, "model": model}) for name, model in NETWORKS.items()}


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(text)
    return str(path)


def kept(service: Service, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = load_file(service.artifact(run_id, "predictions.safetensors"))
    return found


def normalized_digits(service: Service) -> torch.Tensor:
    info = BUILT_IN["digits"]
    images = open_dataset(info, data_folders(service.settings.home)).test_images
    return (torch.tensor(images).float() / 255 - info.mean[0]) / info.std[0]


@pytest.mark.parametrize("name", list(NETWORKS))
def test_with_the_package_the_logits_are_the_services_own(
    service: Service,
    runs: dict[str, str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = service.artifact(runs[name]).parent
    monkeypatch.setattr(sys, "argv", ["load.py", str(folder), str(service.settings.home)])
    found = runpy.run_path(program(tmp_path, WITH_THE_PACKAGE))
    np.testing.assert_allclose(
        found["logits"].numpy(), kept(service, runs[name])["logits"], **EQUAL
    )
    accuracy = service.api.get(f"/runs/{runs[name]}").json()["test"]["accuracy"]
    assert capsys.readouterr().out == f"test accuracy {accuracy:.4f}\n"
    answer = service.api.post(f"/runs/{runs[name]}/predict", json={"split": "test", "row": 7})
    best = answer.json()["predicted"]
    probabilities = found["logits"][7].softmax(0)
    assert best["label"] == int(probabilities.argmax())
    assert best["probability"] == pytest.approx(probabilities.max().item(), abs=1e-4)


def test_resnet18_needs_torchvision_alone(
    service: Service, runs: dict[str, str], tmp_path: Path
) -> None:
    """Without anything of this package, and so without its names."""
    assert "lab_models" not in WITH_TORCHVISION
    make = runpy.run_path(program(tmp_path, WITH_TORCHVISION))["network"]
    model = make(str(service.artifact(runs["resnet18"])), channels=1)
    with torch.inference_mode():
        logits = model(normalized_digits(service)).numpy()
    np.testing.assert_allclose(logits, kept(service, runs["resnet18"])["logits"], **EQUAL)


def test_the_program_for_torchvision_reads_its_data_set_to_the_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a few images in place of CIFAR-10, and random weights."""

    def few(*_: Any, transform: Any, **__: Any) -> list[tuple[torch.Tensor, int]]:
        noise = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
        return [(transform(Image.fromarray(image)), 3) for image in noise]

    model = models.resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "CIFAR10", few)
    runpy.run_path(program(tmp_path, WITH_TORCHVISION), run_name="__main__")
    assert re.fullmatch(r"test accuracy [01]\.\d{4}\n", capsys.readouterr().out)


def test_a_plain_mlp_needs_torch_alone(
    service: Service, runs: dict[str, str], tmp_path: Path
) -> None:
    assert "lab_models" not in PLAIN_MLP
    model = runpy.run_path(program(tmp_path, PLAIN_MLP))["MLP"](str(service.artifact(runs["mlp"])))
    with torch.inference_mode():
        logits = model(normalized_digits(service)).numpy()
    np.testing.assert_allclose(logits, kept(service, runs["mlp"])["logits"], **EQUAL)


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_the_page_has_each_data_sets_statistics(name: str) -> None:
    info = BUILT_IN[name]
    said = [", ".join(f"{value:.4f}" for value in values) for values in (info.mean, info.std)]
    assert f"| `{name}` | {said[0]} | {said[1]} |" in PAGE


def test_the_page_has_imagenets_statistics_and_the_names_of_parameters(
    service: Service, runs: dict[str, str]
) -> None:
    said = [", ".join(map(str, values)) for values in (IMAGENET_MEAN, IMAGENET_STD)]
    assert f"| {said[0]} | {said[1]} |" in PAGE
    names = re.search(r"## Names\n(.*?)\n## ", PAGE, re.DOTALL)
    assert names is not None
    full = re.findall(r"`([a-z0-9_.]+\.weight)`", names[1])
    every = {name for run in runs.values() for name in load_file(service.artifact(run))}
    assert full, "the table names parameters"
    assert set(full) <= every
