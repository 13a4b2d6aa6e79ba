"""Published weights as a source over HTTP: no run is waited for, the cost is known at submit, and the answers are
torch's.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sqlmodel import select
from starlette.testclient import TestClient
from torch.nn import functional
from torchvision import models
from torchvision.models import ResNet18_Weights

from app.services import lifecycle
from app.services.experiments import progress, tasks
from app.settings import Settings
from app.storage.db import Database
from app.storage.tables import Run
from lab_models.building_on import pretrained
from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.readers import open_dataset
from lab_models.running.execution import Execution
from lab_models.training.protocol import Completed, EpochCompleted, Started
from tests.lab_models.conftest import data_folders, order_in
from tests.pretrained import published_resnet18

SOURCE = {"pretrained": "resnet18"}
TRANSFER = {"kind": "transfer", "source": SOURCE, "dataset": "cifar10"}


def priced(api: TestClient, **fields: Any) -> Any:
    answer = api.post("/experiments?dry_run=true", json=TRANSFER | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(api: TestClient, body: Any) -> Any:
    answer = api.post("/experiments", json=body)
    assert answer.status_code == 422, answer.text
    return answer.json()["errors"]


def test_the_cost_is_known_before_anything_runs(api: TestClient) -> None:
    """1.81 billion for 1,000 classes in torchvision's table of weights; the head of 10 classes has 990 · 512 fewer."""
    whole = priced(api)
    assert whole["spec"]["source"] == {"pretrained": "resnet18", "image_size": 224}
    assert whole["estimate"]["macs_per_sample"] == 1_814_073_344 - 990 * 512
    assert (whole["estimate"]["parameters"], whole["estimate"]["trainable_parameters"]) == (
        11_181_642,
        11_181_642,
    )
    assert whole["estimate"]["layers"][0]["output_shape"] == [64, 112, 112]
    about_images = [said for said in whole["warnings"] if "not here yet" not in said]
    assert about_images == [
        "images of 32x32 are enlarged to 224x224, which makes one cost 1,814 million multiply-accumulates, 49 times as"
        " many as without; a smaller 'image_size' costs less"
    ]
    small = priced(api, source=SOURCE | {"image_size": 64}, strategy="linear_probe")
    assert small["estimate"]["trainable_parameters"] == 5130
    assert (
        small["estimate"]["macs_per_sample"]
        == round((1_814_073_344 - 1000 * 512) * (64 / 224) ** 2) + 5120
    )
    trained = priced(api, source=SOURCE | {"image_size": 64}, epochs=1)["estimate"]["seconds"]
    frozen = priced(api, source=SOURCE | {"image_size": 64}, epochs=1, strategy="features")[
        "estimate"
    ]["seconds"]
    read = 2 * (10_000 + 10_000)  # val and test; steps have a cost of their own beside these
    assert trained / frozen == pytest.approx((6 * 40_000 + read) / (2 * 40_000 + read), rel=0.1), (
        "nothing goes backward through what is frozen"
    )
    plain = priced(api, source=SOURCE | {"image_size": None})
    assert "get a gradient" in plain["warnings"][0]
    assert plain["warnings"][0].endswith("set a larger image_size")
    assert (
        len({one["fingerprint"] for one in (whole, small, plain, priced(api, dataset="cifar100"))})
        == 4
    )


def test_nothing_is_waited_for_and_the_control_stands_beside_it(
    api: TestClient, database: Database
) -> None:
    answer = api.post("/experiments", json=TRANSFER | {"from_scratch": True, "seeds": 2})
    assert answer.status_code == 201, answer.text
    record = answer.json()
    assert (record["status"], record["status_reason"]) == ("queued", "no_worker_online")
    with database.reading() as session:
        assert [run.needs for run in session.exec(select(Run))] == [None] * 4
    control = api.get(f"/experiments/{record['related']['from_scratch']}").json()
    assert control["spec"]["model"] == {
        "arch": "resnet18",
        "input_channels": None,
        "stem": "imagenet",
        "image_size": 224,
        "statistics": "imagenet",
    }
    assert control["estimate"] == record["estimate"]
    again = api.get(f"/experiments/{record['id']}/reproduce").json()["request"]
    assert again["source"] == {"pretrained": "resnet18", "image_size": 224}
    assert api.post("/experiments", json=again).json()["fingerprint"] == record["fingerprint"]
    for one in (record, control):
        api.post(f"/experiments/{one['id']}/cancel")
        assert api.delete(f"/experiments/{one['id']}").status_code == 204


