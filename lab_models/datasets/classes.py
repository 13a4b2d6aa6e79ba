"""Whether what was found can be classes: names, numbers, the same on both sides. Nothing here opens a file."""

from collections.abc import Iterable

from lab_models.common.naming import unshown
from lab_models.common.validation import FieldError
from lab_models.datasets.folders import LAYOUT_HINT
from lab_models.datasets.refusals import MOST_ERRORS, ImportRefused, printable
from lab_models.datasets.split_words import is_no_class, naturally, splits_of_one_name

FEWEST = 2
"""Images of a class in train."""
LONGEST_CLASS_NAME = 100
MOST_CLASSES = 10_000


def checked_classes(
    train: dict[str, list[str]], test: dict[str, list[str]], split: str
) -> tuple[str, ...]:
    """The classes of files by class, in order; raises ImportRefused for names and numbers of them that will not do.
    `split` is what test is called, which may be empty.
    """
    if not 2 <= len(train) <= MOST_CLASSES:
        found = f"are {len(train):,} classes"
        if len(train) == 1:
            found = f"is one class, {printable(next(iter(train)))}"
        raise ImportRefused(
            f"there {found}; a classifier needs 2 to {MOST_CLASSES:,}",
            hint=LAYOUT_HINT,
        )
    if all(map(is_no_class, train)) or splits_of_one_name(train):
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
            FieldError(f"train/{printable(name)}", f"has no images in {split}/")
            for name in train
            if name not in test
        ]
        only += [
            FieldError(f"{split}/{printable(name)}", "has no images in train/")
            for name in test
            if name not in train
        ]
        raise ImportRefused(
            f"train and {split} have different classes",
            only[:MOST_ERRORS],
            hint=_how_to_agree(train, test, split),
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


def refuse_strange(val: dict[str, list[str]], class_names: tuple[str, ...]) -> None:
    """Raises ImportRefused for validation images of a class that train does not have."""
    only = [
        FieldError(f"val/{printable(name)}", "has no images in train/")
        for name in sorted(val.keys() - set(class_names), key=naturally)
    ]
    if only:
        raise ImportRefused("train and val have different classes", only[:MOST_ERRORS])


def _how_to_agree(train: Iterable[str], test: Iterable[str], split: str) -> str:
    if {name.casefold() for name in train} == {name.casefold() for name in test}:
        return "they differ in capitals alone: write them in one way"
    return f"put an image of every class into both, or leave {split}/ out"
