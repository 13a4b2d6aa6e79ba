"""What people call the folders of train, test and validation, and in which order classes with numbers come. Nothing
here opens a file.
"""

import re
from typing import Final

_SPLITS: Final = {
    "train": ("train", "training", "trainset", "seg_train"),
    "test": ("test", "testing", "testset", "seg_test"),
    "val": ("val", "valid", "validation", "valset", "dev", "devset"),
}
_BY_WORD: Final = {word: split for split, words in _SPLITS.items() for word in words}
_ROLES: Final = frozenset(
    (
        *("image", "images", "img", "imgs", "label", "labels", "mask", "masks"),
        *("annotation", "annotations", "groundtruth", "gt", "pred", "seg_pred", "unlabeled"),
    )
)


def split_of(folder: str) -> str | None:
    """`train`, `test` or `val`, by a folder's name in any case, also as `test_set` or `train data`; None for others."""
    word = re.sub(r"[\s_-]+", "_", folder.strip().casefold())
    return _BY_WORD.get(word) or _BY_WORD.get(re.sub(r"_?(?:set|data|images)$", "", word))


def split_in(stem: str) -> str | None:
    """The split that one of the words of a file's name says, as in `mnist_train` or `train-00000-of-00002`."""
    found = {split_of(word) for word in re.split(r"[\s_.-]+", stem)} - {None}
    return found.pop() if len(found) == 1 else None


def is_no_class(folder: str) -> bool:
    """Whether the name is a word for a split, or for a role that files play, such as labels."""
    return split_of(folder) is not None or folder.strip().casefold() in _ROLES


def naturally(name: str) -> tuple[tuple[int, int | str], ...]:
    """A key that sorts `2` before `10` and `class 2` before `class 10`; what is equal so is told apart by the name."""
    # Python makes no number of more digits, and nothing that long is the name of a class
    parts = re.split(r"([0-9]{1,4000})", name)
    numbered = tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)
    return (*numbered, (2, name))
