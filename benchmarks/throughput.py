"""How fast training is: images per second of this loop, of a plain PyTorch script, of Lightning, and of the floor.

The floor is forward, backward and optimizer step on one fixed batch that is in place already: no loop over real data
can be faster. All train the same network with the same optimizer from the same bytes. The rounds are interleaved, so
that a machine that is slow for a while is slow for all.
"""

import logging
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from lab_models.architectures.build import build_model
from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.batches import device_splits
from lab_models.datasets.catalog import BUILT_IN
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.readers import DataFolders, open_dataset
from lab_models.running.environment import best_memory_format, make_deterministic
from lab_models.specs import TrainSpec
from lab_models.training.checkpoints import TrainState
from lab_models.training.fitting import Stepped, fit
from lab_models.training.optimization import make_optimizer

ROUNDS = 7
FLOOR = "floor: one fixed batch"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """One network on one data set; `steps` are timed after `warm_up` that are not."""

    title: str
    spec: dict[str, Any]
    steps: int
    warm_up: int


CASES = (
    Case(
        "mlp-small, batch 128, MNIST",
        {"dataset": "mnist", "model": "mlp-small", "batch_size": 128},
        steps=400,
        warm_up=20,
    ),
    Case(
        "MLP 6 x 512, batch 64, MNIST",
        {"dataset": "mnist", "model": {"depth": 6, "width": 512}, "batch_size": 64},
        steps=250,
        warm_up=20,
    ),
    Case(
        "student CNN, batch 128, CIFAR-10",
        {"dataset": "cifar10", "model": "student", "batch_size": 128},
        steps=4,
        warm_up=1,
    ),
)


class Images(Dataset[tuple[Tensor, int]]):
    """The same bytes as torchvision gives them: one image and its label at a time, through torchvision's transforms."""

    def __init__(self, dataset: PreparedDataset) -> None:
        self._images, self._labels = (
            torch.from_numpy(dataset.train_images.copy()),
            torch.from_numpy(dataset.train_labels.copy()),
        )
        self._transform = v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(dataset.info.mean, dataset.info.std),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self._transform(self._images[row]), int(self._labels[row])


def measure(threads: int = 2) -> list[dict[str, Any]]:
    """One row per case and way: images per second (median over the rounds) and its share of the floor (median of each
    round's ratio).
    """
    make_deterministic(threads)
    rows = []
    for case in CASES:
        try:
            rows += _measure_case(case)
        except DatasetUnavailable as error:
            print(f"{case.title}: skipped, {error}")
    return rows


def _measure_case(case: Case) -> list[dict[str, Any]]:
    spec = TrainSpec.model_validate(case.spec)
    folders = [Path(part) for part in os.environ.get("LAB_DATA_DIR", "").split(os.pathsep) if part]
    home = Path(os.environ.get("LAB_HOME") or ".lab")
    where = DataFolders(
        search=tuple(folders),
        download=home / "datasets",
        prepared=home / "prepared",
        imported=home / "imported",
    )
    dataset = open_dataset(BUILT_IN[spec.dataset.name], where)
    ways: dict[str, Callable[[], float]] = {
        FLOOR: lambda: _seconds_per_step(_floor(spec, dataset), case),
        "this loop": lambda: _seconds_per_step(_ours(spec, dataset), case),
        "plain script, DataLoader, 0 workers": lambda: _seconds_per_step(
            _script(spec, dataset, 0), case
        ),
        "plain script, DataLoader, 2 workers": lambda: _seconds_per_step(
            _script(spec, dataset, 2), case
        ),
    }
    try:
        import lightning  # noqa: F401
    except ImportError:
        print("Lightning is not installed: pip install '.[bench]'")
    else:
        ways["Lightning, DataLoader, 2 workers"] = lambda: _lightning(spec, dataset, case)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, timed in ways.items():
            seconds[way].append(timed())
    floor = seconds[FLOOR]
    return [
        {
            "case": case.title,
            "way": way,
            "images_per_second": spec.batch_size / statistics.median(values),
            "of_the_floor": statistics.median(
                fixed / value for fixed, value in zip(floor, values, strict=True)
            ),
            "n": len(values),
        }
        for way, values in seconds.items()
    ]


def _seconds_per_step(steps: Iterator[None], case: Case) -> float:
    for _ in range(case.warm_up):
        next(steps)
    began = time.perf_counter()
    for _ in range(case.steps):
        next(steps)
    elapsed = time.perf_counter() - began
    del steps  # ends a loader's workers
    return elapsed / case.steps


def _floor(spec: TrainSpec, dataset: PreparedDataset) -> Iterator[None]:
    model, optimizer = _network(spec, dataset)
    model = model.to(memory_format=best_memory_format(spec.model))
    splits = device_splits(dataset, spec.dataset, CPU, memory_format=best_memory_format(spec.model))
    batch = splits.train.batch(torch.arange(spec.batch_size))
    while True:
        _step(model, optimizer, batch.images, batch.labels)
        yield


def _ours(spec: TrainSpec, dataset: PreparedDataset) -> Iterator[None]:
    model, optimizer = _network(spec, dataset)
    memory_format = best_memory_format(spec.model)
    splits = device_splits(dataset, spec.dataset, CPU, memory_format=memory_format)
    state = TrainState(model.to(memory_format=memory_format), optimizer, CPU)
    for event in fit(state, spec, 0, splits.train, splits.val):
        if isinstance(event, Stepped):
            yield


def _script(spec: TrainSpec, dataset: PreparedDataset, workers: int) -> Iterator[None]:
    model, optimizer = _network(spec, dataset)
    while True:
        for images, labels in _loader(spec, dataset, workers):
            _step(model, optimizer, images, labels)
            yield


def _lightning(spec: TrainSpec, dataset: PreparedDataset, case: Case) -> float:
    """Seconds per step; Lightning owns its loop, so each step's end is noted by its own hook."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model, _ = _network(spec, dataset)
    ended: list[float] = []

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return make_optimizer(spec.optimizer, self.network)

        def on_train_batch_end(self, *_: object) -> None:
            ended.append(time.perf_counter())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=case.warm_up + case.steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), _loader(spec, dataset, 2))
    return (ended[-1] - ended[case.warm_up - 1]) / case.steps


def _network(spec: TrainSpec, dataset: PreparedDataset) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = build_model(spec.model, dataset.info.shape, dataset.info.num_classes, seed=0)
    return model.train(), make_optimizer(spec.optimizer, model)


def _loader(
    spec: TrainSpec, dataset: PreparedDataset, workers: int
) -> DataLoader[tuple[Tensor, int]]:
    return DataLoader(Images(dataset), spec.batch_size, shuffle=True, num_workers=workers)


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
