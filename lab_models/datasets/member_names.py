"""Names of an archive's files: which lead out of it, which mean nothing, what path is left. Nothing here opens one."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final

IGNORED_NAMES: Final = frozenset(
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "thumbs.db:encryptable"),
        *("desktop.ini", "picasa.ini", "@eadir", "icon\r", "$recycle.bin", "lost+found"),
        "system volume information",
    )
)
IDX_NAME: Final = re.compile(
    r"(?P<split>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?$", re.IGNORECASE
)
_DRIVE: Final = re.compile(r"[A-Za-z]:")


def path_of(name: str, slash: str = "/") -> str:
    """The path with `/` between folders, without parts that mean nothing."""
    parts: list[str] = []
    for part in name.split(slash):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def danger_of_name(name: str, slash: str = "/") -> str | None:
    """Why a file of this name is not touched, or None."""
    if "\0" in name:
        return "has a null byte in its name"
    if slash == "/" and "\\" in name:
        return "has a backslash in its name, and others have slashes"
    if name.startswith(slash) or _DRIVE.match(name) or _leads_out(name.split(slash)):
        return "has a path that leads out of the archive"
    return None


def slash_of(names: Sequence[str]) -> str:
    """What stands between folders: old programs of Windows write a backslash, in all names or in none."""
    is_other = any("\\" in name for name in names) and not any("/" in name for name in names)
    return "\\" if is_other else "/"


def is_ignored(path: PurePosixPath) -> bool:
    """Hidden files, and what operating systems leave behind."""
    return any(map(_is_ignored_part, path.parts))


def folder_of_ignored(path: PurePosixPath) -> str:
    """The folder in which what is ignored lies; empty where that is the archive itself."""
    return "/".join(takewhile(lambda part: not _is_ignored_part(part), path.parts))


def is_array(name: str) -> bool:
    """Whether that is one of NumPy's arrays by its name."""
    return name.endswith(".npy")


NO_TRUTH: Final = ("sample_submission", "samplesubmission", "submission", "sample_sub")


def is_parquet(name: str) -> bool:
    """Whether that is a Parquet file by its name."""
    return name.lower().endswith(".parquet")


def is_idx(name: str) -> bool:
    """Whether that is one of MNIST's files, or of a set in its form, by its name."""
    return IDX_NAME.search(name) is not None


def is_table(name: str) -> bool:
    """Whether that is a table of commas or tabs by its name, and not the form of an answer to a competition, whose
    classes are invented.
    """
    last = name.lower().rpartition("/")[2]
    return last.endswith((".csv", ".tsv")) and not last.startswith(NO_TRUTH)


def holds_many(name: str) -> bool:
    """Whether a file of this name may hold a whole data set: what all files unpack to has a bound of its own."""
    return any(holds(name) for holds in (is_array, is_parquet, is_table, is_idx))


def _is_ignored_part(part: str) -> bool:
    return part.startswith(".") or part.lower() in IGNORED_NAMES


def _leads_out(parts: Sequence[str]) -> bool:
    """Whether the parts step above where they began, or end with a step back, which is no file."""
    depth = 0
    for part in parts:
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return parts[-1] == ".."
