"""torchvision's published weights as a source: its very numbers in the lab's network, wherever the file lies, and a
clear word where it does not.
"""

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet18_Weights

from lab_models.__main__ import main
from lab_models.architectures.build import build_model
from lab_models.architectures.pixels import IMAGENET_MEAN, IMAGENET_STD, as_seen
from lab_models.architectures.sizes import model_size
from lab_models.architectures.stages import stage_of, stages_of, trained_stages
from lab_models.building_on import pretrained
from lab_models.building_on.features import features_of
from lab_models.building_on.pretrained import PUBLISHED, PublishedFile, pretrained_weights
from lab_models.building_on.transfer import take_published_backbone
from lab_models.common.errors import PretrainedUnavailable
from lab_models.common.files import sha256_of
from lab_models.common.validation import InvalidDocument
from lab_models.datasets.batches import device_splits
from lab_models.datasets.catalog import CIFAR10, DIGITS, DatasetInfo
from lab_models.datasets.preparation import PreparedDataset
from lab_models.datasets.readers import DataFolders
from lab_models.specs import (
    IMAGENET_SIDE,
    DatasetSpec,
    DistillSpec,
    Pretrained,
    ResNet18Spec,
    TrainSpec,
    TransferRequest,
    TransferSpec,
    fingerprint,
    read_request,
    read_spec,
)
from lab_models.training.protocol import Order
from tests.lab_models.conftest import OrderMaker, train
from tests.pretrained import NOWHERE, publish, published_resnet18, random_resnet18

CHEAP: dict[str, Any] = {
    "kind": "transfer",
    "source": {"pretrained": "resnet18", "image_size": 16},
    "dataset": {"train_limit": 96},
    "batch_size": 48,
    "epochs": 1,
    "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.0},
}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, PublishedFile]]:
    """The folder of a file of weights, and what stands for it."""
    folder = tmp_path_factory.mktemp("published")
    yield folder, published_resnet18(folder)
    shutil.rmtree(folder)


@pytest.fixture
def files(
    stand_in: tuple[Path, PublishedFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The stand-in takes the place of the real file; torch's cache is empty and nothing can be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setitem(pretrained.PUBLISHED, "resnet18", stand_in[1])
    return stand_in[0] / stand_in[1].file


@pytest.fixture
def make_transfer(make_order: OrderMaker, files: Path, tmp_path: Path) -> Iterator[Any]:
    def make(
        folder: str = "transfer", spec: dict[str, Any] | None = None, **differing: Any
    ) -> Order:
        return make_order(
            CHEAP | (spec or {}),
            **(
                {"folders": {"search": (files.parent,)}, "run_folder": str(tmp_path / folder)}
                | differing
            ),
        )

    yield make
    shutil.rmtree(tmp_path)  # a checkpoint takes 45 MB


def folders_in(folder: Path, *search: Path) -> DataFolders:
    return DataFolders(
        search=search,
        download=folder / "download",
        prepared=folder / "prepared",
        imported=folder / "imported",
    )


def network_of(image_size: int | None) -> ResNet18Spec:
    network = Pretrained(pretrained="resnet18", image_size=image_size).network
    assert isinstance(network, ResNet18Spec)
    return network


# --- the network


def test_constants_are_torchvisions_own() -> None:
    real, seen = ResNet18_Weights.IMAGENET1K_V1, ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert PUBLISHED["resnet18"].url == real.url
    assert (PUBLISHED["resnet18"].file, PUBLISHED["resnet18"].sha256_begins) == (
        "resnet18-f37072fd.pth",
        "f37072fd",
    )
    assert (list(IMAGENET_MEAN), list(IMAGENET_STD), [IMAGENET_SIDE]) == (
        seen.mean,
        seen.std,
        seen.crop_size,
    )
    assert (
        model_size(network_of(IMAGENET_SIDE), CIFAR10.shape, 1000).parameters
        == real.meta["num_params"]
        == 11_689_512
    )
    assert model_size(network_of(IMAGENET_SIDE), CIFAR10.shape, 10).parameters == 11_181_642
    assert (
        round(model_size(network_of(IMAGENET_SIDE), CIFAR10.shape, 1000).macs_per_sample / 1e9, 2)
        == 1.81
    )


@torch.inference_mode()
@pytest.mark.parametrize("image_size", [None, 40, 24])
@pytest.mark.parametrize("info", [CIFAR10, DIGITS], ids=lambda info: info.name)
def test_the_labs_network_with_the_weights_gives_torchvisions_logits(
    info: DatasetInfo, image_size: int | None, files: Path, tmp_path: Path
) -> None:
    """Against torchvision's module and transforms, on the same pixels; grey ones as three equal channels."""
    network = network_of(image_size)
    model = build_model(network, info.shape, 1000, 0).eval()
    theirs = random_resnet18()
    assert list(model.state_dict()) == list(theirs.state_dict())
    model.load_state_dict(
        pretrained_weights("resnet18", folders_in(tmp_path, files.parent)), strict=False
    )
    images = np.random.default_rng(0).integers(0, 256, (5, *info.shape), dtype=np.uint8)
    logits = model(seen_by_the_lab(images, info, network))
    expected = theirs(seen_by_torchvision(images, image_size))
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))
    assert float((expected - expected[0]).abs().max()) > 0.01, "images are told apart"


