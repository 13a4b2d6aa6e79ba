"""What somebody may have meant by a name that no data set has. Nothing here loads torch."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from lab_models.common.validation import did_you_mean

NOT_HERE: Final = frozenset(
    (
        *(
            "qmnist",
            "notmnist",
            "medmnist",
            "femnist",
            "movingmnist",
            "colormnist",
            "mnistc",
            "usps",
        ),
        *("omniglot", "cifar101", "cinic10", "imagenet", "imagenet1k", "imagenette", "imagewoof"),
        *("tinyimagenet", "caltech101", "caltech256", "gtsrb", "food101", "places365", "celeba"),
        *("flowers102", "oxfordpets", "stanfordcars", "fgvcaircraft", "dtd", "eurosat", "pcam"),
    )
)
"""Published data sets that have no reader here, so that none is taken for a slip in another's name."""


def name_hint(name: str, known: Iterable[str]) -> str | None:
    """A hint for a name that is none of the known ones: the one that it spells in another way, such as `FashionMNIST`,
    `cifar-10` or `ylecun/mnist`, those of which it is the beginning, or the nearest.
    """
    listed = list(known)
    plain = _plain(name.rpartition("/")[2])
    meant = [one for one in listed if _plain(one) == plain] or [
        one for one in listed if len(plain) > 3 and _plain(one).startswith(plain)
    ]
    if not meant and plain.startswith("emnist"):
        meant = [one for one in listed if one.startswith("emnist_")]
    if meant:
        return f"did you mean {' or '.join(map(repr, meant))}?"
    if plain in NOT_HERE or any(map(_names_another(plain), listed)):
        return "it is not built in: `lab data import NAME PATH` makes a data set of a folder or zip of its images"
    return did_you_mean(name, listed)


def _names_another(plain: str) -> Callable[[str], bool]:
    """Whether a word stands before a known name, as in `pathmnist`: another data set in the same form."""
    return lambda known: plain.endswith(_plain(known)) and len(plain) - len(_plain(known)) > 2


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
