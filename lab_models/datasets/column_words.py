"""What people call the columns of a table of images. Nothing here opens a file."""

import re
from collections.abc import Sequence
from typing import Final

IMAGE_WORDS: Final = ("image", "img", "picture", "photo", "png", "jpg", "jpeg", "webp")
LABEL_WORDS: Final = (
    *("label", "class", "target", "category", "y", "fine_label", "class_name", "label_name"),
    *("class_label", "image_label", "labels", "classes", "class_id", "label_id", "category_name"),
    *("breed", "species", "variety", "diagnosis", "dx", "emotion", "character", "digit", "tag"),
)
"""The first of them that a table has is the one."""
FILE_WORDS: Final = (
    *("filename", "file_name", "file", "image", "img", "image_name", "img_name", "image_path"),
    *("image_file", "image_filename", "path", "filepath", "file_path", "image_id", "img_id"),
    *("id", "name", "fname", "id_code", "images", "photo", "picture"),
)
SPLIT_WORDS: Final = ("split", "usage", "set", "subset", "partition", "fold", "data_set")


def column_of(words: Sequence[str], columns: Sequence[str]) -> str | None:
    """The column whose name is the first of the words that any has, in any case and spelling; None where none has."""
    named = {_plain(column): column for column in reversed(columns)}
    return next((named[word] for word in map(_plain, words) if word in named), None)


def _plain(word: str) -> str:
    return re.sub(r"[\s_-]+", "", word.strip().strip("\ufeff").casefold())
