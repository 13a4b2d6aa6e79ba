"""Folders around images: which only wrap, which are splits, and where images lie. Nothing here opens a file."""

import unicodedata
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from lab_models.datasets.refusals import ImportRefused, printable
from lab_models.datasets.split_words import split_of, splits_of_one_name

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif"),
    *(".bmp", ".gif", ".webp", ".ppm", ".pgm", ".pnm", ".tif", ".tiff"),
)
MOST_SHOWN = 3
LAYOUT_HINT = (
    "expected train/<class>/<image> and test/<class>/<image>, perhaps val/<class>/<image>, or <class>/<image> without"
    " splits"
)


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file: its path in the archive, the parts that count, without a wrapping folder, and whether it is an image by
    its name, or by its content where the name has no suffix.
    """

    name: str
    parts: tuple[str, ...]
    is_image: bool

    def below(self) -> "PlacedFile":
        """Without its outermost folder."""
        return PlacedFile(self.name, self.parts[1:], self.is_image)


def placed(path: PurePosixPath, images: Set[str]) -> PlacedFile:
    """A file at its path. `images` are those without a suffix that are images."""
    name = str(path)
    *folders, own = path.parts
    return PlacedFile(name, (*map(as_read, folders), own), is_image(own) or name in images)


@lru_cache(maxsize=1024)
def as_read(folder: str) -> str:
    """A folder's name as people compare it: letters put together in one way (NFC), no blanks around."""
    return unicodedata.normalize("NFC", folder).strip() or folder


def without_wrapping(files: list[PlacedFile], *, is_split: bool = False) -> list[PlacedFile]:
    """The files without the folders that hold all images, and without what lies beside these; a split's own folder
    stays, unless these are the files of that split.
    """
    while True:
        images = [file.parts for file in files if file.is_image]
        first = {parts[0] for parts in images}
        if len(first) != 1 or all(len(parts) < 3 for parts in images):
            return files
        (wrapping,) = first
        if split_of(wrapping) is not None and not is_split:
            return files
        files = [
            file.below() for file in files if file.parts[0] == wrapping and len(file.parts) > 1
        ]


def split_folders(files: list[PlacedFile]) -> dict[str, str]:
    """Which outermost folder is which split; empty where none is train. Raises ImportRefused where nobody can tell."""
    named: dict[str, list[str]] = {}
    for folder in dict.fromkeys(file.parts[0] for file in files if len(file.parts) > 1):
        split = split_of(folder)
        if split is not None:
            named.setdefault(split, []).append(folder)
    if "train" in named:
        for split, folders in named.items():
            if len(folders) > 1:
                shown = " and ".join(f"{printable(folder)}/" for folder in folders)
                raise ImportRefused(
                    f"{shown} are both named as {split}", hint="put all of them into one folder"
                )
        return {folders[0]: split for split, folders in named.items()}
    outermost = {file.parts[0] for file in files if file.is_image}
    if all(len(file.parts) > 2 for file in files if file.is_image):
        of_one_name = splits_of_one_name(outermost)
        if of_one_name:
            return of_one_name
    for split in ("test", "val"):
        # a class may be called `valid`; a folder of folders is none
        holds = split == "test" or any(
            file.is_image and len(file.parts) > 2 and file.parts[0] in named.get(split, ())
            for file in files
        )
        if split in named and holds:
            raise ImportRefused(
                f"there is a folder {printable(named[split][0])!r} but none named 'train'",
                hint=LAYOUT_HINT,
            )
    _refuse_inner_splits(files)
    return {}


def _refuse_inner_splits(files: list[PlacedFile]) -> None:
    """Raises ImportRefused where one of several folders holds the whole data set."""
    outer = dict.fromkeys(file.parts[0] for file in files if file.is_image)
    whole = [
        file.parts[0]
        for file in files
        if len(file.parts) > 2 and split_of(file.parts[1]) == "train"
    ]
    if len(set(whole)) > 1 and all(len(file.parts) == 3 for file in files if file.is_image):
        first = printable(whole[0])
        raise ImportRefused(
            f"there are folders of splits within the class folders, such as {first}/train",
            hint=f"put the splits outside: train/{first} and so on; {LAYOUT_HINT}",
        )
    if whole:
        others = ", ".join(f"{printable(name)}" for name in outer if name != whole[0])
        raise ImportRefused(
            f"{printable(whole[0])}/ holds a train folder, and there are images beside it: {others[:200]}",
            hint=f"import the folder {printable(whole[0])} alone",
        )


def refuse_folders_beside(files: list[PlacedFile]) -> None:
    """Raises ImportRefused where one folder holds folders of images, and images lie beside it."""
    inner: dict[str, set[str]] = {}
    for file in files:
        if file.is_image:
            within = file.parts[1] if len(file.parts) > 2 else ""
            inner.setdefault(file.parts[0], set()).add(within)
    holding = [folder for folder, found in inner.items() if "" not in found]
    if len(holding) == 1 and len(inner) > 1 and len(inner[holding[0]]) > 1:
        first = printable(holding[0])
        others = ", ".join(printable(name) for name in inner if name != holding[0])
        raise ImportRefused(
            f"{first}/ holds folders of images, and there are images beside it: {others[:200]}",
            hint=f"import the folder {first} alone",
        )


def where_images_lie(files: list[PlacedFile]) -> str:
    """Where the images lie, in a sentence."""
    count = Counter("/".join(file.parts[:-1][:3]) or "no folder" for file in files if file.is_image)
    shown = [f"{printable(name)} ({number:,})" for name, number in count.most_common(MOST_SHOWN)]
    more = f" and {len(count) - MOST_SHOWN:,} more folders" if len(count) > MOST_SHOWN else ""
    return f"images lie in {', '.join(shown)}{more}"


def is_image(name: str) -> bool:
    """Whether its name ends as that of an image does."""
    return name.lower().endswith(SUFFIXES)
