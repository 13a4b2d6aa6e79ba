"""From the paths of image files to classes and splits. Nothing here opens a file."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from lab_models.common.naming import unshown
from lab_models.common.validation import FieldError
from lab_models.datasets.refusals import MOST_ERRORS, ImportRefused, printable, refuse_bad_files

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
OTHER_SPLITS = ("val", "valid", "validation", "dev")
TEST_SEED = 0
TEST_FRACTION = 0.2
LONGEST_CLASS_NAME = 100
MOST_CLASSES = 10_000
LAYOUT_HINT = (
    "expected train/<class>/<image> and test/<class>/<image>, or <class>/<image> without splits"
)


@dataclass(frozen=True)
class Layout:
    """Which files make up a data set: (path, class number) pairs, by class and path; `test_is_cut` says that test was
    cut from train.
    """

    class_names: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]
    test_is_cut: bool


def arrange(names: list[str]) -> Layout:
    """Classes and splits of the files with these paths; raises ImportRefused with what is wrong.

    Accepted are `train/<class>/<image>` with or without `test/<class>/<image>`, and `<class>/<image>`, each also within
    one more folder. Files beside the folders, such as a licence, are passed over.
    """
    paths = _unwrapped([PurePosixPath(name) for name in names])
    splits = _by_split(paths)
    train, test = _by_class(splits["train"]), _by_class(splits["test"])
    class_names = _class_names(train, test)
    if test:
        return Layout(
            class_names,
            _numbered(train, class_names),
            _numbered(test, class_names),
            test_is_cut=False,
        )
    train, test = _cut_test(train)
    return Layout(
        class_names, _numbered(train, class_names), _numbered(test, class_names), test_is_cut=True
    )


@dataclass(frozen=True)
class _Placed:
    """A file: its path in the archive, and the parts that count, without a wrapping folder."""

    name: str
    parts: tuple[str, ...]


def _unwrapped(paths: list[PurePosixPath]) -> list[_Placed]:
    """The image files, without the one folder that wraps them all, if one does."""
    archives = [
        FieldError(printable(str(path)), "an archive within the archive is not opened")
        for path in paths
        if path.suffix.lower() in ARCHIVE_SUFFIXES
    ]
    refuse_bad_files(archives)
    images = [path for path in paths if _is_image(path.name)]
    if not images:
        raise ImportRefused(
            f"there is no image among the {len(paths):,} files",
            hint=f"{LAYOUT_HINT}; images end in {', '.join(SUFFIXES)}",
        )
    first = {path.parts[0] for path in images}
    wrapped = (
        len(first) == 1
        and first.isdisjoint({"train", "test"})
        and any(len(path.parts) >= 3 for path in images)
    )
    placed = [
        _Placed(str(path), path.parts[1:] if wrapped and path.parts[0] in first else path.parts)
        for path in paths
    ]
    return [file for file in placed if len(file.parts) > 1 or _is_image(file.parts[-1])]


def _by_split(files: list[_Placed]) -> dict[str, list[_Placed]]:
    """`train` and `test`, each file's parts reduced to (class, image)."""
    folders = {file.parts[0] for file in files if len(file.parts) > 1}
    has_splits = "train" in folders
    if "test" in folders and not has_splits:
        raise ImportRefused("there is a folder 'test' but none named 'train'", hint=LAYOUT_HINT)
    splits: dict[str, list[_Placed]] = {"train": [], "test": []}
    errors = []
    for file in files:
        if has_splits and file.parts[0] not in splits and not _is_image(file.parts[-1]):
            continue
        split, parts = (file.parts[0], file.parts[1:]) if has_splits else ("train", file.parts)
        problem = _misplaced(split, parts)
        if problem is None:
            splits[split].append(_Placed(file.name, parts))
        else:
            errors.append(FieldError(printable(file.name), *problem))
    refuse_bad_files(errors)
    return splits


def _misplaced(split: str, parts: tuple[str, ...]) -> tuple[str, str | None] | None:
    """What is wrong with a file's place, and a hint; None when nothing is."""
    if split in OTHER_SPLITS:
        return (
            f"is in {split}/",
            f"val is cut from train by each experiment: move {split}/ into train/ or rename it to test/",
        )
    if split not in ("train", "test"):
        return "is neither in train/ nor in test/", LAYOUT_HINT
    if len(parts) != 2:
        return "is in no class folder" if len(
            parts
        ) < 2 else "is in a folder within a class folder", LAYOUT_HINT
    if not _is_image(parts[1]):
        return "is no image by its name", f"images end in {', '.join(SUFFIXES)}"
    return None


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _by_class(files: list[_Placed]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.parts[0], []).append(file.name)
    return {name: sorted(found[name]) for name in sorted(found)}


def _class_names(train: dict[str, list[str]], test: dict[str, list[str]]) -> tuple[str, ...]:
    if not 2 <= len(train) <= MOST_CLASSES:
        listed = f" ({', '.join(map(printable, train))})" if len(train) == 1 else ""
        raise ImportRefused(
            f"there are {len(train):,} classes{listed}; a classifier needs 2 to {MOST_CLASSES:,}",
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
    fewest = 2 if test else 3
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
    for name, files in train.items():
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
