"""What somebody must know of images before they believe a score on them: pictures without content, copies on both sides
of a split, contradictory labels, pale or unequal sets. Nothing here loads torch.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lab_models.datasets.folders import as_read, is_image
from lab_models.datasets.layout import Layout
from lab_models.datasets.refusals import ImportRefused, printable
from lab_models.datasets.statistics import slices

MOST_NAMED = 3
PALE = 64
"""Of 255: where no pixel of any image is farther than this from another, a quarter of the range is used at most."""
LOOK_ALIKE: Final = {
    **dict(zip(map(ord, "авеіјкмнорѕстухαβεικνορτυχ"), "abeijkmhopcctyxabeikvoptux", strict=True)),
    **dict.fromkeys(map(ord, "_-\u2010\u2013\u00b7."), " "),
    **dict.fromkeys((0xFE0E, 0xFE0F, 0x200C, 0x200D), ""),
}
"""Small letters of Cyrillic and Greek as Latin's, what is written for blanks, and how emoji are to be shown."""
UNEQUAL = 10
"""The largest class over the smallest, from which on accuracy says little."""
BEST_BY_LABEL = (
    "scores that count each class alike (recall_macro, f1_macro) say more than accuracy, and 'class_weights'"
    ' "balanced" of a spec makes each class count alike in training'
)


@dataclass(frozen=True)
class ImageContents:
    """Of every image, train before test, in the order of the files: `digests` (N,) uint64 equal for equal pixels (64 of
    BLAKE2b's bits: two of a million differing images are equal with a chance of 3e-8), `lowest` and `highest` (N,)
    uint8 its extreme values.
    """

    digests: npt.NDArray[np.uint64]
    lowest: npt.NDArray[np.uint8]
    highest: npt.NDArray[np.uint8]

    @property
    def is_constant(self) -> npt.NDArray[np.bool_]:
        """Which images have one value everywhere."""
        return np.equal(self.lowest, self.highest)


def contents_of(folder: Path) -> ImageContents:
    """Of the arrays that were just written, read once more, some rows at a time."""
    parts = list(_parts(folder))
    digests, lowest, highest = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ImageContents(digests, lowest, highest)


def notices(layout: Layout, contents: ImageContents) -> list[str]:
    """A sentence for each thing; nothing for images as they should be. Raises ImportRefused where all are constant."""
    files = (*layout.train, *layout.test)
    names = [name for name, _ in files]
    labels = np.array([label for _, label in files])
    is_test = np.arange(len(files)) >= len(layout.train)
    is_val = ~is_test & (np.arange(len(files)) >= len(layout.learned))
    found = [
        _constant(contents.is_constant, names),
        _not_held_out(contents.digests, is_val, ~is_val & ~is_test, names),
        *_copies(contents.digests, labels, is_test, names),
        _without_val(labels[is_val], layout.class_names),
        _read_as_one(names, layout.class_names),
        _pale(int(contents.lowest.min(initial=255)), int(contents.highest.max(initial=0))),
        _unequal(labels[~is_test], layout.class_names),
        look_alikes(layout.class_names),
    ]
    return [notice for notice in found if notice is not None]


def empty_folders(folders: Iterable[str], names: Iterable[str], layout: Layout) -> str | None:
    """A sentence on folders that hold no image, of those that stand where classes do or are called as images are.
    `folders` are listed themselves, `names` are all files: a folder may also hold texts alone.
    """
    holding = {name.rpartition("/")[0] for name, _ in (*layout.train, *layout.test)}
    places = {folder.rpartition("/")[0] for folder in holding}
    listed = {*folders, *(name.rpartition("/")[0] for name in names)}
    empty = sorted(
        folder
        for folder in set(_with_outer(listed)) - set(_with_outer(holding))
        if folder.rpartition("/")[0] in places or is_image(folder)
    )
    if not empty:
        return None
    own = [folder.rpartition("/")[2] for folder in empty]
    shown = _listed([printable(name) for name in (own if len(set(own)) == len(own) else empty)])
    return (
        f"{shown} {'hold' if len(empty) > 1 else 'holds'} no image, and {_are(len(empty))} left out"
    )