@pytest.mark.parametrize("stage", [None, "layer2", "stem"])
def test_features_are_torchvisions_own(
    stage: str | None, files: Path, digits: PreparedDataset, tmp_path: Path
) -> None:
    network, theirs, caught = network_of(16), random_resnet18(), []
    model = build_model(network, DIGITS.shape, 10, 3)
    head = model.get_submodule("fc").state_dict()
    take_published_backbone(
        model, "resnet18", model_size(network, DIGITS.shape, 10), folders_in(tmp_path, files.parent)
    )
    assert all(
        torch.equal(tensor, head[name])
        for name, tensor in model.get_submodule("fc").state_dict().items()
    ), "the head is the lab's"
    splits = device_splits(
        replace(digits, info=as_seen(network, digits.info)), DatasetSpec(), torch.device("cpu")
    )
    part = replace(splits.test, images=splits.test.images[:32], labels=splits.test.labels[:32])
    features = features_of(model, part, stage, "fc", "float32")
    end: nn.Module = theirs.get_submodule(
        {None: "avgpool", "layer2": "layer2", "stem": "maxpool"}[stage]
    )
    end.register_forward_hook(lambda _module, _given, result: caught.append(result.mean((2, 3))))
    with torch.inference_mode():
        theirs(seen_by_torchvision(digits.test_images[:32], 16))
    np.testing.assert_allclose(
        features.values, caught[0].numpy(), rtol=0, atol=1e-4 * float(caught[0].abs().max())
    )


@pytest.mark.parametrize("resident_bytes", [2**31, 0], ids=["on the device", "mapped"])
def test_augmented_grey_images_become_three_channels_in_imagenets_statistics(
    resident_bytes: int, digits: PreparedDataset
) -> None:
    """Black comes in from the borders, and what is cut out becomes ImageNet's mean color."""
    dataset, cpu = replace(digits, info=as_seen(network_of(16), digits.info)), torch.device("cpu")
    moved, cut = ({"crop_padding": 3}, {"cutout": 30})
    seen = []
    for augmentation in (moved, cut):
        spec = DatasetSpec.model_validate({"augmentation": augmentation})
        train = device_splits(
            dataset, spec, cpu, memory_format=torch.channels_last, resident_bytes=resident_bytes
        ).train
        seen.append(train.batch(torch.arange(8), train.views(0, 1)).images)
        assert (seen[-1].shape, seen[-1].is_contiguous(memory_format=torch.channels_last)) == (
            (8, 3, 8, 8),
            True,
        )
    black = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    torch.testing.assert_close(seen[0].amin((0, 2, 3)), torch.tensor(black))
    assert torch.equal(seen[1], torch.zeros(8, 3, 8, 8))


