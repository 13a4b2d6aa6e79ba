"""What the lab's tests share: digits prepared once, orders for tiny networks, and documents of valid specs."""

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st

from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.readers import DataFolders, open_dataset
from lab_models.running.execution import Execution
from lab_models.specs import MAX_SEED, PRESETS, read_spec
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Folders,
    Order,
    SavedCheckpoint,
)

PROJECT = Path(__file__).resolve().parents[2]

EXAMPLES = settings(deadline=None, derandomize=True, max_examples=60)
"""Hypothesis with the same examples in every run, however slow the machine."""

OWN_LIST: dict[str, Any] = {
    "arch": "layers",
    "layers": [
        {"conv": 4},
        "batch_norm",
        "relu",
        {"residual": [{"conv": 6, "stride": 2}, "batch_norm", "gelu"]},
        {"repeat": 2, "layers": [{"conv": 6, "groups": 6}, {"group_norm": 2}, "max_pool"]},
        "flatten",
        {"dropout": 0.1},
        {"linear": 8},
        "tanh",
    ],
}
"""A network of one's own with most kinds of layers."""
TINY = {
    "dataset": {"train_limit": 200},
    "model": {"depth": 2, "width": 16},
    "batch_size": 48,
    "epochs": 3,
}
"""Trains in some 30 ms: 5 steps an epoch, the last of 8 images."""

OrderMaker = Callable[..., Order]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks gain nothing from more, and busy cores lose."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lab_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LAB_HOME whose digits are prepared already."""
    home = tmp_path_factory.mktemp("lab")
    open_dataset(DIGITS, data_folders(home))
    return home


@pytest.fixture(scope="session")
def digits(lab_home: Path) -> PreparedDataset:
    return open_dataset(DIGITS, data_folders(lab_home))


@pytest.fixture
def make_order(lab_home: Path, tmp_path: Path) -> OrderMaker:
    """Orders for this test's run folder: takes the spec as a document, and what differs from a first attempt with seed
    0.
    """

    return functools.partial(order_in, lab_home, run_folder=str(tmp_path / "run"))


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder that holds MNIST/raw, from LAB_DATA_DIR or beside the project; skips where there is none."""
    named = [Path(part) for part in os.environ.get("LAB_DATA_DIR", "").split(os.pathsep) if part]
    for root in named or [PROJECT.parent / "shared" / "data" / "mnist"]:
        if (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
            return root
    pytest.skip("MNIST files not found: set LAB_DATA_DIR")


def order_in(
    home: Path, spec: dict[str, Any], *, folders: dict[str, Any] | None = None, **differing: Any
) -> Order:
    """A first attempt with seed 0 on one thread, but for what differs, also among its `folders`; `run_folder` must be
    given.
    """
    data = data_folders(home)
    usual_folders = {
        "search": (),
        "download": data.download,
        "prepared": data.prepared,
        "imported": data.imported,
        "archives": home / "archives",
    }
    usual = {"seed": 0, "attempt": 1, "device": "cpu", "threads": 1}
    return Order(
        spec=read_spec({"kind": "train", **spec}),
        folders=Folders(**(usual_folders | (folders or {}))),
        **(usual | differing),
    )


def data_folders(home: Path) -> DataFolders:
    """The layout that the lab keeps under LAB_HOME."""
    return DataFolders(
        search=(home / "datasets",),
        download=home / "datasets",
        prepared=home / "prepared",
        imported=home / "imported",
    )


def train(order: Order) -> list[Any]:
    """Every event of an order carried out to its end."""
    return list(Execution(order).events())


def train_until(order: Order, epoch: int, step: int) -> tuple[list[Any], SavedCheckpoint]:
    """Events up to the checkpoint after `epoch` whole epochs and `step` steps, where the process is thought to end."""
    seen = []
    for event in Execution(order.model_copy(update={"checkpoint_seconds": 0.0})).events():
        seen.append(event)
        if isinstance(event, Checkpointed | EpochCompleted) and (
            event.checkpoint.epoch,
            event.checkpoint.step,
        ) == (epoch, step):
            return seen, event.checkpoint
    raise AssertionError(f"the run ended before epoch {epoch}, step {step}")


def of_kind(kind: type, events: Iterable[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weight_hashes(order: Order) -> dict[str, str]:
    """SHA-256 of the weights that an attempt has published, best and last."""
    folder = Path(order.run_folder) / f"attempt-{order.attempt}"
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("weights.safetensors", "weights-last.safetensors")
    }


def scores_of(events: Iterable[Any]) -> list[Any]:
    """What a run found, epoch by epoch and at its end, without the seconds it took."""
    epochs = [
        (
            event.epoch,
            event.best_epoch,
            event.best_val,
            {
                split: {key: value for key, value in part.items() if key != "seconds"}
                for split, part in event.metrics.items()
            },
        )
        for event in of_kind(EpochCompleted, events)
    ]
    return epochs + [
        (event.best_epoch, event.best_val, event.test, event.train)
        for event in of_kind(Completed, events)
    ]


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


_widths = st.integers(1, 40)


def _named(
    key: str, name: str, fields: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Any]:
    """The name alone, or an object with any of the fields, with or without the name."""
    optional = st.fixed_dictionaries({}, optional={key: st.just(name), **fields})
    return st.just(name) | optional


def model_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Valid objects for `model`."""
    common = {
        "arch": st.just("mlp"),
        "norm": st.sampled_from(["none", "batch", "layer"]),
        "dropout": st.floats(0, 0.9),
        "dropout_at": st.sampled_from(["every_hidden", "last_hidden"]),
    }
    by_depth = st.fixed_dictionaries(
        {"width": _widths},
        optional={"depth": st.integers(1, 5), "residual": st.booleans(), **common},
    )
    by_layer = st.fixed_dictionaries(
        {"hidden": st.lists(_widths, min_size=1, max_size=4)}, optional=common
    )
    return by_depth | by_layer


