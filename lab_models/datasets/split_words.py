"""What people call the folders of train, test and validation, and in which order classes with numbers come. Nothing
here opens a file.
"""

import re
from collections.abc import Collection
from typing import Final

_SPLITS: Final = {
    "train": (
        "train",
        "training",
        "trainset",
        "seg_train",
        "trainval",
        "train_val",
        "训练",
        "训练集",
    ),
    "test": (
        *("test", "testing", "testset", "seg_test", "holdout", "hold_out", "测试", "测试集"),
        *("private_test", "privatetest"),
    ),
    "val": (
        *("val", "valid", "validation", "valset", "dev", "devset", "eval", "evaluation"),
        *("验证", "验证集", "public_test", "publictest"),
    ),
}
_BY_WORD: Final = {word: split for split, words in _SPLITS.items() for word in words}
_ROLES: Final = frozenset(
    (
        *("image", "images", "img", "imgs", "label", "labels", "mask", "masks"),
        *("annotation", "annotations", "groundtruth", "gt", "pred", "seg_pred", "unlabeled"),
        *("input", "inputs", "output", "outputs", "target", "targets"),
    )
)


def split_of(folder: str) -> str | None:
    """`train`, `test` or `val`, by a folder's name in any case, also as `test_set` or `train data`; None for others."""
    word = re.sub(r"[\s_-]+", "_", folder.strip().casefold())
    return _BY_WORD.get(word) or _BY_WORD.get(re.sub(r"_?(?:set|data|images)$", "", word))


def splits_of_one_name(folders: Collection[str]) -> dict[str, str]:
    """The split of each folder where all have one name but for a word for a split, and numbers: `asl_train` and
    `asl_test`, `train (1)` and `test (1)`. Empty where they do not, or none is train.
    """
    parts = {folder: _around_split(folder) for folder in folders}
    found = {folder: part[0] for folder, part in parts.items() if part is not None}
    names = {part and part[1] for part in parts.values()}
    is_clear = len(found) == len(parts) == len(set(found.values())) > 1 and len(names) == 1
    return found if is_clear and "train" in found.values() else {}


def _around_split(folder: str) -> tuple[str, tuple[str, ...]] | None:
    """The split that one of a name's words says, and its other words."""
    words = [word.rstrip("0123456789") for word in re.split(r"[\s_.()\[\]-]+", folder.casefold())]
    said = [(place, split) for place, word in enumerate(words) if (split := split_of(word))]
    if len(said) != 1:
        return None
    ((at, split),) = said
    return split, tuple(word for place, word in enumerate(words) if word and place != at)


def split_in(stem: str) -> str | None:
    """The split that one of the words of a file's name says, as in `mnist_train` or `train-00000-of-00002`."""
    found = {split_of(word) for word in re.split(r"[\s_.-]+", stem)} - {None}
    return found.pop() if len(found) == 1 else None


def is_no_class(folder: str) -> bool:
    """Whether the name is a word for a split, or for a role that files play, such as labels."""
    return split_of(folder) is not None or folder.strip().casefold() in _ROLES


def naturally(name: str) -> tuple[tuple[int, float | str], ...]:
    """A key that sorts `2` before `10`, `class` before `class 2`, that before `class 10`, and `0.25` before `0.5`; what
    is equal so is told apart by the name.
    """
    if re.fullmatch(r"[+-]?[0-9]{0,300}\.?[0-9]{1,300}", name):
        return (0, float(name)), (-1, name)
    # Python makes no number of more digits, and nothing that long is the name of a class
    parts = re.split(r"([0-9]{1,4000})", name)
    numbered = tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)
    return (*numbered, (-1, name))