def seen_by_the_lab(images: Any, info: DatasetInfo, network: ResNet18Spec) -> Tensor:
    labels = np.arange(len(images)) % 2
    dataset = PreparedDataset(as_seen(network, info), "", images, labels, images, labels)
    splits = device_splits(
        dataset, DatasetSpec(stratified=False, val_fraction=0.4), torch.device("cpu")
    )
    return next(splits.test.in_order(len(images))).images


def seen_by_torchvision(images: Any, side: int | None) -> Tensor:
    """(B, C, H, W) uint8 -> (B, 3, side, side) as torchvision's transforms normalize; resized last, which changes
    nothing, for means keep sums.
    """
    seen = ResNet18_Weights.IMAGENET1K_V1.transforms()
    pixels = torch.from_numpy(np.array(images)).expand(-1, 3, -1, -1).float() / 255
    normalized = (pixels - torch.tensor(seen.mean).view(-1, 1, 1)) / torch.tensor(seen.std).view(
        -1, 1, 1
    )
    return (
        normalized
        if side is None
        else functional.interpolate(normalized, (side, side), mode="bilinear", align_corners=False)
    )


# --- the file


def test_the_file_is_found_in_every_place_it_may_lie_in(files: Path, tmp_path: Path) -> None:
    data, download = tmp_path / "data", tmp_path / "download"
    first = set(load_keys(files))
    for place in (
        data,
        data / "weights",
        tmp_path / "torch" / "hub" / "checkpoints",
        download / "weights",
    ):
        place.mkdir(parents=True)
        (place / files.name).hardlink_to(files)
        assert (
            set(pretrained_weights("resnet18", folders_in(tmp_path, tmp_path / "elsewhere", data)))
            == first
        )
        (place / files.name).unlink()


def load_keys(path: Path) -> list[str]:
    return list(torch.load(path, weights_only=True))


def test_a_file_that_is_nowhere_and_cannot_be_downloaded_is_named_with_what_to_do(
    files: Path, tmp_path: Path
) -> None:
    with pytest.raises(PretrainedUnavailable) as refused:
        pretrained_weights("resnet18", folders_in(tmp_path, tmp_path / "data", tmp_path / "more"))
    assert refused.value.code == "dataset_unavailable"
    assert (
        f"{files.name} is in none of the data folders ({tmp_path / 'data'}, {tmp_path / 'more'}) and could not be"
        " downloaded: " in str(refused.value)
    )
    assert (
        refused.value.hint
        == f"connect to the network once, or fetch {NOWHERE}/{files.name} elsewhere and put it into"
        f" {tmp_path / 'download' / 'weights'}, or into a folder of LAB_DATA_DIR"
    )


@pytest.mark.parametrize("place", ["data", "torch/hub/checkpoints"])
def test_a_damaged_file_is_refused_by_its_name(place: str, files: Path, tmp_path: Path) -> None:
    path = tmp_path / place / files.name
    path.parent.mkdir(parents=True)
    path.write_bytes(files.read_bytes()[:-1])
    with pytest.raises(
        PretrainedUnavailable, match="is damaged or another file: its SHA-256 does not begin with"
    ) as refused:
        pretrained_weights("resnet18", folders_in(tmp_path, tmp_path / "data"))
    assert str(path) in str(refused.value)
    assert refused.value.hint == f"remove {path}, or put torchvision's file there"


