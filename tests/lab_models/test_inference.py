"""Trained networks as ONNX files: every architecture gives torch's own logits, from files that hold all they need."""

import hashlib
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from safetensors.numpy import load_file
from torch import nn

from lab_models.architectures.build import build_model
from lab_models.architectures.pixels import as_seen
from lab_models.architectures.sizes import impossible
from lab_models.common.errors import DatasetUnavailable
from lab_models.common.files import sha256_of
from lab_models.datasets.batches import device_splits
from lab_models.datasets.catalog import DIGITS, DatasetInfo
from lab_models.datasets.preparation import PreparedDataset
from lab_models.inference.export import MOST_WEIGHT_BYTES, OPSET, TooLarge, onnx_file
from lab_models.inference.graph import UnfitWeights
from lab_models.inference.predictor import Predictor
from lab_models.inference.rows import NoSuchRow, stored_image
from lab_models.inference.trained import TrainedNetwork
from lab_models.specs import PRESETS, DatasetSpec, ModelSpec
from lab_models.training.checkpoints import copied_weights, write_weights
from lab_models.training.evaluation import predict
from tests.lab_models.conftest import EXAMPLES, PROJECT, OrderMaker, train

validated: Any = TypeAdapter(ModelSpec).validate_python

TOLERANCE = 1e-4
"""Of the largest logit, where that is above 1: random weights in deep networks without norms make logits of any size.
"""

GREY = replace(DIGITS, class_names=tuple("abcde"))
COLOR = replace(GREY, shape=(3, 9, 12), mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
TINY_COLOR = replace(COLOR, shape=(3, 4, 5))

VARIANTS: dict[str, dict[str, Any]] = {
    "mlp": {"arch": "mlp", "depth": 3, "width": 16},
    "mlp of unequal widths, dropout at the end": {
        "arch": "mlp",
        "hidden": [20, 7, 11],
        "dropout": 0.5,
        "dropout_at": "last_hidden",
    },
    "mlp of one layer": {"arch": "mlp", "depth": 1, "width": 8, "residual": True},
    "residual mlp, batch norm, dropout": {
        "arch": "mlp",
        "depth": 4,
        "width": 16,
        "residual": True,
        "norm": "batch",
        "dropout": 0.3,
    },
    "residual mlp, layer norm": {
        "arch": "mlp",
        "depth": 4,
        "width": 16,
        "residual": True,
        "norm": "layer",
    },
    "mlp of pairs": {
        "arch": "mlp",
        "depth": 5,
        "width": 16,
        "residual": True,
        "shortcut_layers": 2,
    },
    "mlp of pairs, batch norm": {
        "arch": "mlp",
        "depth": 7,
        "width": 16,
        "residual": True,
        "shortcut_layers": 2,
        "norm": "batch",
        "dropout": 0.1,
    },
    "mlp of blocks": {"arch": "mlp", "depth": 3, "width": 16, "block": "inverted_bottleneck"},
    "residual mlp of blocks, batch norm": {
        "arch": "mlp",
        "depth": 4,
        "width": 16,
        "block": "inverted_bottleneck",
        "residual": True,
        "norm": "batch",
    },
    "residual mlp of blocks, layer norm": {
        "arch": "mlp",
        "depth": 3,
        "width": 8,
        "block": "inverted_bottleneck",
        "residual": True,
        "norm": "layer",
    },
    "a hundred layers": {
        "arch": "mlp",
        "depth": 100,
        "width": 24,
        "residual": True,
        "norm": "batch",
    },
    "cnn": {"arch": "cnn", "stages": 3, "width": 4, "dropout": 0.2},
    "residual cnn": {"arch": "cnn", "stages": 3, "width": 4, "residual": True, "stem": "3x3"},
    "residual cnn of equal widths": {"arch": "cnn", "widths": [6, 6, 6], "residual": True},
    "residual cnn that narrows, strides capped": {
        "arch": "cnn",
        "widths": [8, 6, 4, 4],
        "residual": True,
        "max_halvings": 1,
        "blocks_per_stage": 1,
    },
    "cnn without strides": {
        "arch": "cnn",
        "stages": 2,
        "width": 4,
        "max_halvings": 0,
        "blocks_per_stage": 3,
    },
    "plain henet": {"arch": "henet", "depth": 8, "width": 4, "residual": False},
    "henet": {"arch": "henet", "depth": 14, "width": 4},
    "resnet18, small images": {"arch": "resnet18"},
    "resnet18, large images": {"arch": "resnet18", "stem": "imagenet"},
    "resnet18, images enlarged": {"arch": "resnet18", "image_size": 16},
    "resnet18 as published": {
        "arch": "resnet18",
        "stem": "imagenet",
        "image_size": 24,
        "statistics": "imagenet",
    },
    "vgg": {"arch": "vgg", "widths": [4, 6], "hidden": 16, "dropout": 0.2},
    "vgg of single convs": {"arch": "vgg", "widths": [5], "convs_per_stage": 1, "hidden": 8},
    **{
        f"preset {name}": {"preset": name}
        for name in ("mlp-small", "mlp-ascoded", "student", "resnet20")
    },
}


def trained(document: dict[str, Any], info: DatasetInfo, seed: int = 0) -> nn.Module:
    """A network as training may leave it: every weight moved, batch norm's statistics too, dropout still in it."""
    expanded = {**PRESETS[document["preset"]]} if "preset" in document else document
    model = build_model(validated(expanded), info.shape, info.num_classes, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point():
            spread = 0.3 if tensor.ndim == 1 else 0.5 * float(tensor.std(unbiased=False))
            tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=spread)
    return model


def published(
    model: nn.Module, document: dict[str, Any], info: DatasetInfo, folder: Path
) -> TrainedNetwork:
    """The network with its weights on disk, as a run publishes them."""
    expanded = {**PRESETS[document["preset"]]} if "preset" in document else document
    written = write_weights(copied_weights(model), folder / "weights.safetensors")
    return TrainedNetwork(validated(expanded), info, written.path, written.sha256)


def pixels(info: DatasetInfo, count: int = 4, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *info.shape), dtype=np.uint8)


