"""Evaluation: every image once, without dropout or gradients, in the precision asked for; predictions are what was
scored.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.architectures.modules import Resizing
from lab_models.datasets.batches import ImageSplit, device_splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.specs import DatasetSpec, MLPSpec
from lab_models.training.assessment import assess
from lab_models.training.evaluation import CONVOLUTION_BATCH_ON_CPU, evaluate, predict


class Watched(nn.Module):
    """Logits of an inner network, and the batch sizes it was given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        logits: Tensor = self.inner(images)
        return logits


@pytest.fixture
def mlp() -> nn.Module:
    return build_model(MLPSpec(hidden=(24,), dropout=0.5), (1, 8, 8), 10, 3)


@pytest.fixture
def cnn() -> nn.Module:
    torch.manual_seed(3)
    layers = (
        nn.Conv2d(1, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 6 * 6, 10),
    )
    return nn.Sequential(*layers)


@pytest.fixture(scope="module")
def test_split(digits: PreparedDataset) -> ImageSplit:
    return device_splits(digits, DatasetSpec(), torch.device("cpu")).test


def repeated(split: ImageSplit, times: int) -> ImageSplit:
    return ImageSplit(
        split.images.repeat(times, 1, 1, 1), split.labels.repeat(times), split.scale, split.shift
    )


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_predictions_are_the_logits_that_were_scored(
    kind: str,
    precision: str,
    digits: PreparedDataset,
    test_split: ImageSplit,
    request: pytest.FixtureRequest,
) -> None:
    model = request.getfixturevalue(kind)
    scores = evaluate(model, test_split, precision)
    logits, labels = predict(model, test_split, precision)
    assert (logits.shape, str(logits.dtype), labels.shape, str(labels.dtype)) == (
        (360, 10),
        "float32",
        (360,),
        "int64",
    )
    assert labels.tolist() == digits.test_labels.tolist()
    found = assess(logits, labels, digits.info.class_names).scores
    assert found["accuracy"] == scores.accuracy
    assert found["loss"] == pytest.approx(scores.loss, rel=1e-6)


def test_scores_are_those_of_the_whole_split_at_once(
    mlp: nn.Module, test_split: ImageSplit
) -> None:
    scores = evaluate(mlp, repeated(test_split, 4))
    with torch.no_grad():
        (batch,) = test_split.in_order(len(test_split))
        logits = mlp.eval()(batch.images)
    assert scores.loss == pytest.approx(
        functional.cross_entropy(logits, batch.labels).item(), rel=1e-5
    )
    assert scores.accuracy == (logits.argmax(1) == batch.labels).double().mean().item()


def test_dropout_is_off_and_the_model_is_left_so(mlp: nn.Module, test_split: ImageSplit) -> None:
    mlp.train()
    assert evaluate(mlp, test_split) == evaluate(mlp, test_split)
    assert not mlp.training
    mlp.train()
    first, second = predict(mlp, test_split)[0], predict(mlp, test_split)[0]
    assert (first == second).all()
    assert not mlp.training


def test_bfloat16_rounds_the_forward_pass_and_not_the_loss(
    mlp: nn.Module, test_split: ImageSplit
) -> None:
    full, half = (
        torch.from_numpy(predict(mlp, test_split, precision)[0])
        for precision in ("float32", "bfloat16")
    )
    assert not torch.equal(full, half)
    assert torch.equal(half, half.bfloat16().float()), "the head's output is bfloat16"
    assert torch.allclose(full, half, atol=0.03)
    assert evaluate(mlp, test_split, "bfloat16").loss == pytest.approx(
        functional.cross_entropy(half, test_split.labels).item(), rel=1e-6
    )
    assert all(parameter.dtype == torch.float32 for parameter in mlp.parameters())


def test_of_equal_logits_the_first_class_is_predicted(test_split: ImageSplit) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    for parameter in flat.parameters():
        nn.init.zeros_(parameter)
    assert evaluate(flat, test_split).accuracy == (test_split.labels == 0).double().mean().item()


@pytest.mark.parametrize(("kind", "size"), [("mlp", 1000), ("cnn", CONVOLUTION_BATCH_ON_CPU)])
def test_convolutions_get_small_batches_on_a_cpu_and_every_image_comes_once(
    kind: str, size: int, test_split: ImageSplit, request: pytest.FixtureRequest
) -> None:
    watched = Watched(request.getfixturevalue(kind))
    evaluate(watched, repeated(test_split, 3))
    assert watched.batches == [size] * (1080 // size) + [1080 % size]


def test_no_gradient_is_kept(mlp: nn.Module, test_split: ImageSplit) -> None:
    evaluate(mlp, test_split)
    predict(mlp, test_split)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in mlp.parameters())


@pytest.mark.parametrize(("side", "size"), [(8, 100), (64, 100), (128, 25), (224, 8), (512, 1)])
def test_images_that_are_enlarged_come_fewer_at_a_time(
    side: int, size: int, test_split: ImageSplit
) -> None:
    watched = Watched(
        nn.Sequential(
            Resizing(side),
            nn.Conv2d(1, 1, 1, stride=8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(1, 10),
        )
    )
    evaluate(watched, test_split)
    assert sum(watched.batches) == 360
    assert max(watched.batches) == size
