"""What the catalog says of each data set against the images themselves, and what is said when they cannot be had."""

import dataclasses
import functools
import hashlib
import http.server
import pickle
import shutil
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from sklearn.datasets import load_digits

from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets import readers
from lab_models.datasets.catalog import (
    BUILT_IN,
    CIFAR10,
    CIFAR100,
    CONTENT,
    DIGITS,
    MNIST,
    Catalog,
    DatasetInfo,
)
from lab_models.datasets.preparation import (
    PreparedDataset,
    RawDataset,
    content_sum,
    open_prepared,
)
from lab_models.datasets.presence import presence
from lab_models.datasets.readers import DataFolders, open_dataset, read_digits
from lab_models.datasets.statistics import mean_and_std as mean_and_std_of
from tests.lab_models.conftest import data_folders, files_below

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@pytest.fixture(scope="module")
def mnist(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    folder = tmp_path_factory.mktemp("mnist")
    return open_dataset(
        MNIST, dataclasses.replace(data_folders(folder), search=(folder / "nothing", mnist_root))
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> str:
    """torchvision's real download code, pointed at a port of this machine where nobody listens; returns its address."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [mirror])
    for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(kind, "url", mirror + kind.filename)
    return mirror


def mean_and_std(images: np.ndarray) -> tuple[float, float]:
    """Exact, by counting grey levels: over all pixels, which lie in [0, 1]."""
    counts = np.bincount(images.reshape(-1), minlength=256)
    levels = np.arange(256) / 255
    mean = (counts * levels).sum() / counts.sum()
    return float(mean), float(np.sqrt((counts * (levels - mean) ** 2).sum() / counts.sum()))


def test_every_built_in_data_set_is_found_by_its_name(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "nothing")
    assert [info.name for info in catalog.all()] == list(BUILT_IN)
    assert all(
        catalog.get(info.name) is info
        and info.source
        and info.statistics_source
        and not info.imported
        for info in BUILT_IN.values()
    )
    assert {info.name: (info.channels, info.num_classes) for info in catalog.all()} == {
        "digits": (1, 10),
        "mnist": (1, 10),
        "cifar10": (3, 10),
        "cifar100": (3, 100),
        "fashion_mnist": (1, 10),
        "kmnist": (1, 10),
        "emnist_balanced": (1, 47),
        "emnist_letters": (1, 26),
        "emnist_digits": (1, 10),
        "svhn": (3, 10),
        "stl10": (3, 10),
    }
    assert all(
        len(info.mean) == len(info.std) == info.channels
        and len(set(info.class_names)) == info.num_classes
        for info in catalog.all()
    )


@pytest.mark.parametrize(
    "name", ["minst", "", "..", "../prepared/digits", "a/b", "digits\n", "DIGITS", "x" * 61, "\0"]
)
def test_a_name_that_is_none_is_none_and_leads_nowhere(
    name: str, tmp_path: Path, digits: PreparedDataset
) -> None:
    prepared = Path(str(digits.train_images.filename)).parents[1]  # type: ignore[attr-defined]
    catalog = Catalog(prepared, prepared)
    assert catalog.get(name) is None
    assert catalog.sha256(name) is None


def test_constants_of_digits_are_those_of_its_training_images(digits: PreparedDataset) -> None:
    mean, std = mean_and_std(digits.train_images)
    assert ((round(mean, 4),), (round(std, 4),)) == (DIGITS.mean, DIGITS.std)
    assert digits.train_images.shape == (DIGITS.num_train, *DIGITS.shape)
    assert digits.test_images.shape == (DIGITS.num_test, *DIGITS.shape)


def test_digits_are_those_of_scikit_learn_each_once_and_grey_for_grey(
    digits: PreparedDataset,
) -> None:
    pixels, target = load_digits(return_X_y=True)
    theirs = sorted(
        (*row, label)
        for row, label in zip(np.rint(pixels).astype(int).tolist(), target.tolist(), strict=True)
    )
    images, labels = (
        np.concatenate([digits.train_images, digits.test_images]),
        np.concatenate([digits.train_labels, digits.test_labels]),
    )
    levels = np.rint(images.reshape(len(images), -1) * (16 / 255)).astype(int)
    assert (
        sorted((*row, label) for row, label in zip(levels.tolist(), labels.tolist(), strict=True))
        == theirs
    )


def test_the_test_part_of_digits_is_stratified_and_what_it_always_was(
    digits: PreparedDataset,
) -> None:
    counts = np.bincount(np.concatenate([digits.train_labels, digits.test_labels]))
    assert np.abs(np.bincount(digits.test_labels) - counts * 360 / 1797).max() < 1
    content = b"".join(
        array.tobytes()
        for array in (
            digits.train_images,
            digits.train_labels,
            digits.test_images,
            digits.test_labels,
        )
    )
    assert (
        hashlib.sha256(content).hexdigest()
        == "6a009a142edf9ee64ba4b078eda96bb6432ed5bbde8e819bb91b6ffdbfe97bba"
    )


@pytest.mark.mnist
def test_constants_of_mnist_are_those_of_its_training_images(mnist: PreparedDataset) -> None:
    mean, std = mean_and_std(mnist.train_images)
    assert ((round(mean, 4),), (round(std, 4),)) == (MNIST.mean, MNIST.std)


@pytest.mark.mnist
def test_mnist_has_its_published_numbers_of_each_digit(mnist: PreparedDataset) -> None:
    assert mnist.train_images.shape == (60_000, 1, 28, 28)
    assert np.bincount(mnist.train_labels).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]
    assert np.bincount(mnist.test_labels).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


@pytest.mark.mnist
def test_once_prepared_mnist_needs_its_source_no_more(
    mnist: PreparedDataset, tmp_path: Path
) -> None:
    prepared = Path(str(mnist.train_images.filename)).parents[1]  # type: ignore[attr-defined]
    again = open_dataset(
        MNIST,
        DataFolders(
            search=(),
            download=tmp_path / "download",
            prepared=prepared,
            imported=tmp_path / "imported",
        ),
    )
    assert again.sha256 == mnist.sha256
    assert files_below(tmp_path) == []


def test_mnist_without_files_and_network_says_what_to_do(tmp_path: Path, no_network: str) -> None:
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(MNIST, data_folders(tmp_path))
    error = caught.value
    assert error.code == "dataset_unavailable"
    assert "could not be downloaded" in str(error)
    assert str(tmp_path / "datasets") in str(error)
    assert no_network in str(error)
    assert "LAB_DATA_DIR" in (error.hint or "")
    assert not (tmp_path / "prepared" / "mnist").exists()
    assert socket.getdefaulttimeout() is None


def test_a_failed_download_is_tried_again_by_the_next_run(tmp_path: Path, no_network: str) -> None:
    for _ in range(2):
        with pytest.raises(DatasetUnavailable, match="could not be downloaded") as caught:
            open_dataset(MNIST, data_folders(tmp_path))
        assert "LAB_DATA_DIR" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"<html>not found</html>",
        b"\0\0\x0a\x01\0\0\0\x01\0",
        b"\0\0\x08\x03\0\0\xea\x60\0\0\0\x1c\0\0\0\x1c",
        b"\0\0\x08\x01\0\0\0\x03\0\1\2",
        b"\0" * 64,
    ],
    ids=[
        "empty",
        "one byte",
        "a web page",
        "unknown type",
        "header alone",
        "three labels",
        "zeros",
    ],
)
def test_damaged_mnist_files_are_called_so(content: bytes, tmp_path: Path, no_network: str) -> None:
    raw = tmp_path / "datasets" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX_FILES:
        (raw / name).write_bytes(content)
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(MNIST, data_folders(tmp_path))
    assert caught.value.hint
    assert not (tmp_path / "prepared" / "mnist").exists()


@pytest.mark.mnist
def test_mnist_with_one_file_cut_short_or_missing_is_unavailable(
    mnist_root: Path, tmp_path: Path, no_network: str
) -> None:
    raw = tmp_path / "datasets" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX_FILES[1:]:
        (raw / name).symlink_to(mnist_root / "MNIST" / "raw" / name)
    with pytest.raises(DatasetUnavailable):
        open_dataset(MNIST, data_folders(tmp_path))
    with (mnist_root / "MNIST" / "raw" / IDX_FILES[0]).open("rb") as source:
        (raw / IDX_FILES[0]).write_bytes(source.read(100_000))
    with pytest.raises(DatasetUnavailable):
        open_dataset(MNIST, data_folders(tmp_path))
    shutil.rmtree(raw)


def test_a_data_set_without_a_reader_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="no reader"):
        open_dataset(dataclasses.replace(DIGITS, name="letters"), data_folders(tmp_path))


def test_digits_are_read_alike_each_time() -> None:
    one, other = read_digits(), read_digits()
    for field in dataclasses.fields(RawDataset):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.mnist
def test_mnist_is_found_in_a_folder_of_its_name_too(
    mnist_root: Path, tmp_path: Path, no_network: str
) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist").symlink_to(mnist_root.absolute())
    assert len(open_dataset(MNIST, data_folders(tmp_path)).train_labels) == 60_000


FIRST_IMAGES = np.random.RandomState(0).randint(0, 256, (6, 3 * 32 * 32)).astype(np.uint8)


class Torchvision:
    """A CIFAR in torchvision's form with six images: its real reading code, told the MD5 sums of our files."""

    def __init__(self, info: DatasetInfo, monkeypatch: pytest.MonkeyPatch) -> None:
        self.info = info
        self.kind: Any = {
            "cifar10": torchvision.datasets.CIFAR10,
            "cifar100": torchvision.datasets.CIFAR100,
        }[info.name]
        self._patch = functools.partial(monkeypatch.setattr, self.kind)

    def write(self, root: Path, class_names: tuple[str, ...] = ()) -> Path:
        """The folder below `root`; returns it."""
        folder = root / self.kind.base_folder
        folder.mkdir(parents=True)
        label_key = "labels" if self.info is CIFAR10 else "fine_labels"
        parts = {"train_part": [0, 1, 2, 3], "test_part": [4, 5]}
        content: dict[str, Any] = {
            name: {"data": FIRST_IMAGES[rows], label_key: rows} for name, rows in parts.items()
        }
        content[self.kind.meta["filename"]] = {
            self.kind.meta["key"]: list(class_names or self.info.class_names)
        }
        sums = {}
        for name, document in content.items():
            (folder / name).write_bytes(pickle.dumps(document))
            sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
        self._patch("train_list", [["train_part", sums["train_part"]]])
        self._patch("test_list", [["test_part", sums["test_part"]]])
        self._patch("meta", self.kind.meta | {"md5": sums[self.kind.meta["filename"]]})
        return folder

    def publish(self, folder: Path, url: str) -> None:
        """Have the folder's archive downloaded from there."""
        archive = folder.parent / self.kind.filename
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, folder.name)
        self._patch("url", url + archive.name)
        self._patch("tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def torchvision_cifar(
    request: pytest.FixtureRequest, no_network: str, monkeypatch: pytest.MonkeyPatch
) -> Torchvision:
    return Torchvision(request.param, monkeypatch)


def require_six(dataset: PreparedDataset) -> None:
    assert np.array_equal(dataset.train_images, FIRST_IMAGES[:4].reshape(4, 3, 32, 32))
    assert np.array_equal(dataset.test_images, FIRST_IMAGES[4:].reshape(2, 3, 32, 32))
    assert (dataset.train_labels.tolist(), dataset.test_labels.tolist()) == ([0, 1, 2, 3], [4, 5])


@pytest.mark.parametrize("below", ["", "own"])
def test_cifar_is_read_from_torchvisions_folder(
    torchvision_cifar: Torchvision, below: str, tmp_path: Path
) -> None:
    info = torchvision_cifar.info
    torchvision_cifar.write(tmp_path / "data" / (below and info.name))
    require_six(
        open_dataset(
            info,
            dataclasses.replace(
                data_folders(tmp_path), search=(tmp_path / "nothing", tmp_path / "data")
            ),
        )
    )


class _Canary:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (Path("canary"), "dead"))


