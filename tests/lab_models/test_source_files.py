"""Data sets from the files that were published, here small ones written in their formats, and what is said without."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import json
import shutil
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import savemat
from torchvision.datasets import EMNIST, KMNIST, STL10, SVHN, FashionMNIST

from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.catalog import BUILT_IN, Catalog, notes_on
from lab_models.datasets.naming_hints import name_hint
from lab_models.datasets.preparation import PreparedDataset, RawDataset, open_prepared
from lab_models.datasets.presence import presence
from lab_models.datasets.readers import DataFolders, open_dataset
from lab_models.datasets.source_files import SOURCE_FILES
from tests.lab_models.conftest import data_folders

LABELS = np.array([0, 9, 3, 1]), np.array([2, 0])


def images_of(name: str) -> tuple[npt.NDArray[np.uint8], ...]:
    """Four images to train on and two to test on, in the shape of the data set; none is its own transpose."""
    random = np.random.RandomState(len(name))
    return tuple(
        random.randint(0, 256, (count, *BUILT_IN[name].shape), np.uint8) for count in (4, 2)
    )


def write(name: str, root: Path) -> Path:
    """The published files of such a set below `root`, written as their publishers say; returns their folder."""
    folder = root / SOURCE_FILES[name].folders[0]
    folder.mkdir(parents=True)
    for part, (images, labels) in enumerate(zip(images_of(name), LABELS, strict=True)):
        files = [folder / file for file in SOURCE_FILES[name].names[2 * part :]]
        if name == "svhn":
            # https://ufldl.stanford.edu/housenumbers: X is (row, column, channel, image), and 10 is the digit 0
            path = folder / SOURCE_FILES[name].names[part]
            digits = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
            savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": digits}, do_compression=True)
        elif name == "stl10":
            # https://cs.stanford.edu/~acoates/stl10: channel by channel, column by column; classes from 1
            files[0].write_bytes(images.transpose(0, 1, 3, 2).tobytes())
            files[1].write_bytes((labels + 1).astype(np.uint8).tobytes())
        else:
            kept = images[:, 0].transpose(0, 2, 1) if name.startswith("emnist") else images[:, 0]
            first = 1 if name == "emnist_letters" else 0
            for path, array in zip(files, (kept, labels + first), strict=False):
                head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
                path.write_bytes(head + array.astype(np.uint8).tobytes())
    return folder


def require_images(name: str, dataset: PreparedDataset) -> None:
    train, test = images_of(name)
    assert np.array_equal(dataset.train_images, train)
    assert np.array_equal(dataset.test_images, test)
    assert [dataset.train_labels.tolist(), dataset.test_labels.tolist()] == [
        labels.tolist() for labels in LABELS
    ]
    assert any("holds 4 of" in note for note in dataset.notes)


def searching(tmp_path: Path) -> DataFolders:
    return dataclasses.replace(data_folders(tmp_path), search=(tmp_path / "data",))


@pytest.mark.parametrize("name", SOURCE_FILES)
def test_published_files_become_upright_images_with_classes_from_0(
    name: str, tmp_path: Path
) -> None:
    write(name, tmp_path / "data")
    require_images(name, open_dataset(BUILT_IN[name], searching(tmp_path)))


def test_files_called_as_mnists_are_of_the_set_whose_folder_they_lie_in(tmp_path: Path) -> None:
    folders = searching(tmp_path)
    places = (folders.search, folders.download, folders.prepared)
    folder = write("kmnist", tmp_path / "data")
    assert presence(BUILT_IN["kmnist"], *places).here == "yes"
    assert presence(BUILT_IN["fashion_mnist"], *places).here == "download"
    for path in folder.iterdir():
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    assert presence(BUILT_IN["fashion_mnist"], *places).here == "download"
    flat = tmp_path / "data" / "fashion-mnist"
    shutil.copytree(folder, flat)
    for path in list(flat.iterdir()):
        (flat / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert presence(BUILT_IN["fashion_mnist"], *places).here == "yes"
    found = open_dataset(BUILT_IN["fashion_mnist"], folders)
    assert np.array_equal(found.train_images, images_of("kmnist")[0])


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a web server of this machine serves; torchvision looks for files there."""
    folder = tmp_path / "published"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        point_to(f"http://127.0.0.1:{server.server_port}/", monkeypatch)
        yield folder
        server.shutdown()
        thread.join()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (FashionMNIST, KMNIST):
        monkeypatch.setattr(kind, "mirrors", [url])
    monkeypatch.setattr(EMNIST, "url", f"{url}gzip.zip")
    monkeypatch.setattr(STL10, "url", url + STL10.filename)
    split_list = {part: [url + file, file, md5] for part, (_, file, md5) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", split_list)


def publish(name: str, made: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the folder in the form in which they are downloaded, with their MD5 sums told."""
    if name == "svhn":
        for part, (url, file, _) in list(SVHN.split_list.items())[:2]:
            shutil.copy(made / file, published)
            monkeypatch.setitem(SVHN.split_list, part, [url, file, md5_of(made / file)])
    elif name == "stl10":
        (made / "unlabeled_X.bin").write_bytes(b"much")
        with tarfile.open(published / STL10.filename, "w:gz") as archive:
            archive.add(made, "stl10_binary")
        monkeypatch.setattr(STL10, "tgz_md5", md5_of(published / STL10.filename))
    elif name == "kmnist":
        for path in made.iterdir():
            (published / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        resources = [(path.name, md5_of(path)) for path in published.iterdir()]
        monkeypatch.setattr(KMNIST, "resources", resources)
    else:
        with zipfile.ZipFile(published / "gzip.zip", "w") as zipped:
            for path in made.iterdir():
                zipped.writestr(f"gzip/{path.name}.gz", gzip.compress(path.read_bytes()))
            zipped.writestr("gzip/emnist-mnist-train-images-idx3-ubyte.gz", b"another split")
        monkeypatch.setattr(EMNIST, "md5", md5_of(published / "gzip.zip"))


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["kmnist", "emnist_letters", "svhn", "stl10"])
def test_what_no_folder_holds_is_downloaded_by_its_sum_and_then_lies_there(
    name: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(name, write(name, tmp_path / "made"), published, monkeypatch)
    folders = searching(tmp_path)
    require_images(name, open_dataset(BUILT_IN[name], folders))
    shutil.rmtree(folders.prepared)
    shutil.rmtree(published)
    require_images(name, open_dataset(BUILT_IN[name], folders))
    left = {path.name for path in folders.download.rglob("*") if path.is_file()}
    assert not left & {"unlabeled_X.bin", "stl10_binary.tar.gz"}
    assert "emnist-mnist-train-images-idx3-ubyte.gz" not in left


@pytest.mark.parametrize("name", SOURCE_FILES)
def test_without_files_and_network_it_is_said_which_belong_where(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        point_to(f"http://127.0.0.1:{unused.getsockname()[1]}/", monkeypatch)
    folders = searching(tmp_path)
    said = f"{name} is in none of the data folders .* could not be downloaded"
    with pytest.raises(DatasetUnavailable, match=said) as caught:
        open_dataset(BUILT_IN[name], folders)
    assert SOURCE_FILES[name].hint in (caught.value.hint or "")
    found = presence(BUILT_IN[name], folders.search, folders.download, folders.prepared)
    assert (found.here, " UTC: " in found.reason) == ("missing", True)


@pytest.mark.parametrize("name", ["emnist_digits", "svhn", "stl10"])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"MATLAB 5.0 MAT-file" * 20])
def test_damaged_files_are_called_so(name: str, content: bytes, tmp_path: Path) -> None:
    folder = write(name, tmp_path / "data")
    (folder / SOURCE_FILES[name].names[0]).write_bytes(content)
    with pytest.raises(DatasetUnavailable) as caught:
        open_dataset(BUILT_IN[name], searching(tmp_path))
    assert str(folder) in str(caught.value) or "expected" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(("shift", "is_other"), [(0.0, False), (0.1, True)])
def test_a_whole_copy_has_its_own_statistics_and_one_far_from_what_is_known_is_other_content(
    shift: float, is_other: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(BUILT_IN["kmnist"], num_train=1, num_test=1)
    monkeypatch.setitem(BUILT_IN, "kmnist", small)
    # two levels with the mean and the deviation that are known
    low, high = small.mean[0] - small.std[0] / 2, small.mean[0] + 2 * small.std[0]
    images = np.where(np.arange(784).reshape(1, 1, 28, 28) % 5 == 0, high, low) + shift
    images = (images.clip(0, 1) * 255).round().astype(np.uint8)
    raw = RawDataset(images, np.array([0]), images, np.array([0]))
    dataset = open_prepared(small, tmp_path, lambda: raw)
    assert dataset.info.mean == (pytest.approx(images.mean() / 255, abs=1e-6),)
    assert any("other content" in note for note in dataset.notes) is is_other


def test_a_set_of_ones_own_that_had_the_name_before_stays_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "imported" / "svhn"
    folder.mkdir(parents=True)
    catalog = Catalog(tmp_path / "imported", tmp_path / "prepared")
    assert catalog.get("svhn") == BUILT_IN["svhn"], "an empty folder is nobody's"
    info = {
        "name": "svhn",
        "title": "mine",
        "shape": [1, 6, 6],
        "class_names": ["a", "b"],
        "num_train": 6,
        "num_test": 6,
        "mean": [0.5],
        "std": [0.2],
        "source": "a zip",
        "statistics_source": "its own",
        "imported_at": "2026-01-01T00:00:00Z",
    }
    (folder / "manifest.json").write_text(json.dumps({"info": info, "sha256": "a" * 64}))
    found = catalog.get("svhn")
    assert found is not None
    assert (found.title, found.imported, catalog.sha256("svhn")) == ("mine", True, "a" * 64)
    assert notes_on(found) == ()
    assert [one.name for one in catalog.all()].count("svhn") == 1
    with pytest.raises(DatasetUnavailable, match="imported data set 'svhn' are damaged"):
        open_dataset(found, data_folders(tmp_path))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("FashionMNIST", "did you mean 'fashion_mnist'?"),
        ("fashion-mnist", "did you mean 'fashion_mnist'?"),
        ("cifar-10", "did you mean 'cifar10'?"),
        ("STL-10", "did you mean 'stl10'?"),
        ("ylecun/mnist", "did you mean 'mnist'?"),
        ("emnist", "did you mean 'emnist_balanced' or 'emnist_letters' or 'emnist_digits'?"),
        ("emnist-byclass", "did you mean 'emnist_balanced' or"),
        ("cifar", "did you mean 'cifar10' or 'cifar100'?"),
        ("minst", "did you mean 'mnist'?"),
        ("mnist_784", "did you mean 'mnist'?"),
        ("qmnist", "it is not built in: `lab data import"),
        ("pathmnist", "it is not built in: `lab data import"),
        ("dmlab-cifar10", "it is not built in: `lab data import"),
        ("tiny-imagenet", "it is not built in: `lab data import"),
    ],
)
def test_names_as_people_write_them_are_hinted_at(name: str, hint: str) -> None:
    assert (name_hint(name, BUILT_IN) or "").startswith(hint)
