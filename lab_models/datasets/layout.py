"""From the paths of image files to classes and splits. Nothing here opens a file."""

from collections import Counter
from collections.abc import Collection, Set
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from lab_models.common.validation import FieldError
from lab_models.datasets.classes import FEWEST, checked_classes, refuse_strange
from lab_models.datasets.folders import (
    LAYOUT_HINT,
    MOST_SHOWN,
    SUFFIXES,
    PlacedFile,
    placed,
    refuse_folders_beside,
    split_folders,
    where_images_lie,
    without_wrapping,
)
from lab_models.datasets.refusals import ImportRefused, printable, refuse_bad_files
from lab_models.datasets.split_words import is_no_class, naturally

WORDS_SUFFIXES = (
    *(".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log"),
    *(".jsonl", ".rst", ".rtf", ".ini", ".toml", ".bib", ".py", ".ipynb"),
)
WORDS_NAMES = ("license", "licence", "readme", "copying", "notice", "changelog", "authors")
"""Of files that stand beside images and describe them: passed over, and counted."""
LABELS_HINT = (
    "put each image into a folder of its class, or a table labels.csv with columns filename and label beside them;"
    f" {LAYOUT_HINT}"
)
LABEL_SUFFIXES = (".json", ".jsonl", ".txt", ".xml", ".xlsx", ".xls", ".mat", ".pkl", ".npy")
"""Of files that may say classes, and are not read."""
PHONE_SUFFIXES = (".heic", ".heif", ".avif")
PHONE_HINT = "export HEIC and AVIF as JPEG or PNG: phones, photo programs and ImageMagick do"
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
ELSEWHERE = "elsewhere"
TEST_SEED = 0
TEST_FRACTION = 0.2