def test_a_changed_pickle_is_called_damaged_and_never_loaded(
    torchvision_cifar: Torchvision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = torchvision_cifar.write(tmp_path / "data")
    (folder / "train_part").write_bytes(pickle.dumps(_Canary()))
    with pytest.raises(DatasetUnavailable, match=f"{folder} cannot be read") as caught:
        open_dataset(
            torchvision_cifar.info,
            dataclasses.replace(data_folders(tmp_path), search=(tmp_path / "data",)),
        )
    assert "remove that folder" in (caught.value.hint or "")
    assert not (tmp_path / "canary").exists()


def test_torchvisions_folder_of_other_classes_is_refused(
    torchvision_cifar: Torchvision, tmp_path: Path
) -> None:
    torchvision_cifar.write(tmp_path / "data", class_names=torchvision_cifar.info.class_names[::-1])
    with pytest.raises(DatasetUnavailable, match="class names are others"):
        open_dataset(
            torchvision_cifar.info,
            dataclasses.replace(data_folders(tmp_path), search=(tmp_path / "data",)),
        )


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[str]:
    """A web server of this machine for the folder `published`; returns its address."""
    (tmp_path / "published").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "published")
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_cifar_is_downloaded_where_no_folder_holds_it_and_a_broken_download_is_mended(
    torchvision_cifar: Torchvision, file_server: str, tmp_path: Path
) -> None:
    torchvision_cifar.publish(torchvision_cifar.write(tmp_path / "published"), file_server)
    broken = tmp_path / "datasets" / torchvision_cifar.kind.base_folder
    broken.mkdir(parents=True)
    (broken / "train_part").write_bytes(b"half")
    require_six(open_dataset(torchvision_cifar.info, data_folders(tmp_path)))
    assert (broken / "train_part").stat().st_size > 4