def look_alikes(class_names: Sequence[str]) -> str | None:
    """Names that differ in capitals, blanks and what stands for them, letters of other scripts that look the same, or
    in how their letters are put together (NFKC) alone.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in class_names:
        folded = unicodedata.normalize("NFKC", name).casefold().translate(LOOK_ALIKE)
        alike[" ".join(folded.split())].append(name)
    pairs = [names for names in alike.values() if len(names) > 1]
    if not pairs:
        return None
    shown = _listed([" and ".join(_told_apart(names)) for names in pairs[:MOST_NAMED]], len(pairs))
    return f"these classes look alike: {shown}"


def _with_outer(folders: Iterable[str]) -> Iterator[str]:
    """Folders, and those that they are in."""
    for folder in folders:
        inner = folder
        while inner:
            yield inner
            inner = inner.rpartition("/")[0]


def _parts(
    folder: Path,
) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]:
    for split in ("train", "test"):
        images = np.load(folder / f"{split}-images.npy", mmap_mode="r", allow_pickle=False)
        for some in slices(len(images)):
            rows = np.ascontiguousarray(images[some]).reshape(-1, images[0].size)
            digests = b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows)
            yield np.frombuffer(digests, np.uint64), rows.min(axis=1), rows.max(axis=1)


def _constant(is_constant: npt.NDArray[np.bool_], names: Sequence[str]) -> str | None:
    count = int(is_constant.sum())
    if not count:
        return None
    if count == len(names):
        raise ImportRefused(
            f"each of the {count:,} images has one color everywhere, so there is nothing to learn",
            hint=(
                "drawings that are transparent around ink of one color need the other ground: `background=white` or"
                " `background=black` (lab data import --background); masks and other small values `stretch=true`"
            ),
        )
    first = _listed(
        [printable(names[place]) for place in np.flatnonzero(is_constant)[:MOST_NAMED]], count
    )
    return f"{count:,} of {len(names):,} images {_have(count)} one color everywhere: {first}"


def _copies(
    digests: npt.NDArray[np.uint64],
    labels: npt.NDArray[np.int64],
    is_test: npt.NDArray[np.bool_],
    names: Sequence[str],
) -> Iterator[str]:
    """Of equal pixels as they are trained on, after scaling."""
    pictures, group = np.unique(digests, return_inverse=True)
    if len(pictures) == len(digests):
        return
    lowest = np.full(len(pictures), len(labels), labels.dtype)
    highest = np.full(len(pictures), -1, labels.dtype)
    np.minimum.at(lowest, group, labels)
    np.maximum.at(highest, group, labels)
    in_train = np.zeros(len(pictures), bool)
    in_train[group[~is_test]] = True
    leaked = is_test & in_train[group]
    if leaked.any():
        first = _pair(int(np.flatnonzero(leaked)[0]), group, ~is_test, names)
        count = int(leaked.sum())
        yield (
            f"{count:,} of {int(is_test.sum()):,} test images {_are(count)} in train too, such as {first}: the test"
            " score counts what was learned by heart"
        )
    contradictory = lowest != highest
    if contradictory.any():
        places = np.flatnonzero(contradictory[group])
        first = _pair(int(places[0]), group, labels != labels[places[0]], names)
        count = int(contradictory.sum())
        yield f"{count:,} {'pictures carry' if count > 1 else 'picture carries'} more than one label, such as {first}"
    copies = int((~is_test).sum() - in_train.sum())
    if copies:
        what = "are copies of others" if copies > 1 else "is a copy of another"
        yield f"{copies:,} of {int((~is_test).sum()):,} training images {what} in train"


def _not_held_out(
    digests: npt.NDArray[np.uint64],
    is_val: npt.NDArray[np.bool_],
    is_learned: npt.NDArray[np.bool_],
    names: Sequence[str],
) -> str | None:
    """Of a validation split of its own."""
    leaked = is_val & np.isin(digests, digests[is_learned])
    if not leaked.any():
        return None
    count, total = int(leaked.sum()), int(is_val.sum())
    first = _pair(int(np.flatnonzero(leaked)[0]), digests, is_learned, names)
    return f"{count:,} of {total:,} validation images {_are(count)} in train too, such as {first}"


def _without_val(labels: npt.NDArray[np.int64], class_names: Sequence[str]) -> str | None:
    missing = np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0)
    if not len(labels) or not len(missing):
        return None
    names = _listed([class_names[label] for label in missing[:MOST_NAMED]], len(missing))
    return f"its own validation split has no image of {names}"


def _read_as_one(names: Sequence[str], class_names: Sequence[str]) -> str | None:
    """Folders whose names differ in blanks or in how their letters are put together are one class."""
    spelled: dict[str, set[str]] = defaultdict(set)
    for folder in {name.rpartition("/")[0] for name in names}:
        own = folder.rpartition("/")[2]
        spelled[as_read(own)].add(own)
    several = [sorted(spelled[name]) for name in class_names if len(spelled[name]) > 1]
    if not several:
        return None
    shown = _listed([" and ".join(map(ascii, one)) for one in several[:MOST_NAMED]], len(several))
    return f"these folders read alike and are one class: {shown}"


def _pair(
    place: int, group: npt.NDArray[np.integer], among: npt.NDArray[np.bool_], names: Sequence[str]
) -> str:
    other = int(np.flatnonzero((group == group[place]) & among)[0])
    return f"{printable(names[place])} and {printable(names[other])}"


def _pale(lowest: int, highest: int) -> str | None:
    if highest - lowest > PALE:
        return None
    if highest > PALE:
        return (
            f"all values of all images lie between {lowest} and {highest} of 255, so few levels are left, and `stretch`"
            ", which moves no black, brings none back: bring them to the whole range before they are imported"
        )
    return (
        f"the largest value of all images is {highest} of 255, so they are nearly black and few levels are left;"
        " `stretch=true` (lab data import --stretch) makes the largest one white, with one factor for all"
    )


def _unequal(labels: npt.NDArray[np.int64], class_names: Sequence[str]) -> str | None:
    counts = np.bincount(labels, minlength=len(class_names))
    most, fewest = int(counts.argmax()), int(counts.argmin())
    if counts[most] < UNEQUAL * counts[fewest]:
        return None
    return (
        f"classes differ in size {counts[most] / counts[fewest]:,.0f} times: {counts[most]:,} training images of"
        f" {class_names[most]}, {counts[fewest]:,} of {class_names[fewest]}; {BEST_BY_LABEL}"
    )


def _told_apart(names: Sequence[str]) -> Iterable[str]:
    """In quotes; letters that only look the same by their numbers."""
    plain = {unicodedata.normalize("NFKC", name).casefold() for name in names}
    is_strange = len(plain) > 1 and any(ord(one) in LOOK_ALIKE for name in plain for one in name)
    is_plain = all(name.isascii() for name in names)
    return map(ascii if is_strange and not is_plain else repr, names)


def _listed(names: Sequence[str], count: int | None = None) -> str:
    more = (len(names) if count is None else count) - len(names[:MOST_NAMED])
    return ", ".join(names[:MOST_NAMED]) + (f" and {more:,} more" if more else "")


def _have(count: int) -> str:
    return "have" if count > 1 else "has"


def _are(count: int) -> str:
    return "are" if count > 1 else "is"
