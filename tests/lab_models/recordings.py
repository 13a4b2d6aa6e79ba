"""What the architectures were when each was written out by hand: names, sizes, first weights, logits, and checkpoints
of the middle of a run. `python -m tests.lab_models.recordings` writes them anew, which only a change that is meant to
change networks may do.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from lab_models.architectures.build import build_model
from lab_models.architectures.sizes import model_size
from lab_models.datasets.catalog import DIGITS, DatasetInfo
from lab_models.datasets.readers import open_dataset
from lab_models.inference.export import onnx_file
from lab_models.inference.predictor import Predictor
from lab_models.inference.trained import TrainedNetwork
from lab_models.specs import PRESETS, ModelSpec
from lab_models.specs.presets import expand_preset
from lab_models.training.checkpoints import copied_weights, write_weights
from tests.lab_models.conftest import data_folders, order_in, train_until

RECORDED = Path(__file__).parent / "recorded"
NETWORKS = RECORDED / "networks.json"
SEED = 3
CLASSES = 5
GREY, COLOR, TINY = (1, 28, 28), (3, 32, 32), (1, 8, 8)
SMALL: dict[str, Any] = {
    "mlp": {"arch": "mlp", "hidden": [20, 7, 11], "dropout": 0.5, "dropout_at": "last_hidden"},
    "mlp-of-layers": {
        "arch": "mlp",
        "depth": 4,
        "width": 16,
        "residual": True,
        "norm": "batch",
        "dropout": 0.3,
    },
    "mlp-of-pairs": {
        "arch": "mlp",
        "depth": 5,
        "width": 16,
        "residual": True,
        "shortcut_layers": 2,
        "norm": "layer",
        "dropout": 0.1,
        "init": "kaiming_fan_out",
    },
    "mlp-of-blocks": {
        "arch": "mlp",
        "depth": 4,
        "width": 12,
        "residual": True,
        "block": "inverted_bottleneck",
        "norm": "batch",
        "dropout": 0.2,
        "init": "kaiming_fan_out",
    },
    "plain-mlp-of-blocks": {
        "arch": "mlp",
        "depth": 3,
        "width": 12,
        "block": "inverted_bottleneck",
    },
    "cnn": {"arch": "cnn", "stages": 3, "width": 4, "dropout": 0.2},
    "residual-cnn": {"arch": "cnn", "stages": 3, "width": 4, "residual": True, "stem": "3x3"},
    "residual-cnn-that-narrows": {
        "arch": "cnn",
        "widths": [8, 6, 4, 4],
        "residual": True,
        "max_halvings": 1,
        "blocks_per_stage": 1,
    },
    "henet": {"arch": "henet", "depth": 14, "width": 4},
    "plain-henet": {"arch": "henet", "depth": 8, "width": 4, "residual": False},
    "vgg": {"arch": "vgg", "widths": [4, 6], "hidden": 16, "dropout": 0.2},
    "vgg-of-single-convs": {"arch": "vgg", "widths": [5], "convs_per_stage": 1, "hidden": 8},
}
"""Networks whose weights and logits are kept."""
DRAWN: dict[str, Any] = {
    "resnet18": "resnet18",
    "resnet18-imagenet": {"arch": "resnet18", "stem": "imagenet"},
    "resnet18-as-published": {
        "arch": "resnet18",
        "stem": "imagenet",
        "image_size": 40,
        "statistics": "imagenet",
    },
    **{name: name for name in ("mlp-small", "mlp-ascoded", "student", "resnet20", "resnet110")},
    "cnn": {"arch": "cnn"},
    "vgg": {"arch": "vgg"},
}
"""Networks whose first weights are drawn and summed, in their own size."""
CHECKPOINTS: dict[str, dict[str, Any]] = {
    "mlp-of-layers": {
        "model": SMALL["mlp-of-layers"],
        "probes": ["gradient_flow"],
        "gradient_clip": 1.0,
    },
    "mlp-of-pairs": {"model": SMALL["mlp-of-pairs"], "optimizer": "adamw"},
    "residual-cnn": {
        "model": {**SMALL["residual-cnn"], "stages": 2, "dropout": 0.1},
        "ema_decay": 0.9,
        "optimizer": {"name": "sgd", "momentum": 0.9},
    },
    "henet": {"model": {"arch": "henet", "depth": 8, "width": 4}},
    "vgg": {"model": SMALL["vgg"]},
}
"""Specs whose checkpoint after one epoch and two steps is kept."""
RUN = {"dataset": {"name": "digits", "train_limit": 200}, "batch_size": 48, "epochs": 3}
AT = (1, 2)


def network_spec(document: Any) -> Any:
    """The spec that a name or an object stands for."""
    return TypeAdapter(ModelSpec).validate_python(expand_preset(document))


def on_paper(document: Any, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Names and sizes, as torch and the closed form have them."""
    spec = network_spec(document)
    size = model_size(spec, shape, CLASSES)
    with torch.device("meta"):
        network = build_model(spec, shape, CLASSES, SEED)
    return {
        "parameters": size.parameters,
        "macs": size.macs_per_sample,
        "activations": size.activations,
        "dead_weights": size.dead_weights,
        "layers": digest([repr(layer) for layer in size.layers]),
        "names": digest(
            [f"{name} {tuple(tensor.shape)}" for name, tensor in network.state_dict().items()]
        ),
        "in_order": digest([name for name, _ in network.named_parameters()]),
    }