def test_cifar_without_files_and_network_says_what_to_do(
    torchvision_cifar: Torchvision, no_network: str, tmp_path: Path
) -> None:
    info = torchvision_cifar.info
    with pytest.raises(
        DatasetUnavailable,
        match=f"{info.name} is in none of the data folders .* could not be downloaded",
    ) as caught:
        open_dataset(info, data_folders(tmp_path))
    assert str(tmp_path / "datasets") in str(caught.value)
    assert f"{info.name}/train-00000-of-" in (caught.value.hint or "")
    assert torchvision_cifar.kind.base_folder in (caught.value.hint or "")
    assert not (tmp_path / "prepared" / info.name).exists()
    assert socket.getdefaulttimeout() is None


def test_a_download_that_fails_leaves_a_note_until_one_succeeds(
    tmp_path: Path, no_network: str
) -> None:
    folders = dataclasses.replace(data_folders(tmp_path), search=(tmp_path / "nothing",))
    places = (folders.search, folders.download, folders.prepared)
    assert presence(MNIST, *places).here == "download"
    with pytest.raises(DatasetUnavailable):
        open_dataset(MNIST, folders)
    found = presence(MNIST, *places)
    assert (found.here, " UTC: " in found.reason) == ("missing", True)
    with readers._downloading("mnist", folders):
        pass
    assert presence(MNIST, *places).here == "download"


