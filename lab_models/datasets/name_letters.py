"""Letters of names in an archive that does not say in which encoding they are: as what they are read, and what else
they may be. Nothing here opens a file or loads torch.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

Guess = Literal["", "utf-8", "cp437"]
"""The encoding that names were read in without being told it; empty where nothing had to be guessed."""

ENCODINGS: Final = {
    "GBK": "gbk",
    "Shift-JIS": "cp932",
    "Big5": "cp950",
    "EUC-KR": "cp949",
    "Windows-1251": "cp1251",
    "code page 866": "cp866",
    "Windows-1252": "cp1252",
    "code page 850": "cp850",
}
"""What programs of Windows write, by the name that people know; the first ones are looked for first."""
GUESSES: Final = {"utf-8": "UTF-8", "cp437": "code page 437"}
MOST_READINGS = 4
MOST_SHOWN = 2
FEW_LETTERS = 3
"""So many letters of two bytes may be UTF-8 by chance: of GBK's pairs for common words one in five is."""
HALF_WIDE: Final = range(0xFF61, 0xFFA0)
"""Katakana that nobody gives a name in, and that Shift-JIS makes of what is none."""


def guess(names: Iterable[bytes]) -> Guess:
    """The encoding to read names in that no flag tells: UTF-8 if all of them are, else that of the format of zips."""
    silent = [name for name in names if not name.isascii()]
    if not silent:
        return ""
    try:
        for name in silent:
            name.decode()
    except UnicodeDecodeError:
        return "cp437"
    return "utf-8"


def doubtful(class_names: Sequence[str], guessed: Guess) -> str | None:
    """A sentence on classes whose letters were guessed and may be others, with what they would be; None where they can
    hardly be anything else.
    """
    if not guessed:
        return _garbled(class_names)
    raw = {name: _encoded(name, guessed) for name in class_names if not name.isascii()}
    odd = {name: content for name, content in raw.items() if content is not None}
    if not odd or (guessed == "utf-8" and not _by_chance(odd)):
        return None
    readings = list(_readings(odd))[:MOST_READINGS]
    if not readings and all(map(_is_plausible, odd)):
        return None
    found = [f"{_shown(names)} in {encoding}" for encoding, names in readings]
    others = f"; they would be {', '.join(found)}" if found else ""
    return (
        f"the archive does not say in which encoding its names are: read as {GUESSES[guessed]}, classes are called"
        f" {_shown(list(odd))}{others}; if that is wrong, rename the folders or pack them anew with names in UTF-8"
    )


def _garbled(class_names: Sequence[str]) -> str | None:
    """Of folders that were once unpacked in the wrong encoding: frames and blocks stand where letters were."""
    raw = {name: _encoded(name, "cp437") for name in class_names if any(map(_is_frame, name))}
    odd = {name: content for name, content in raw.items() if content is not None}
    if not odd:
        return None
    found = [f"{_shown(names)} in {encoding}" for encoding, names in _readings(odd)]
    others = f", which may be {', '.join(found[:MOST_READINGS])}" if found else ""
    return (
        f"the classes {_shown(list(odd))} look as if their archive was once unpacked in the wrong encoding{others};"
        " if so, rename the folders"
    )


def _is_frame(letter: str) -> bool:
    return "\u2500" <= letter <= "\u259f"


def _by_chance(names: Iterable[str]) -> bool:
    letters = [letter for name in names for letter in name if not letter.isascii()]
    return len(letters) <= FEW_LETTERS and max(letters) < "\u0800"


def _encoded(name: str, encoding: str) -> bytes | None:
    try:
        return name.encode(encoding)
    except UnicodeEncodeError:  # another part of the archive says how it is written
        return None


def _readings(odd: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    for encoding, codec in ENCODINGS.items():
        try:
            names = [content.decode(codec) for content in odd.values()]
        except UnicodeDecodeError:
            continue
        if names != list(odd) and all(map(_is_plausible, names)):
            yield encoding, names


def _is_plausible(name: str) -> bool:
    """Whether somebody may have called a folder so: letters beside what is ASCII, and not of two scripts."""
    letters = [letter for letter in name if not letter.isascii()]
    if not all(letter.isalpha() and ord(letter) not in HALF_WIDE for letter in letters):
        return False
    is_latin = [unicodedata.name(letter, "").startswith("LATIN") for letter in letters]
    return all(is_latin) or not (any(is_latin) or any(map(_is_ascii_letter, name)))


def _is_ascii_letter(letter: str) -> bool:
    return letter.isascii() and letter.isalpha()


def _shown(names: Sequence[str]) -> str:
    more = len(names) - MOST_SHOWN
    return " and ".join(map(repr, names[:MOST_SHOWN])) + (f" and {more:,} more" if more > 0 else "")