def cnn_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Valid objects for `model` of the convolutional architectures."""
    cnn = {
        "residual": st.booleans(),
        "stem": st.sampled_from(["3x3", "7x7"]),
        "max_halvings": st.none() | st.integers(0, 3),
        "dropout": st.floats(0, 0.9),
    }
    by_stages = st.fixed_dictionaries(
        {"arch": st.just("cnn")},
        optional={"stages": st.integers(1, 5), "width": st.integers(1, 600), **cnn},
    )
    by_widths = st.fixed_dictionaries(
        {"arch": st.just("cnn"), "widths": st.lists(st.integers(1, 600), min_size=1, max_size=4)},
        optional=cnn,
    )
    henet = st.fixed_dictionaries(
        {"arch": st.just("henet")},
        optional={"depth": st.sampled_from([8, 14, 20]), "residual": st.booleans()},
    )
    return by_stages | by_widths | henet


def spec_documents() -> st.SearchStrategy[dict[str, Any]]:
    """Valid spec documents in every way of writing them."""
    dataset = {
        "val_fraction": st.floats(0.01, 0.9),
        "stratified": st.booleans(),
        "split_seed": st.integers(0, MAX_SEED),
        "train_limit": st.none() | st.integers(2, 10**6),
        "augmentation": st.sampled_from(["none", "crop_flip", "shift_rotate"])
        | st.fixed_dictionaries(
            {},
            optional={
                "shift": st.integers(0, 64),
                "rotation": st.floats(0, 180),
                "cutout": st.integers(0, 256),
            },
        ),
    }
    adam = {"learning_rate": st.floats(1e-300, 1e6), "weight_decay": st.floats(0, 1e3)}
    sgd = adam | {"momentum": st.floats(0.1, 0.99), "nesterov": st.just(False)}
    nesterov = st.fixed_dictionaries(
        {"name": st.just("sgd"), "momentum": st.floats(0.1, 0.99), "nesterov": st.just(True)},
        optional=adam,
    )
    rmsprop = sgd | {
        "alpha": st.floats(0.1, 0.99),
        "eps": st.floats(1e-12, 1e3),
        "centered": st.booleans(),
    }
    del rmsprop["nesterov"]
    schedules = st.sampled_from(
        [
            "multi_step",
            "cosine",
            "one_cycle",
            "plateau",
            {"name": "multi_step", "milestones": [3, 4]},
            {"name": "cosine", "update": "epoch"},
        ]
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "kind": st.just("train"),
            "dataset": _named("name", "digits", dataset) | _named("name", "mnist", dataset),
            "model": st.sampled_from(["mlp", *PRESETS]) | model_documents() | cnn_documents(),
            "optimizer": _named("name", "adam", adam)
            | st.just("sgd")
            | st.fixed_dictionaries({"name": st.just("sgd")}, optional=sgd)
            | nesterov
            | st.fixed_dictionaries({"name": st.just("rmsprop")}, optional=rmsprop),
            "schedule": _named("name", "constant", {"warmup_epochs": st.floats(0, 1)}) | schedules,
            "gradient_clip": st.none() | st.floats(1e-9, 1e9),
            "ema_decay": st.none() | st.floats(0.01, 0.99),
            "early_stopping": st.none()
            | st.fixed_dictionaries(
                {},
                optional={
                    "patience": st.integers(1, 99),
                    "overfit_delta": st.none() | st.floats(0, 9),
                },
            ),
            "best_by": st.sampled_from(["loss", "accuracy"]),
            "probes": st.sampled_from([[], ["gradient_flow"]]),
            "batch_size": st.integers(2, 65536),
            "epochs": st.integers(1, 100_000),
            "label_smoothing": st.floats(0, 1, exclude_max=True),
            "class_weights": st.sampled_from([None, "balanced"]),
            "precision": st.sampled_from(["float32", "tf32", "bfloat16"]),
        },
    )