def cases_on_paper() -> Iterator[tuple[str, Any, tuple[int, int, int]]]:
    """Every network with every kind of image that it takes."""
    for name, document in (SMALL | DRAWN | {name: name for name in PRESETS}).items():
        for shape in (GREY, COLOR, TINY):
            if network_spec(document).unpadded_pools < min(shape[1:]).bit_length():
                yield f"{name} {'x'.join(map(str, shape))}", document, shape


def first_weights(document: Any, shape: tuple[int, int, int]) -> str:
    """The sum of all that a fresh network holds."""
    return digest_of(build_model(network_spec(document), shape, CLASSES, SEED).state_dict())


def generators() -> str:
    """The sum of what this machine draws: another kind of processor may draw other normals."""
    generator = torch.Generator().manual_seed(SEED)
    return digest_of(
        {
            "uniform": torch.rand(1000, generator=generator),
            "normal": torch.randn(1000, generator=generator),
        }
    )


def moved(network: nn.Module) -> nn.Module:
    """The network as training may leave it: every number moved, batch norm's statistics too. No generator is asked."""
    for number, (name, tensor) in enumerate(network.state_dict().items()):
        if tensor.is_floating_point():
            wave = torch.linspace(0, 40 + number, tensor.numel()).sin().reshape(tensor.shape)
            tensor.add_(wave * (0.4 if name.endswith("running_var") else 0.1))
    return network.eval()


def images(shape: tuple[int, int, int], count: int = 3) -> Tensor:
    """uint8 pixels (count, C, H, W), the same everywhere."""
    numbers = torch.arange(count * shape[0] * shape[1] * shape[2])
    return (numbers * 7919 % 251).to(torch.uint8).reshape(count, *shape)


def pictured(shape: tuple[int, int, int]) -> DatasetInfo:
    """A data set of such images whose pixels are normalized by 0 and 1."""
    zeros, ones = (0.0,) * shape[0], (1.0,) * shape[0]
    return replace(DIGITS, shape=shape, class_names=tuple("abcde"), mean=zeros, std=ones)


def logits_of(network: nn.Module, shape: tuple[int, int, int]) -> Tensor:
    """Of the images above."""
    with torch.no_grad():
        logits: Tensor = network(images(shape).float() / 255)
    return logits


def digest_of(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names and bytes, in order."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(name.encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def digest(lines: list[str]) -> str:
    """SHA-256 of lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _onnx_logits(document: Any, weights: Path, shape: tuple[int, int, int]) -> list[Any]:
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    content = onnx_file(TrainedNetwork(network_spec(document), pictured(shape), weights, sha256))
    onnx.checker.check_model(content)
    return Predictor(content).predict(images(shape).numpy()).logits.tolist()


def _record() -> None:
    torch.set_num_threads(1)
    RECORDED.mkdir(exist_ok=True)
    found: dict[str, Any] = {
        "on_paper": {name: on_paper(document, shape) for name, document, shape in cases_on_paper()},
        "generators": generators(),
        "first_weights": {
            f"{name} {'x'.join(map(str, shape))}": first_weights(document, shape)
            for name, document in (SMALL | DRAWN).items()
            for shape in (GREY, COLOR)
        },
        "logits": {},
        "onnx_logits": {},
    }
    for name, document in SMALL.items():
        network = moved(build_model(network_spec(document), TINY, CLASSES, SEED))
        path = RECORDED / f"{name}.safetensors"
        write_weights(copied_weights(network), path)
        found["logits"][name] = logits_of(network, TINY).tolist()
        found["onnx_logits"][name] = _onnx_logits(document, path, TINY)
    with TemporaryDirectory() as folder:
        home = Path(folder)
        open_dataset(DIGITS, data_folders(home))
        for name, spec in CHECKPOINTS.items():
            order = order_in(home, {**RUN, **spec}, run_folder=str(home / name))
            _, saved = train_until(order, *AT)
            shutil.copyfile(home / name / saved.path, RECORDED / f"{name}.checkpoint")
    NETWORKS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    _record()
