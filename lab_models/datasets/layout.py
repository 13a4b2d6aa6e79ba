"""From the paths of image files to classes and splits. Nothing here opens a file."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from lab_models.common.naming import unshown
from lab_models.common.validation import FieldError
from lab_models.datasets.folders import (
    LAYOUT_HINT,
    MOST_SHOWN,
    SUFFIXES,
    PlacedFile,
    is_image,
    split_folders,
    where_images_lie,
    without_wrapping,
)
from lab_models.datasets.refusals import MOST_ERRORS, ImportRefused, printable, refuse_bad_files
from lab_models.datasets.split_words import is_no_class, naturally

WORDS_SUFFIXES = (
    *(".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log"),
)
"""Of files that stand beside images and describe them: passed over, and counted."""
PHONE_SUFFIXES = (".heic", ".heif")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
ELSEWHERE = "elsewhere"
FEWEST = 2
"""Images of a class in train."""
TEST_SEED = 0
TEST_FRACTION = 0.2
LONGEST_CLASS_NAME = 100
MOST_CLASSES = 10_000


@dataclass(frozen=True)
class Layout:
    """Which files make up a data set: (path, class number) pairs, by class and path; `test_is_cut` says that test was
    cut from train.
    """

    class_names: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]
    test_is_cut: bool
    num_passed_over: int = 0
    """Files in class folders that describe images and are none."""

    def without(self, bad: Collection[str]) -> "Layout":
        """The same without those files; raises ImportRefused where a class has too few left in train, or none in
        test.
        """
        train, test = (
            tuple(row for row in rows if row[0] not in bad) for rows in (self.train, self.test)
        )
        learned, tested = (
            np.bincount([label for _, label in rows], minlength=len(self.class_names))
            for rows in (train, test)
        )
        short = np.flatnonzero((learned < FEWEST) | (tested < 1))
        if len(short):
            first = short[0]
            name = printable(self.class_names[first])
            raise ImportRefused(
                f"of {name} the files that can be read are too few: {learned[first]} to train on,"
                f" {tested[first]} to test on"
            )
        return replace(self, train=train, test=test)

    @property
    def remarks(self) -> str:
        """What was done that the folders do not say, to be put behind a sentence about them."""
        cut = "; it has no test folder, so a fixed stratified fifth of it serves as test"
        beside = f"; {self.num_passed_over:,} files beside them that are no images were passed over"
        return (cut if self.test_is_cut else "") + (beside if self.num_passed_over else "")


def arrange(names: list[str]) -> Layout:
    """Classes and splits of the files with these paths; raises ImportRefused with what is wrong.

    Accepted are `train/<class>/<image>` with or without `test/<class>/<image>`, and `<class>/<image>`, each also within
    folders that hold nothing else; split folders by any of the usual words. Classes come in natural order. Files beside
    the folders, such as a licence, are passed over.
    """
    images, num_passed_over = _in_splits(_unwrapped([PurePosixPath(name) for name in names]))
    train, test = _by_class(images["train"]), _by_class(images["test"])
    class_names = _class_names(train, test)
    test_is_cut = not test
    if test_is_cut:
        train, test = _cut_test(train)
    return Layout(
        class_names,
        _numbered(train, class_names),
        _numbered(test, class_names),
        test_is_cut,
        num_passed_over,
    )


def _unwrapped(paths: list[PurePosixPath]) -> list[PlacedFile]:
    """The image files, without the one folder that wraps them all, if one does."""
    archives = [
        FieldError(printable(str(path)), "an archive within the archive is not opened")
        for path in paths
        if path.suffix.lower() in ARCHIVE_SUFFIXES
    ]
    refuse_bad_files(archives)
    images = [path for path in paths if is_image(path.name)]
    if not images:
        raise ImportRefused(
            f"there is no image among the {len(paths):,} files",
            hint=f"{LAYOUT_HINT}; images end in {', '.join(SUFFIXES)}",
        )
    placed = without_wrapping([PlacedFile(str(path), path.parts) for path in paths])
    return [file for file in placed if len(file.parts) > 1 or is_image(file.parts[-1])]


def _in_splits(files: list[PlacedFile]) -> tuple[dict[str, list[PlacedFile]], int]:
    """`train` and `test`, each file's parts reduced to (class, image); and how many files were passed over."""
    errors = []
    num_passed_over = 0
    splits: dict[str, list[PlacedFile]] = {"train": [], "test": []}
    for split, inside in _by_folder(files).items():
        for file in without_wrapping(inside, is_split=True) if split in splits else inside:
            if PurePosixPath(file.parts[-1]).suffix.lower() in WORDS_SUFFIXES:
                num_passed_over += 1
                continue
            problem = _misplaced(split, file.parts)
            if problem is None:
                splits[split].append(file)
            else:
                errors.append(FieldError(printable(file.name), *problem))
    if len(errors) > MOST_SHOWN:
        raise ImportRefused(
            f"{len(errors):,} files are not where a class's images would be: {errors[0].pointer} {errors[0].message}; "
            + where_images_lie(files),
            errors[:MOST_SHOWN],
            hint=LAYOUT_HINT,
        )
    refuse_bad_files(errors)
    return splits, num_passed_over