@torch.inference_mode()
def torch_logits(
    model: nn.Module, info: DatasetInfo, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (info.mean, info.std))
    return model.eval()((torch.from_numpy(images) / 255 - mean) / std).numpy()


def require_equal(model: nn.Module, content: bytes, info: DatasetInfo) -> None:
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    images = pixels(info)
    outputs, expected = Predictor(content).predict(images), torch_logits(model, info, images)
    assert outputs.logits.shape == expected.shape
    np.testing.assert_allclose(
        outputs.logits, expected, rtol=0, atol=TOLERANCE * max(1.0, float(np.abs(expected).max()))
    )
    assert np.abs(expected - expected[0]).max() > 0, (
        "images are told apart, so that something is compared"
    )
    np.testing.assert_allclose(
        outputs.probabilities, torch.softmax(torch.from_numpy(outputs.logits), 1).numpy(), atol=1e-6
    )


# --- every network


@pytest.mark.parametrize("info", [GREY, COLOR], ids=["grey", "color"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_network_gives_torchs_logits(variant: str, info: DatasetInfo, tmp_path: Path) -> None:
    model = trained(VARIANTS[variant], info)
    network = published(model, VARIANTS[variant], info, tmp_path)
    require_equal(model, onnx_file(network), as_seen(network.model, info))


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Small networks of all architectures that are cheap to build, in every combination of what can be said of them."""
    widths = st.integers(1, 12)
    norm = {
        "norm": st.sampled_from(["none", "batch", "layer"]),
        "dropout": st.sampled_from([0.0, 0.5]),
    }
    mlp = {"arch": st.just("mlp"), "width": widths, "residual": st.booleans(), **norm}
    return st.one_of(
        st.fixed_dictionaries(
            {
                **mlp,
                "depth": st.integers(1, 6),
                "block": st.sampled_from(["layer", "inverted_bottleneck"]),
            }
        ),
        st.fixed_dictionaries(
            {
                **mlp,
                "depth": st.sampled_from([1, 3, 5]),
                "residual": st.just(True),
                "shortcut_layers": st.just(2),
            }
        ),
        st.fixed_dictionaries(
            {"arch": st.just("mlp"), "hidden": st.lists(widths, min_size=1, max_size=4), **norm}
        ),
        st.fixed_dictionaries(
            {
                "arch": st.just("cnn"),
                "widths": st.lists(st.integers(1, 6), min_size=1, max_size=4),
                "blocks_per_stage": st.integers(1, 2),
                "residual": st.booleans(),
                "stem": st.sampled_from(["3x3", "7x7"]),
                "max_halvings": st.none() | st.integers(0, 3),
                "dropout": st.sampled_from([0.0, 0.5]),
            }
        ),
        st.fixed_dictionaries(
            {
                "arch": st.just("henet"),
                "depth": st.sampled_from([8, 14]),
                "width": st.integers(1, 5),
                "residual": st.booleans(),
            }
        ),
        st.fixed_dictionaries(
            {
                "arch": st.just("vgg"),
                "widths": st.lists(st.integers(1, 6), min_size=1, max_size=2),
                "convs_per_stage": st.integers(1, 2),
                "hidden": st.integers(1, 9),
            }
        ),
    )


@settings(EXAMPLES, max_examples=150)
@given(documents(), st.sampled_from([GREY, COLOR, TINY_COLOR]), st.integers(0, 2**16))
def test_whatever_the_spec_the_logits_are_torchs(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], info: DatasetInfo, seed: int
) -> None:
    if impossible(validated(document), info.shape) is None:
        model = trained(document, info, seed)
        content = onnx_file(published(model, document, info, tmp_path_factory.mktemp("network")))
        images = pixels(info)
        expected = torch_logits(model, info, images)
        np.testing.assert_allclose(
            Predictor(content).predict(images).logits,
            expected,
            rtol=0,
            atol=TOLERANCE * max(1.0, float(np.abs(expected).max())),
        )


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"depth": 2, "width": 32, "norm": "batch"}, "ema_decay": 0.9},
        {
            "model": {"arch": "cnn", "widths": [4, 6], "residual": True, "stem": "3x3"},
            "dataset": {"train_limit": 300},
        },
    ],
    ids=["mlp with averaged weights", "cnn"],
)
def test_a_published_run_predicts_what_it_has_published(
    spec: dict[str, Any], make_order: OrderMaker, digits: PreparedDataset
) -> None:
    order = make_order({**spec, "epochs": 2})
    completed = train(order)[-1]
    files = {
        file.name: (Path(order.run_folder) / file.path, file.sha256) for file in completed.artifacts
    }
    network = TrainedNetwork(order.spec.network, digits.info, *files["weights.safetensors"])
    logits = Predictor(onnx_file(network)).predict(digits.test_images).logits
    kept = load_file(files["predictions.safetensors"][0])
    np.testing.assert_allclose(logits, kept["logits"], rtol=0, atol=TOLERANCE)
    assert float(np.mean(logits.argmax(1) == digits.test_labels)) == completed.test["accuracy"]


# --- the file


def test_the_file_says_what_it_takes_and_what_it_gives(tmp_path: Path) -> None:
    model = trained(VARIANTS["residual cnn"], COLOR)
    file = onnx.load_from_string(
        onnx_file(published(model, VARIANTS["residual cnn"], COLOR, tmp_path))
    )
    assert [(entry.domain, entry.version) for entry in file.opset_import] == [("", OPSET)]
    (images,) = file.graph.input
    assert (images.name, images.type.tensor_type.elem_type) == ("images", onnx.TensorProto.UINT8)
    assert [dim.dim_param or dim.dim_value for dim in images.type.tensor_type.shape.dim] == [
        "N",
        3,
        9,
        12,
    ]
    assert [output.name for output in file.graph.output] == ["logits", "probabilities"]
    facts = {
        entry.key: json.loads(entry.value) if entry.key != "dataset" else entry.value
        for entry in file.metadata_props
    }
    assert facts["class_names"] == list("abcde")
    assert validated(facts["model"]) == validated(VARIANTS["residual cnn"])
    weights = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    assert weights <= {tensor.name for tensor in file.graph.initializer}, (
        "its layers have the names of the state_dict"
    )


def test_equal_networks_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    document = VARIANTS["henet"]
    network = published(trained(document, COLOR), document, COLOR, tmp_path)
    program = (
        "import hashlib, pickle, sys\n"
        "from lab_models.inference.export import onnx_file\n"
        "network = pickle.load(sys.stdin.buffer)\n"
        "print(network.digest, hashlib.sha256(onnx_file(network)).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(network),
            capture_output=True,
            check=True,
            cwd=PROJECT,
        ).stdout.decode()
        for _ in range(2)
    }
    assert told == {f"{network.digest} {hashlib.sha256(onnx_file(network)).hexdigest()}\n"}


def test_networks_with_the_same_weights_are_told_apart(tmp_path: Path) -> None:
    plain, residual = ({**VARIANTS["henet"], "residual": residual} for residual in (False, True))
    model = trained(plain, COLOR)
    networks = [published(model, document, COLOR, tmp_path) for document in (plain, residual)]
    assert networks[0].weights_sha256 == networks[1].weights_sha256
    brighter = replace(networks[0], dataset=replace(COLOR, mean=(0.1, 0.1, 0.1)))
    assert len({network.digest for network in (*networks, brighter)}) == 3
    assert len({onnx_file(network) for network in (*networks, brighter)}) == 3
    counted = replace(networks[0], dataset=replace(COLOR, num_train=7))
    assert counted.digest == networks[0].digest, "how many images there are changes nothing"


def test_weights_that_are_not_the_networks_are_refused_with_their_names(tmp_path: Path) -> None:
    document = VARIANTS["cnn"]
    network = published(trained(document, COLOR), document, COLOR, tmp_path)
    with pytest.raises(
        UnfitWeights, match=r"the weights lack stages\.1\.0\.shortcut\.conv\.weight"
    ):
        onnx_file(replace(network, model=validated({**document, "residual": True})))
    with pytest.raises(UnfitWeights, match=r"the network has no stages\.2\.0\.conv1\.weight, "):
        onnx_file(replace(network, model=validated({**document, "stages": 2})))
    content = bytearray(network.weights.read_bytes())
    content[-1] ^= 1
    network.weights.write_bytes(content)
    with pytest.raises(
        UnfitWeights, match=r"weights\.safetensors is damaged: its SHA-256 is not the recorded one"
    ):
        onnx_file(network)
    other = replace(
        network,
        weights=PROJECT / "pyproject.toml",
        weights_sha256=sha256_of(PROJECT / "pyproject.toml"),
    )
    with pytest.raises(UnfitWeights, match=r"pyproject\.toml is no safetensors file"):
        onnx_file(other)


def test_weights_beyond_the_limit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        file.truncate(MOST_WEIGHT_BYTES + 1)
    with pytest.raises(TooLarge, match="weights of 536,870,913 bytes are more than 536,870,912"):
        onnx_file(TrainedNetwork(validated({"arch": "mlp"}), GREY, path, "0" * 64))


# --- answers


def test_images_are_answered_alike_alone_in_a_batch_and_from_several_threads(
    tmp_path: Path,
) -> None:
    document = VARIANTS["residual cnn"]
    predictor = Predictor(onnx_file(published(trained(document, COLOR), document, COLOR, tmp_path)))
    images = pixels(COLOR, count=16)
    together = predictor.predict(images).logits
    with ThreadPoolExecutor(4) as threads:
        alone = list(
            threads.map(lambda row: predictor.predict(images[row : row + 1]).logits[0], range(16))
        )
    np.testing.assert_allclose(np.array(alone), together, rtol=0, atol=1e-5)


def test_pixels_are_normalized_as_for_training(digits: PreparedDataset, tmp_path: Path) -> None:
    """The loader of a run and the graph, with a network that passes its input on."""
    model = build_model(validated({"arch": "mlp", "depth": 1, "width": 64}), DIGITS.shape, 10, 0)
    with torch.no_grad():
        for linear in (model.hidden[0].linear, model.head):
            linear.weight.copy_(torch.eye(64)[: len(linear.weight)])
            linear.bias.zero_()
        model.hidden[0].linear.bias.fill_(10)  # so that ReLU changes nothing
    network = published(model, {"arch": "mlp", "depth": 1, "width": 64}, DIGITS, tmp_path)
    test = device_splits(digits, DatasetSpec(), torch.device("cpu")).test
    np.testing.assert_allclose(
        Predictor(onnx_file(network)).predict(digits.test_images).logits,
        predict(model, test)[0],
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize(
    "module", ["inference.export", "inference.predictor", "inference.rows", "inference.trained"]
)
def test_no_part_of_it_loads_torch_and_the_spec_side_not_even_onnx(module: str) -> None:
    unwanted = (
        ("torch", "onnx", "onnxruntime") if module.endswith(("rows", "trained")) else ("torch",)
    )
    program = f"import lab_models.{module}, sys; assert not sys.modules.keys() & set({unwanted})"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)


# --- stored images


def test_a_row_is_the_image_that_a_run_tests_on(lab_home: Path, digits: PreparedDataset) -> None:
    for split, images, labels in (
        ("test", digits.test_images, digits.test_labels),
        ("train", digits.train_images, digits.train_labels),
    ):
        for row in (0, 17, len(labels) - 1):
            image = stored_image(lab_home / "prepared" / "digits", split, row, sha256=digits.sha256)
            np.testing.assert_array_equal(image.pixels, images[row])
            assert (image.label, image.pixels.dtype, image.pixels.shape) == (
                labels[row],
                np.uint8,
                (1, 8, 8),
            )
    with pytest.raises(NoSuchRow, match="must be below 360"):
        stored_image(lab_home / "prepared" / "digits", "test", 360, sha256=digits.sha256)


def test_images_that_are_others_damaged_or_absent_are_refused(
    lab_home: Path, digits: PreparedDataset, tmp_path: Path
) -> None:
    def read(folder: Path, sha256: str | None = digits.sha256) -> None:
        stored_image(folder, "test", 0, sha256=sha256)

    with pytest.raises(DatasetUnavailable, match="not prepared on this machine"):
        read(tmp_path / "digits")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (lab_home / "prepared" / "digits").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    read(copy)
    for other in ("0" * 64, None):
        with pytest.raises(
            DatasetUnavailable, match="other images here than those that the run was trained on"
        ):
            read(copy, other)
    labels = copy / "test-labels.npy"
    sound = labels.read_bytes()
    labels.write_bytes(sound[:-1] + b"\x07")
    with pytest.raises(DatasetUnavailable, match="damaged"):
        read(copy)
    labels.write_bytes(sound)
    read(copy)
    for manifest in (
        b"{",
        b"[]",
        b"{}",
        json.dumps({"sha256": digits.sha256, "files": []}).encode(),
    ):
        (copy / "manifest.json").write_bytes(manifest)
        with pytest.raises(DatasetUnavailable, match="damaged"):
            read(copy)
