"""What a network scores on the images that it has learned from: seen as test is, on as many as test has, without
touching what training draws from.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.datasets.batches import ImageSplit, device_splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.splits import sample_rows
from lab_models.specs import DatasetSpec, MLPSpec
from lab_models.training.evaluation import evaluate, evaluate_learned
from lab_models.training.protocol import Completed
from tests.lab_models.conftest import TINY, OrderMaker, of_kind, train

ALL_THAT_BLURS: dict[str, Any] = {
    "dataset": {"train_limit": 200, "augmentation": {"shift": 2, "rotation": 20}},
    "model": {"depth": 2, "width": 24, "norm": "batch", "dropout": 0.5},
    "label_smoothing": 0.2,
    "ema_decay": 0.9,
    "optimizer": {"learning_rate": 0.02},
    "batch_size": 32,
    "epochs": 4,
}
"""What makes an epoch's own train numbers another thing than the network's on train."""


@pytest.fixture
def mlp() -> torch.nn.Module:
    return build_model(MLPSpec(hidden=(24,), norm="batch", dropout=0.5), (1, 8, 8), 10, 3)


def of_weights(order: Any, split: ImageSplit) -> dict[str, float]:
    """By hand: the published weights over all images as stored, in evaluation mode, against the labels."""
    model = build_model(order.spec.network, (1, 8, 8), 10, 77)
    model.load_state_dict(load_file(Path(order.run_folder) / "attempt-1" / "weights.safetensors"))
    model.eval()
    pixels = split.images.float() * split.scale + split.shift
    with torch.no_grad():
        logits = model(pixels)
    return {
        "loss": functional.cross_entropy(logits, split.labels).item(),
        "accuracy": (logits.argmax(1) == split.labels).double().mean().item(),
    }


def test_neither_dropout_nor_views_nor_smoothed_labels_are_in_the_scores_on_train(
    make_order: OrderMaker, digits: PreparedDataset
) -> None:
    order = make_order(ALL_THAT_BLURS)
    (completed,) = of_kind(Completed, train(order))
    split = device_splits(digits, order.spec.dataset, torch.device("cpu")).train
    assert len(split) == 200 < len(digits.test_labels)
    assert completed.train == pytest.approx(of_weights(order, split), rel=1e-5)


def test_a_larger_train_split_is_looked_at_on_as_many_images_as_test_has(
    make_order: OrderMaker, digits: PreparedDataset
) -> None:
    order = make_order({**TINY, "dataset": {}, "epochs": 1})
    (completed,) = of_kind(Completed, train(order))
    split = device_splits(digits, order.spec.dataset, torch.device("cpu")).train
    chosen = torch.from_numpy(sample_rows(split.labels.numpy(), len(digits.test_labels)))
    assert len(chosen) == len(digits.test_labels) < len(split)
    alone = ImageSplit(split.images[chosen], split.labels[chosen], split.scale, split.shift)
    assert completed.train == pytest.approx(of_weights(order, alone), rel=1e-5)


def test_the_images_are_chosen_by_class_and_are_the_same_at_every_call() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    rows = sample_rows(labels, 20)
    assert np.bincount(labels[rows]).tolist() == [12, 6, 2]
    assert rows.tolist() == sorted(set(rows.tolist())) == sample_rows(labels, 20).tolist()
    assert (
        sample_rows(labels, 100).tolist() == sample_rows(labels, 999).tolist() == list(range(100))
    )


def test_it_is_the_same_where_images_stay_memory_mapped(
    mlp: torch.nn.Module, digits: PreparedDataset
) -> None:
    resident, mapped = (
        device_splits(digits, DatasetSpec(), torch.device("cpu"), resident_bytes=limit).train
        for limit in (2**31, 0)
    )
    assert mapped.rows is not None
    assert evaluate_learned(mlp, resident, 300) == evaluate_learned(mlp, mapped, 300)
    assert evaluate_learned(mlp, resident, 10**6) == evaluate(mlp, resident)


def test_nothing_of_what_training_draws_from_moves(
    mlp: torch.nn.Module, digits: PreparedDataset
) -> None:
    split = device_splits(digits, DatasetSpec(augmentation="crop_flip"), torch.device("cpu")).train  # type: ignore[arg-type]
    mlp.train()
    state = {name: value.clone() for name, value in mlp.state_dict().items()}
    generators = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]
    evaluate_learned(mlp, split, 100)
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert np.random.get_state()[1].tolist() == generators[1]  # type: ignore[index, union-attr]
    assert all(torch.equal(value, state[name]) for name, value in mlp.state_dict().items())