def test_what_cannot_be_is_refused_where_it_stands(api: TestClient) -> None:
    sentence = (
        "published weights cannot teach: their outputs are ImageNet's classes, not this data set's; they can be the"
        " 'source' of a transfer"
    )
    assert refused(api, {"kind": "distill", "teacher": SOURCE}) == [
        {"pointer": "/teacher", "message": sentence}
    ]
    assert refused(api, TRANSFER | {"strategy": "features", "stage": "layer5"}) == [
        {
            "pointer": "/stage",
            "message": "this network has no stage 'layer5'",
            "hint": "did you mean 'layer4'?",
        }
    ]
    assert refused(api, TRANSFER | {"batch_size": 1})[0]["message"].startswith(
        "batch norm cannot train on a single image"
    )
    assert (
        refused(api, TRANSFER | {"source": {"pretrained": "resnet81"}})[0]["pointer"]
        == "/source/pretrained"
    )


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a file that takes the place of torchvision's."""
    folder = tmp_path / "weights"
    monkeypatch.setitem(pretrained.PUBLISHED, "resnet18", published_resnet18(folder))
    yield folder
    shutil.rmtree(tmp_path)  # some 45 MB a file


@pytest.mark.sqlite
def test_a_prediction_is_torchvisions(
    api: TestClient, database: Database, settings: Settings, weights: Path
) -> None:
    """The published weights of the run in torchvision's own module, behind torchvision's constants, say of a grey image
    what the service says.
    """
    sgd = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.0}
    body = TRANSFER | {
        "dataset": {"train_limit": 64},
        "source": SOURCE | {"image_size": 20},
        "last_stages": 1,
        "epochs": 1,
        "optimizer": sgd,
    }
    run_id = api.post("/experiments", json=body).json()["runs"][0]["id"]
    carry_out(database, settings, weights)
    folder = settings.runs_folder / run_id / "attempt-1"
    module = models.resnet18(weights=None, num_classes=10)
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    rows, digits, seen = (
        (0, 7, 123),
        open_dataset(DIGITS, data_folders(settings.home)),
        ResNet18_Weights.IMAGENET1K_V1.transforms(),
    )
    images = torch.from_numpy(np.array(digits.test_images[list(rows)])).expand(-1, 3, -1, -1) / 255
    images = functional.interpolate(images, (20, 20), mode="bilinear", align_corners=False)
    normalized = (images - torch.tensor(seen.mean).view(-1, 1, 1)) / torch.tensor(seen.std).view(
        -1, 1, 1
    )
    with torch.inference_mode():
        expected = module.eval()(normalized).softmax(1).numpy()
    for row, probabilities in zip(rows, expected, strict=True):
        answer = api.post(f"/runs/{run_id}/predict", json={"split": "test", "row": row})
        assert answer.status_code == 200, answer.text
        given = [
            part["probability"]
            for part in sorted(answer.json()["probabilities"], key=lambda part: part["label"])
        ]
        np.testing.assert_allclose(given, probabilities, rtol=0, atol=1e-4)
    assert np.abs(expected - expected[0]).max() > 1e-3, "images are told apart"


def carry_out(database: Database, settings: Settings, weights: Path) -> None:
    """The next run, in this process, as a worker would."""
    with database.writing() as session:
        lease = lifecycle.claim(session, "worker-1")
        assert lease is not None
        task = tasks.load_task(session, lease, settings.runs_folder)
    assert task.foundation is None
    differing = {
        "run_folder": str(settings.runs_folder / lease.run_id),
        "folders": {"search": (weights,)},
    }
    for event in Execution(
        order_in(settings.home, task.spec.model_dump(mode="json"), **differing)
    ).events():
        with database.writing() as session:
            match event:
                case Started():
                    progress.record_started(session, lease, event)
                case EpochCompleted():
                    progress.record_epoch(session, lease, event)
                case Completed():
                    progress.record_completed(session, lease, event)