@dataclass(frozen=True)
class Layout:
    """Which files make up a data set: (path, class number) pairs, by class and path. The last `num_val` of train are a
    validation split of its own.

    `test_is_cut` says that test was cut from train, `test_is_val` that a validation split is test.
    """

    class_names: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]
    test_is_cut: bool
    num_passed_over: int = 0
    """Files in class folders that describe images and are none."""
    num_val: int = 0
    test_is_val: bool = False
    classes_from: str = ""
    """What says the classes, where folders do not."""

    def without(self, bad: Collection[str]) -> "Layout":
        """The same without those files; raises ImportRefused where a class has too few left in train, or none in
        test.
        """
        train, val, test = (
            tuple(row for row in rows if row[0] not in bad)
            for rows in (self.learned, self.train[len(self.learned) :], self.test)
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
        return replace(self, train=train + val, test=test, num_val=len(val))

    @property
    def learned(self) -> tuple[tuple[str, int], ...]:
        """Train without the validation split of its own."""
        return self.train[: len(self.train) - self.num_val]

    @property
    def remarks(self) -> str:
        """What was done that the folders do not say, to be put behind a sentence about them."""
        said = [self.classes_from] if self.classes_from else []
        if self.test_is_cut:
            said.append("it has no test folder, so a fixed stratified fifth of it serves as test")
        if self.test_is_val:
            said.append("it has no test folder, so its validation folder serves as test")
        if self.num_val:
            said.append(
                f"the last {self.num_val:,} of train are its own validation split, which 'dataset.val': 'published'"
                " takes; without it val is cut from train and these together"
            )
        if self.num_passed_over:
            said.append(
                f"{self.num_passed_over:,} files beside them that are no images were passed over"
            )
        return "".join(f"; {one}" for one in said)


def arrange(names: list[str], images: Set[str] = frozenset()) -> Layout:
    """Classes and splits of the files with these paths; raises ImportRefused with what is wrong. `images` are those
    without a suffix that are images by their content.

    Accepted are `train/<class>/<image>` with or without `test/<class>/<image>` and `val/<class>/<image>`, and
    `<class>/<image>`, each also within folders that hold nothing else; split folders by any of the usual words. Classes
    come in natural order. Files beside the folders, such as a licence, are passed over.
    """
    files, num_passed_over = _in_splits(_unwrapped([PurePosixPath(name) for name in names], images))
    train, test, val = (_by_class(files[split]) for split in ("train", "test", "val"))
    test_is_val = bool(val) and not test
    if test_is_val:
        test, val = val, {}
    _refuse_unlabeled(train, names)
    class_names = checked_classes(train, test, "val" if test_is_val else "test")
    refuse_strange(val, class_names)
    test_is_cut = not test
    if test_is_cut:
        train, test = _cut_test(train)
    own = _numbered(val, class_names)
    return Layout(
        class_names,
        _numbered(train, class_names) + own,
        _numbered(test, class_names),
        test_is_cut,
        num_passed_over,
        len(own),
        test_is_val,
    )


def _refuse_unlabeled(train: dict[str, list[str]], names: list[str]) -> None:
    """Raises ImportRefused where all images lie in one folder whose name is no class."""
    if len(train) != 1 or not is_no_class(next(iter(train))):
        return
    beside = [name for name in names if PurePosixPath(name).suffix.lower() in LABEL_SUFFIXES]
    not_read = f"; {printable(beside[0])} is not read" if beside else ""
    raise ImportRefused(
        f"all images lie in one folder, {printable(next(iter(train)))}, and nothing says their classes{not_read}",
        hint=LABELS_HINT,
    )


def _unwrapped(paths: list[PurePosixPath], images: Set[str]) -> list[PlacedFile]:
    """The files, without the folders that wrap them all, if there are any."""
    archives = [
        FieldError(printable(str(path)), "an archive within the archive is not opened")
        for path in paths
        if path.suffix.lower() in ARCHIVE_SUFFIXES
    ]
    refuse_bad_files(archives)
    files = [placed(path, images) for path in paths if path.parts]
    if not any(file.is_image for file in files):
        phones = [str(path) for path in paths if path.suffix.lower() in PHONE_SUFFIXES]
        if phones:
            raise ImportRefused(
                f"{len(phones):,} files are in a format that cannot be read, such as {printable(phones[0])}",
                hint=PHONE_HINT,
            )
        suffixes = Counter(path.suffix.lower() for path in paths if path.suffix).most_common(3)
        ending = f", which end in {', '.join(one for one, _ in suffixes)}" if suffixes else ""
        raise ImportRefused(
            f"there is no image among the {len(paths):,} files{printable(ending)}",
            hint=f"{LAYOUT_HINT}; images end in {', '.join(SUFFIXES)}",
        )
    return [file for file in without_wrapping(files) if len(file.parts) > 1 or file.is_image]


def _in_splits(files: list[PlacedFile]) -> tuple[dict[str, list[PlacedFile]], int]:
    """`train`, `test` and `val`, each file's parts reduced to (class, image); and how many files were passed over."""
    errors = []
    num_passed_over = 0
    splits: dict[str, list[PlacedFile]] = {"train": [], "test": [], "val": []}
    for split, inside in _by_folder(files).items():
        for file in without_wrapping(inside, is_split=True) if split in splits else inside:
            if _is_of_words(file.parts[-1]):
                num_passed_over += 1
                continue
            problem = _misplaced(split, file)
            if problem is None:
                splits[split].append(file)
            else:
                errors.append(FieldError(printable(file.name), *problem))
    _refuse_without_classes(files, splits, errors)
    if len(errors) > MOST_SHOWN:
        refuse_folders_beside(files)
        raise ImportRefused(
            f"{len(errors):,} files are not where a class's images would be: {errors[0].pointer} {errors[0].message}; "
            + where_images_lie(files),
            errors[:MOST_SHOWN],
            hint=LAYOUT_HINT,
        )
    refuse_bad_files(errors)
    return splits, num_passed_over


def _refuse_without_classes(
    files: list[PlacedFile], placed: dict[str, list[PlacedFile]], errors: list[FieldError]
) -> None:
    """Raises ImportRefused where a split's images lie in it without class folders."""
    words = split_folders(files)
    flat = {
        file.parts[0] for file in files if file.is_image and len(file.parts) == 2
    } & words.keys()
    bare = [folder for folder in words if folder in flat and not placed[words[folder]]]
    if not errors or not bare:
        return
    shown = " and ".join(printable(folder) for folder in sorted(bare))
    is_test = all(words[folder] != "train" for folder in bare)
    look = "look like splits" if len(bare) > 1 else "looks like a split"
    raise ImportRefused(
        f"{shown} {look}, whose images lie in no class folders, so nothing says their classes",
        hint=f"leave {shown} out: a fifth of train serves as test then" if is_test else LABELS_HINT,
    )


def _is_of_words(name: str) -> bool:
    """Whether a file of this name describes images rather than being one."""
    path = PurePosixPath(name.lower())
    return path.suffix in WORDS_SUFFIXES or (not path.suffix and path.stem in WORDS_NAMES)


def _by_folder(files: list[PlacedFile]) -> dict[str, list[PlacedFile]]:
    """The files of each split, without its folder; all are of `train` where there is no folder of that name."""
    known = split_folders(files)
    if not known:
        return {"train": files}
    found: dict[str, list[PlacedFile]] = {}
    for file in files:
        split = known.get(file.parts[0])
        if split is not None and len(file.parts) > 1:
            found.setdefault(split, []).append(file.below())
        elif file.is_image:
            found.setdefault(ELSEWHERE, []).append(file)
    return found


def _misplaced(split: str, file: PlacedFile) -> tuple[str, str | None] | None:
    """What is wrong with a file's place, and a hint; None when nothing is."""
    if split == ELSEWHERE:
        return "is in no folder of train, test or validation images", LAYOUT_HINT
    if len(file.parts) != 2:
        return "is in no class folder" if len(
            file.parts
        ) < 2 else "is in a folder within a class folder", LAYOUT_HINT
    if file.parts[1].lower().endswith(PHONE_SUFFIXES):
        return "is in a format that cannot be read", PHONE_HINT
    if not file.is_image:
        return "is no image by its name", f"images end in {', '.join(SUFFIXES)}"
    return None


def _by_class(files: list[PlacedFile]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.parts[0], []).append(file.name)
    return {name: sorted(found[name]) for name in sorted(found, key=naturally)}


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
        (path, number) for number, name in enumerate(class_names) for path in by_class.get(name, [])
    )
