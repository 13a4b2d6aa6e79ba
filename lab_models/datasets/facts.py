"""What there is to know of a data set, and what of it a run keeps. Nothing here loads torch or any image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import TypeAdapter


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
    num_val: int = 0
    """How many of train, the last ones, are a validation split of the data set's own; 0 where it has none."""

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


INFO: TypeAdapter[DatasetInfo] = TypeAdapter(DatasetInfo)
KEPT: Final = (
    *("name", "title", "shape", "class_names", "num_train", "num_test"),
    *("num_val", "mean", "std", "imported_at", "ground", "peak"),
)


def kept_facts(info: DatasetInfo) -> dict[str, Any]:
    """What a run keeps of its data set, as JSON: all that its network needs to answer when the data set is gone."""
    facts: dict[str, Any] = INFO.dump_python(info, mode="json", include=set(KEPT))
    return facts


def facts_kept(document: Mapping[str, Any] | None) -> DatasetInfo | None:
    """The data set that a run has kept the facts of; None where it has none, which an older version made."""
    if document is None:
        return None
    said = "kept with the run"
    return INFO.validate_python({**document, "statistics_source": said, "source": said})
