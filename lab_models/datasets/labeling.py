"""Which file is of which class: by its folder; where none says it, by a table beside the images, or by the files' own
names. Nothing here loads torch.
"""

import re
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, Final

from lab_models.datasets.archives import ImageFiles
from lab_models.datasets.beginnings import HEAD_BYTES, is_image_beginning
from lab_models.datasets.class_paths import ClassFolders
from lab_models.datasets.folders import is_image
from lab_models.datasets.label_tables import Labels, labels_in_tables, tables_of_classes
from lab_models.datasets.layout import Layout, arrange
from lab_models.datasets.member_names import holds_many
from lab_models.datasets.name_letters import Guess
from lab_models.datasets.refusals import DAMAGED, ImportRefused, printable
from lab_models.datasets.split_words import split_of

REVERSED: Final = re.compile(r"\)?[0-9]++\(?[\s._-]++(?P<name>.*[^\W\d_].*)", re.DOTALL)
"""A class and a number, as in `cat.0` or `Abyssinian_12`, from its end: so it takes no longer than the name is long."""
FEWEST_OF_A_NAME: Final = 3
NO_CLASSES: Final = frozenset(
    {
        *(
            "img",
            "image",
            "images",
            "dsc",
            "dscn",
            "dscf",
            "dscs",
            "pxl",
            "mvimg",
            "p",
            "pic",
            "picture",
        ),
        *(
            "photo",
            "foto",
            "bild",
            "frame",
            "file",
            "scan",
            "screenshot",
            "screen shot",
            "whatsapp image",
        ),
        *("train", "test", "val", "valid", "data", "sample"),
    }
)
"""What names of cameras, of programs and of splits begin with; none of these is a class."""


class Renamed:
    """`archives.ImageFiles` under other paths; `guessed` as theirs where the paths are made of their names."""

    def __init__(self, files: ImageFiles, paths: Mapping[str, str], guessed: Guess) -> None:
        self._files, self._paths, self.guessed = files, paths, guessed
        self.names = sorted(paths)
        self.folders: list[str] = []

    def open(self, name: str) -> IO[bytes]:
        """A stream of one file; raises UnreadableFile."""
        return self._files.open(self._paths[name])

    def read(self, name: str) -> bytes:
        """One file; raises UnreadableFile."""
        return self._files.read(self._paths[name])


def laid_out(files: ImageFiles) -> tuple[ImageFiles, Layout]:
    """The files, in class folders, and what these say; raises ImportRefused."""
    plain = images_without_suffix(files)
    try:
        layout = arrange(files.names, plain)
    except ImportRefused as refused:
        images = [name for name in files.names if is_image(name) or name in plain]
        labels, said = _of_tables(files, images, refused), "the classes are those of {}"
        guessed: Guess = ""
        if labels is None:
            labels, guessed = _named_by_class(images), files.guessed
            said = "the classes are what the files' names begin with"
        if labels is None:
            raise
    else:
        beside = tables_of_classes(files)
        remark = f"the classes are the folders', and {beside} was not asked" if beside else ""
        return files, replace(layout, classes_from=remark)
    paths = _paths(labels.classes, labels.splits)
    renamed = Renamed(files, paths, guessed)
    layout = arrange(renamed.names, frozenset(renamed.names))
    left = len(images) - len(paths)
    remark = said.format(labels.where)
    if left:
        remark += f"; {left:,} images of which it says nothing were left out"
    return renamed, replace(layout, classes_from=remark)


def images_without_suffix(files: ImageFiles) -> Set[str]:
    """The files whose names have no suffix and that begin as images do. None that may be larger than an image is among
    them, for images are read whole.
    """
    found = set[str]()
    for name in files.names:
        if "." not in name.rpartition("/")[2] and not holds_many(name):
            try:
                with files.open(name) as file:
                    if is_image_beginning(file.read(HEAD_BYTES)):
                        found.add(name)
            except DAMAGED:
                continue  # not known to be an image
    return found


def _of_tables(files: ImageFiles, images: list[str], refused: ImportRefused) -> Labels | None:
    """What tables say; where they cannot be followed and there are several folders, these are what was refused."""
    try:
        return labels_in_tables(files, images)
    except ImportRefused:
        if len({_place(image)[1] for image in images}) != 1:
            raise refused from None
        raise


def _named_by_class(images: list[str]) -> Labels | None:
    """Of images in one folder, or one for each split, whose names are a class and a number; None for others. Raises
    ImportRefused where there or below lie images beside these.
    """
    found = {image: REVERSED.fullmatch(PurePosixPath(image).stem[::-1]) for image in images}
    classes = {image: match["name"][::-1] for image, match in found.items() if match is not None}
    places = {image: _place(image) for image in images}
    around = {places[image][1] for image in classes}
    if len(around) != 1:
        return None
    (folder,) = around
    if any(rest[: len(folder)] != folder for _, rest in places.values()):
        return None
    count = Counter(classes.values())
    if len(count) < 2 or min(count.values()) < FEWEST_OF_A_NAME:
        return None
    if any(name.casefold().strip(" ._-") in NO_CLASSES for name in count):
        return None
    unnamed = [image for image in images if image not in classes]
    if unnamed:
        raise ImportRefused(
            f"the names of {len(classes):,} images begin with a class, such as {printable(next(iter(classes)))}, and"
            f" {len(unnamed):,} do not, such as {printable(unnamed[0])}",
            hint="leave images without a class out, or put each into a folder of its class",
        )
    splits = {image: split for image, (split, _) in places.items() if split is not None}
    return Labels("", classes, splits)


def _place(image: str) -> tuple[str | None, tuple[str, ...]]:
    """The split that a folder says, and the folders but for that."""
    folders = PurePosixPath(image).parts[:-1]
    splits = [split_of(folder) for folder in folders]
    rest = tuple(folder for folder, split in zip(folders, splits, strict=True) if split is None)
    return next((split for split in splits if split is not None), None), rest


def _paths(classes: Mapping[str, str], splits: Mapping[str, str]) -> dict[str, str]:
    """By the path that says split and class, the file; what has no split where others have one is of train."""
    folders, found = ClassFolders(), dict[str, str]()
    for number, (image, name) in enumerate(classes.items()):
        path = f"{splits.get(image, 'train')}/{folders.of(name)}/{image.replace('/', '_')}"
        found[f"{path}-{number}" if path in found else path] = image
    return found