def lookalike(seed: int) -> RawDataset:
    """As many images as MNIST has, and none of it; few values, so that they are made quickly."""
    random = np.random.RandomState(seed)
    images = np.zeros((70_000, 1, 28, 28), np.uint8)
    images[:, 0, 3, 5] = random.randint(0, 256, 70_000)
    labels = np.arange(70_000) % 10
    return RawDataset(images[:60_000], labels[:60_000], images[60_000:], labels[60_000:])


def test_other_content_under_a_published_name_is_said_and_has_its_own_statistics(
    tmp_path: Path,
) -> None:
    raw = lookalike(seed=0)
    dataset = open_prepared(MNIST, tmp_path, lambda: raw)
    (note,) = dataset.notes
    assert "other content" in note
    assert (dataset.info.mean, dataset.info.std) == mean_and_std_of(raw.train_images)
    known = Catalog(tmp_path / "imported", tmp_path).get("mnist")
    assert known == dataset.info
    assert open_prepared(DIGITS, tmp_path, read_digits).info == DIGITS


def test_a_content_sum_is_the_same_in_any_order_and_of_no_other_images() -> None:
    digits = read_digits()
    order = np.random.RandomState(0).permutation(len(digits.train_labels))
    shuffled = dataclasses.replace(
        digits, train_images=digits.train_images[order], train_labels=digits.train_labels[order]
    )
    labels = digits.test_labels.copy()
    labels[[0, 1]] = labels[[1, 0]]
    assert content_sum(shuffled) == content_sum(digits)
    assert labels.tolist() != digits.test_labels.tolist()
    assert content_sum(dataclasses.replace(digits, test_labels=labels)) != content_sum(digits)
    assert content_sum(
        dataclasses.replace(digits, train_images=digits.train_images[:, :, ::-1])
    ) != content_sum(digits)


@pytest.mark.mnist
def test_the_published_content_of_mnist_is_known(mnist: PreparedDataset) -> None:
    raw = RawDataset(mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels)
    assert content_sum(raw) == CONTENT["mnist"]
    assert mnist.notes == ()
    assert mnist.info == MNIST
