"""The data sets this lab knows, with constants that carry their source. Nothing here loads torch or any image."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """A data set's facts: `shape` is (channels, height, width), `mean` and `std` are per channel over train with pixels in [0, 1]."""

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

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


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
    source="scikit-learn's load_digits: the test part of UCI 'Optical Recognition of Handwritten Digits', 1,797 images of 17 grey levels; "
    "it has no test split of its own, so a fixed stratified fifth serves as one",
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
    statistics_source="PyTorch's MNIST example, transforms.Normalize((0.1307,), (0.3081,)): over the 60,000 training images (tests recompute it)",
    source="LeCun, Cortes, Burges, http://yann.lecun.com/exdb/mnist/, read through torchvision.datasets.MNIST",
)

_ALL = {info.name: info for info in (DIGITS, MNIST)}


def dataset_info(name: str) -> DatasetInfo:
    """Facts of a data set by its name; raises KeyError for a name that is none."""
    return _ALL[name]


def all_datasets() -> tuple[DatasetInfo, ...]:
    """Every data set, in the order it is shown."""
    return tuple(_ALL.values())