def _by_folder(files: list[PlacedFile]) -> dict[str, list[PlacedFile]]:
    """The files of each split, without its folder; all are of `train` where there is no folder of that name."""
    known = split_folders(files)
    if not known:
        return {"train": files}
    found: dict[str, list[PlacedFile]] = {}
    for file in files:
        split = known.get(file.parts[0])
        if split is not None and len(file.parts) > 1:
            found.setdefault(split, []).append(PlacedFile(file.name, file.parts[1:]))
        elif is_image(file.parts[-1]):
            found.setdefault(ELSEWHERE, []).append(file)
    return found


def _misplaced(split: str, parts: tuple[str, ...]) -> tuple[str, str | None] | None:
    """What is wrong with a file's place, and a hint; None when nothing is."""
    if split == "val":
        return (
            "is in a folder of validation images",
            "val is cut from train by each experiment: move that folder's images into train/, or rename it to test/",
        )
    if split == ELSEWHERE:
        return "is neither in train/ nor in test/", LAYOUT_HINT
    if len(parts) != 2:
        return "is in no class folder" if len(
            parts
        ) < 2 else "is in a folder within a class folder", LAYOUT_HINT
    if parts[1].lower().endswith(PHONE_SUFFIXES):
        return "is a phone's format that cannot be read", "export it as JPEG"
    if not is_image(parts[1]):
        return "is no image by its name", f"images end in {', '.join(SUFFIXES)}"
    return None


def _by_class(files: list[PlacedFile]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.parts[0], []).append(file.name)
    return {name: sorted(found[name]) for name in sorted(found, key=naturally)}


def _class_names(train: dict[str, list[str]], test: dict[str, list[str]]) -> tuple[str, ...]:
    if not 2 <= len(train) <= MOST_CLASSES:
        listed = f" ({', '.join(map(printable, train))})" if len(train) == 1 else ""
        raise ImportRefused(
            f"there are {len(train):,} classes{listed}; a classifier needs 2 to {MOST_CLASSES:,}",
            hint=LAYOUT_HINT,
        )
    if all(map(is_no_class, train)):
        raise ImportRefused(
            f"the class folders are {' and '.join(map(printable, train))}: these are words for splits, or for what"
            " files are, and no classes",
            hint=LAYOUT_HINT,
        )
    bad = [
        FieldError(printable(name), "is no name for a class")
        for name in train
        if len(name) > LONGEST_CLASS_NAME or unshown(name) is not None
    ]
    if bad:
        raise ImportRefused(
            f"a class name has characters that are not shown or more than {LONGEST_CLASS_NAME} characters",
            bad[:MOST_ERRORS],
        )
    if test and set(test) != set(train):
        only = [
            FieldError(f"train/{printable(name)}", "has no images in test/")
            for name in train
            if name not in test
        ]
        only += [
            FieldError(f"test/{printable(name)}", "has no images in train/")
            for name in test
            if name not in train
        ]
        raise ImportRefused(
            "train and test have different classes",
            only[:MOST_ERRORS],
            hint="put an image of every class into both, or leave test/ out",
        )
    fewest = FEWEST if test else FEWEST + 1
    small = [
        FieldError(printable(name), f"has {len(files)}")
        for name, files in train.items()
        if len(files) < fewest
    ]
    if small:
        why = "" if test else ", one of them for test"
        raise ImportRefused(
            f"every class needs at least {fewest} images to train on{why}", small[:MOST_ERRORS]
        )
    return tuple(train)


def _cut_test(train: dict[str, list[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """A fifth of every class, of three images one, drawn with a fixed seed from NumPy's frozen generator (NEP 19)."""
    random = np.random.RandomState(TEST_SEED)
    kept, cut = {}, {}
    for name in sorted(train):
        files = train[name]
        order = random.permutation(len(files))
        count = round(TEST_FRACTION * len(files))
        cut[name] = sorted(files[row] for row in order[:count])
        kept[name] = sorted(files[row] for row in order[count:])
    return kept, cut


def _numbered(
    by_class: dict[str, list[str]], class_names: tuple[str, ...]
) -> tuple[tuple[str, int], ...]:
    return tuple(
        (path, number) for number, name in enumerate(class_names) for path in by_class[name]
    )
