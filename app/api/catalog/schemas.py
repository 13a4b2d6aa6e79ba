"""What the API answers of data sets, field by field."""

from datetime import datetime

from app.api.schemas import Answer
from lab_models.datasets.presence import Here


class DatasetAnswer(Answer):
    """A data set's facts; `shape` is channels, height, width."""

    name: str
    title: str
    imported: bool
    """Whether somebody's own images were imported; false for built-in data sets."""
    imported_at: datetime | None
    owner: str | None
    """Who imported it and may remove it; null for built-in data sets."""
    shape: tuple[int, int, int]
    num_classes: int
    class_names: list[str]
    num_train: int
    """Training images, val not yet cut off: as published, or of the copy that was prepared."""
    num_val: int
    """How many of these, the last ones, are a validation split of the data set's own, which `dataset.val` of a spec
    takes as `published`; 0 where it has none.
    """
    num_test: int
    mean: list[float]
    """Per channel over train, pixels in [0, 1]; so is `std`."""
    std: list[float]
    statistics_source: str
    source: str
    sha256: str | None
    """Names the exact content; null until a built-in data set is prepared, by the first run that needs it."""
    disk_bytes: int
    """What its files take, which counts for its owner; 0 until a built-in data set is prepared."""
    here: Here
    """`yes`: its files are on this machine. `download`: the first run that needs it downloads it. `missing`: it is not
    here, and could not be downloaded the last time.
    """
    download_bytes: int
    """What that download takes at most, unpacked too; 0 for what is here."""
    notes: list[str]
    """What a reader of its results must know."""
    links: dict[str, str]


class RemovedDataset(Answer):
    """What a data set that was just removed leaves behind."""

    name: str
    trained_experiments: int
    """Experiments, of all owners, with runs that have succeeded on it. They stay, with results, pictures and weights.
    """
    cannot_predict: int
    """Of them those with runs of an older version, which kept no facts of the data set: these neither predict nor
    become ONNX files until the same images are imported under the name.
    """
    notes: list[str]
    """The same in words."""


class DatasetList(Answer):
    """The data sets this service knows."""

    data: list[DatasetAnswer]
