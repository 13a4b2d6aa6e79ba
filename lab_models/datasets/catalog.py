"""The data sets this lab knows, with constants that carry their source. Nothing here loads torch or any image."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

MANIFEST = "manifest.json"
DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")

log = logging.getLogger("lab.datasets")


@dataclass(frozen=True)
class DatasetInfo:
    """A data set's facts: `shape` is (channels, height, width), `mean` and `std` are per channel over train with pixels
    in [0, 1].

    `imported_at` is the UTC time at which somebody's own images became this data set, None for a built-in one; `owner`
    who imported it, None where that was not noted. `noticed` are sentences on these images that a reader of scores must
    know; `ground` and `peak` say how their values became pixels (`decoding.Rendition`).
    """

    name: str
    title: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    num_train: int
    num_test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    statistics_source: str
    source: str
    imported_at: str | None = None
    owner: str | None = None
    noticed: tuple[str, ...] = ()
    ground: Literal["black", "white"] = "black"
    peak: float = 1.0

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return self.shape[0]

    @property
    def imported(self) -> bool:
        """Whether it is somebody's own data set, not a built-in one."""
        return self.imported_at is not None


_DIGIT_NAMES = tuple(str(digit) for digit in range(10))

DIGITS = DatasetInfo(
    name="digits",
    title="Handwritten digits, 8x8 grey, built in",
    shape=(1, 8, 8),
    class_names=_DIGIT_NAMES,
    num_train=1437,
    num_test=360,
    mean=(0.3059,),
    std=(0.3764,),
    statistics_source="computed over the 1,437 training images (tests recompute it)",
    source=(
        "scikit-learn's load_digits: the test part of UCI 'Optical Recognition of Handwritten Digits', 1,797 images of"
        " 17 grey levels; it has no test split of its own, so a fixed stratified fifth serves as one"
    ),
)

MNIST = DatasetInfo(
    name="mnist",
    title="MNIST handwritten digits, 28x28 grey",
    shape=(1, 28, 28),
    class_names=_DIGIT_NAMES,
    num_train=60_000,
    num_test=10_000,
    mean=(0.1307,),
    std=(0.3081,),
    statistics_source=(
        "PyTorch's MNIST example, transforms.Normalize((0.1307,), (0.3081,)): over the 60,000 training images (tests"
        " recompute it)"
    ),
    source="LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/, read through torchvision.datasets.MNIST",
)

_CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

CIFAR10 = DatasetInfo(
    name="cifar10",
    title="CIFAR-10 photographs, 32x32 RGB",
    shape=(3, 32, 32),
    class_names=_CIFAR10_NAMES,
    num_train=50_000,
    num_test=10_000,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    statistics_source=(
        "over all pixels of the 50,000 training images (tests recompute it); the often seen std (0.2023, 0.1994,"
        " 0.2010) is another quantity, the mean of the images' own deviations"
    ),
    source=(
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, as Parquet files or through"
        " torchvision.datasets.CIFAR10"
    ),
)

_CIFAR100_NAMES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle"
    " caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant"
    " flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man"
    " maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree"
    " plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper"
    " snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train"
    " trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

CIFAR100 = DatasetInfo(
    name="cifar100",
    title="CIFAR-100 photographs, 32x32 RGB, fine labels",
    shape=(3, 32, 32),
    class_names=tuple(_CIFAR100_NAMES.split()),
    num_train=50_000,
    num_test=10_000,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    statistics_source=(
        "weiaicunzai/pytorch-cifar100, conf/global_settings.py: over all pixels of the 50,000 training images (tests"
        " recompute it)"
    ),
    source=(
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html, as Parquet files or through"
        " torchvision.datasets.CIFAR100"
    ),
)

BUILT_IN = {info.name: info for info in (DIGITS, MNIST, CIFAR10, CIFAR100)}

CONTENT: Final = {
    "mnist": "ac41eb98de58be38b5bafaec0f5a9155bfb08d9b51d50fa2d8a0e3ef055cb95b",
    "cifar10": "55f4d1e3f544aecf6d0087750c212fafa0054f04e6659ed666b2ee92b45b47ca",
}
"""What was published, by `preparation.content_sum`, which no order of the images changes. Of CIFAR-100 mean and std are
compared.
"""

SPOKEN = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def spoken_name(name: str) -> str:
    """A data set as people write it in a sentence: `CIFAR-10` for `cifar10`; its own name for all others."""
    return SPOKEN.get(name, name)