class Touches:
    """Unpickled by an unguarded loader, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "another network",
            "are of another network: bn1.bias, bn1.running_mean, bn1.running_var do not fit",
        ),
        ("other shapes", "are of another network: layer1.0.conv1.weight do not fit"),
        ("a list", "holds no weights by name"),
        ("a program", "cannot be read"),
        ("no archive", "cannot be read"),
    ],
)
def test_a_file_of_something_else_is_refused(
    content: str, sentence: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    contents: dict[str, Any] = {
        "another network": {"features.0.weight": torch.zeros(2)},
        "other shapes": random_resnet18().state_dict() | {"layer1.0.conv1.weight": torch.zeros(2)},
        "a list": [torch.zeros(2)],
        "a program": {"conv1.weight": Touches(trap)},
        "no archive": b"PK\x03\x04 and no more",
    }
    monkeypatch.setitem(
        pretrained.PUBLISHED, "resnet18", publish(contents[content], tmp_path / "data")
    )
    network = network_of(16)
    with pytest.raises(PretrainedUnavailable, match=sentence):
        take_published_backbone(
            build_model(network, DIGITS.shape, 10, 0),
            "resnet18",
            model_size(network, DIGITS.shape, 10),
            folders_in(tmp_path, tmp_path / "data"),
        )
    assert not trap.exists()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and tells nobody."""

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that is overridden
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server of the files in `tmp_path / "server"`."""
    (tmp_path / "server").mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(QuietHandler, directory=tmp_path / "server")
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_on_no_disk_is_downloaded_once_and_a_broken_download_is_mended(
    address: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        pretrained.PUBLISHED,
        "resnet18",
        PublishedFile("ResNet-18 from ImageNet", f"{address}/{files.name}"),
    )
    served, folders = tmp_path / "server" / files.name, folders_in(tmp_path, tmp_path / "data")
    downloaded = tmp_path / "download" / "weights" / files.name
    served.write_bytes(b"not the file")
    with pytest.raises(PretrainedUnavailable, match="could not be downloaded: invalid hash value"):
        pretrained_weights("resnet18", folders)
    assert not downloaded.exists()
    served.unlink()
    served.hardlink_to(files)
    for broken in (False, True):
        if broken:
            downloaded.write_bytes(b"half")
        assert len(pretrained_weights("resnet18", folders)) == 102
        assert sha256_of(downloaded) == sha256_of(files)
    served.unlink()
    assert len(pretrained_weights("resnet18", folders)) == 102


# --- training


@pytest.mark.parametrize(
    "tuning",
    [{"strategy": "linear_probe"}, {"last_stages": 1}, {"strategy": "staged", "epochs": 2}, {}],
    ids=lambda tuning: str(tuning),
)
def test_every_strategy_begins_from_the_published_weights(
    tuning: dict[str, Any], make_transfer: Any, files: Path
) -> None:
    order = make_transfer(spec=tuning)
    scores = train(order)[-1].test
    assert 0 <= scores["accuracy"] <= 1
    before, after = (
        torch.load(files, weights_only=True),
        load_file(Path(order.run_folder) / "attempt-1" / "weights-last.safetensors"),
    )
    trained = trained_stages(
        model_size(order.spec.network, DIGITS.shape, 10), order.spec, order.spec.epochs
    )
    assert after["fc.weight"].shape == (10, 512)
    for name, tensor in before.items():
        stage = stage_of(name)
        assert stage == "fc" or torch.equal(after[name], tensor) == (stage not in trained), name


def test_classical_classifiers_are_fitted_on_its_features(make_transfer: Any) -> None:
    spec = {
        "strategy": "features",
        "classifiers": ["nearest_mean", "knn"],
        "dataset": {"train_limit": 300},
    }
    order = make_transfer(spec=spec)
    done = train(order)[-1]
    assert (
        json.loads((Path(order.run_folder) / "attempt-1" / "classifiers.json").read_bytes())[
            "dimensions"
        ]
        == 512
    )
    assert done.test["accuracy"] > 0.4, "random filters tell digits apart better than chance, 0.1"


def test_without_the_file_a_run_fails_with_its_name(
    make_order: OrderMaker, files: Path, tmp_path: Path
) -> None:
    order = make_order(
        CHEAP, run_folder=str(tmp_path / "run"), folders={"download": tmp_path / "download"}
    )
    with pytest.raises(PretrainedUnavailable, match=files.name):
        train(order)


def test_the_program_without_a_service_takes_them_too(
    files: Path,
    lab_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAB_HOME", str(lab_home))
    (tmp_path / "spec.json").write_text(json.dumps(CHEAP | {"strategy": "linear_probe"}))
    arguments = [
        "run",
        str(tmp_path / "spec.json"),
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    monkeypatch.setenv("LAB_DATA_DIR", str(tmp_path))
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert (
        f"dataset_unavailable: ResNet-18 from ImageNet: {files.name} is in none of the data folders ({tmp_path})"
        in said
    )
    assert "hint: connect to the network once, or fetch " in said
    monkeypatch.setenv("LAB_DATA_DIR", str(files.parent))
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 11_181_642
    shutil.rmtree(tmp_path / "out")


# --- what can be said


def request(source: Any, **fields: Any) -> TransferRequest:
    found = read_request({"kind": "transfer", "source": source, **fields})
    assert isinstance(found, TransferRequest)
    return found


def test_a_bare_name_means_images_as_large_as_the_weights_were_trained_on() -> None:
    published = request({"pretrained": "resnet18"}).published
    assert published == Pretrained(pretrained="resnet18", image_size=224)
    assert published.network == ResNet18Spec(stem="imagenet", image_size=224, statistics="imagenet")
    assert network_of(None) == ResNet18Spec(stem="imagenet", statistics="imagenet")
    assert stages_of(model_size(network_of(None), CIFAR10.shape, 10)) == (
        "stem",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "fc",
    )


def test_what_is_sent_and_what_is_stored_are_the_same_spec() -> None:
    sent = request({"pretrained": "resnet18", "image_size": 64}, strategy="linear_probe")
    assert sent.published is not None
    spec = sent.spec_with(sent.published)
    document = json.loads(spec.model_dump_json())
    assert document["source"] == {"pretrained": "resnet18", "image_size": 64}
    assert read_spec(document) == spec
    again = request(document["source"], strategy="linear_probe")
    assert again.published is not None
    assert fingerprint(again.spec_with(again.published)) == fingerprint(spec)
    others = [
        TransferSpec(source=source)
        for source in (
            Pretrained(pretrained="resnet18"),
            Pretrained(pretrained="resnet18", image_size=None),
        )
    ]
    assert len({fingerprint(one) for one in (spec, *others)}) == 3


def test_the_control_is_the_same_network_from_initial_weights() -> None:
    sent = request({"pretrained": "resnet18", "image_size": 64}, from_scratch=True, epochs=3)
    assert sent.published is not None
    control = sent.control_spec(sent.spec_with(sent.published).network)
    assert control == TrainSpec.model_validate(
        {
            "model": {
                "arch": "resnet18",
                "stem": "imagenet",
                "image_size": 64,
                "statistics": "imagenet",
            },
            "epochs": 3,
        },
    )


@pytest.mark.parametrize(
    ("document", "pointer", "sentence"),
    [
        (
            {"kind": "transfer", "source": {"pretrained": "resnet50"}},
            "/source/pretrained",
            "must be 'resnet18'",
        ),
        (
            {"kind": "transfer", "source": {"pretrained": "resnet18", "run": "run_1"}},
            "/source",
            "not run and pretrained",
        ),
        (
            {"kind": "transfer", "source": {}},
            "/source",
            "give one of 'experiment', 'run', 'spec' and 'pretrained'",
        ),
        (
            {"kind": "transfer", "source": {"pretrained": "resnet18", "seed": 1}},
            "/source",
            "published weights have no seed",
        ),
        (
            {"kind": "transfer", "source": {"pretrained": "resnet18", "image_size": 4}},
            "/source/image_size",
            "greater than or equal to 8",
        ),
        (
            {"kind": "transfer", "source": {"run": "run_1", "image_size": 64}},
            "/source",
            "'image_size' is for 'pretrained'",
        ),
        (
            {"kind": "distill", "teacher": {"pretrained": "resnet18"}},
            "/teacher",
            "published weights cannot teach",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(
    document: dict[str, Any], pointer: str, sentence: str
) -> None:
    with pytest.raises(InvalidDocument) as refused:
        read_request(document)
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert sentence in refused.value.errors[0].message


def test_a_teacher_and_a_student_that_normalize_otherwise_are_refused() -> None:
    teacher = {"spec": {"model": {"arch": "resnet18", "statistics": "imagenet"}}}
    with pytest.raises(
        ValueError,
        match="teacher and student see the same pixels: give both networks the same 'statistics'",
    ):
        DistillSpec.model_validate({"teacher": teacher, "student": "resnet18"})
    DistillSpec.model_validate(
        {"teacher": teacher, "student": {"arch": "resnet18", "statistics": "imagenet"}}
    )