class Catalog:
    """The built-in data sets and those imported into a folder.

    Given the folder of prepared data sets, a built-in one has the counts of what was prepared, which may be less than
    was published.
    """

    def __init__(self, imported: Path, prepared: Path | None = None) -> None:
        self._imported = imported
        self._prepared = prepared

    def get(self, name: str) -> DatasetInfo | None:
        """Facts of a data set by its name; None for a name that is none."""
        if name not in BUILT_IN:
            return _imported_info(self._imported, name)
        manifest = self._manifest(name)
        return BUILT_IN[name] if manifest is None else of_copy(BUILT_IN[name], manifest)

    def all(self) -> tuple[DatasetInfo, ...]:
        """Every data set, in the order it is shown: the built-in ones, then the imported ones by name."""
        built_in = (self.get(name) for name in BUILT_IN)
        return tuple(info for info in (*built_in, *self.imported()) if info is not None)

    def imported(self) -> tuple[DatasetInfo, ...]:
        """The imported ones, by name."""
        names = (
            sorted(path.name for path in self._imported.iterdir())
            if self._imported.is_dir()
            else []
        )
        found = (self.get(name) for name in names if name not in BUILT_IN)
        return tuple(info for info in found if info is not None)

    def sha256(self, name: str) -> str | None:
        """Names the exact content; None while a built-in data set is not prepared, or for a name that is none."""
        manifest = self._manifest(name)
        sha256 = None if manifest is None else manifest.get("sha256")
        return sha256 if isinstance(sha256, str) else None

    def disk_bytes(self, name: str) -> int:
        """What the files of a data set take; 0 while a built-in one is not prepared, or for a name that is none."""
        folder = self._folder(name)
        try:
            return 0 if folder is None else sum(file.stat().st_size for file in folder.iterdir())
        except OSError:  # not there, or just being removed
            return 0

    def _manifest(self, name: str) -> dict[str, Any] | None:
        folder = self._folder(name)
        return None if folder is None else _read_manifest(folder)

    def _folder(self, name: str) -> Path | None:
        parent = self._prepared if name in BUILT_IN else self._imported
        return None if parent is None or not DATASET_NAME.fullmatch(name) else parent / name


def of_copy(info: DatasetInfo, manifest: Mapping[str, Any]) -> DatasetInfo:
    """The facts of one copy, by its manifest: its counts, and its own mean and std where it is not what was published;
    what the manifest does not say stays as published.
    """
    num_train, num_test = manifest.get("num_train"), manifest.get("num_test")
    if isinstance(num_train, int) and isinstance(num_test, int):
        info = replace(info, num_train=num_train, num_test=num_test)
    own = manifest.get("own_statistics")
    if not isinstance(own, Mapping):
        return info
    return replace(
        info,
        mean=tuple(own["mean"]),
        std=tuple(own["std"]),
        statistics_source="computed over this copy's training images",
        noticed=(*info.noticed, _OTHER_CONTENT.format(name=info.name)),
    )


_OTHER_CONTENT: Final = (
    "this copy of {name} has the published names and numbers of images, but other content: its scores are not"
    " comparable with published ones, and its own mean and std are used"
)


def partial_copy(info: DatasetInfo) -> str | None:
    """A sentence on what a copy of a built-in data set lacks; None when it lacks nothing."""
    published = BUILT_IN.get(info.name)
    if published is None or (info.num_train, info.num_test) == (
        published.num_train,
        published.num_test,
    ):
        return None
    return (
        f"this copy of {info.name} holds {info.num_train:,} of {published.num_train:,} training images and"
        f" {info.num_test:,} of {published.num_test:,} test images: its scores are not comparable with published ones"
    )


def notes_on(info: DatasetInfo) -> tuple[str, ...]:
    """What a reader of any score on this data set must know, a sentence each."""
    partial = partial_copy(info)
    return info.noticed if partial is None else (partial, *info.noticed)


_INFO: TypeAdapter[DatasetInfo] = TypeAdapter(DatasetInfo)


def _imported_info(imported: Path, name: str) -> DatasetInfo | None:
    manifest = _read_manifest(imported / name) if DATASET_NAME.fullmatch(name) else None
    if manifest is None:
        return None
    try:
        info = _INFO.validate_python(manifest.get("info"))
        if info.name != name or not info.imported:
            raise ValueError(f"it describes {info.name!r}")
    except ValueError as error:
        log.warning(
            "%s is damaged and its data set is left out: %s", imported / name / MANIFEST, error
        )
        return None
    return info


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a prepared or imported folder says of itself, its files unchecked; None where there is none or it is
    damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", folder / MANIFEST, error)
        return None
    return manifest if isinstance(manifest, dict) else None
