"""What a name that people give may hold: whatever can be shown as what it is."""

import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, Field

LONGEST_NAME: Final = 200

UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, of what only steers the text around it (overrides of its direction among them),
halves of characters, and line ends.
"""

JOINERS: Final = frozenset("\u200c\u200d")
"""Of those, what several scripts and emoji are spelled with."""


FORBIDDEN_IN_FILES: Final = frozenset('<>:"/\\|?*')
"""What some system has no place for in the name of a file."""


class UnshowableName(ValueError):
    """A name holds a character that is not shown, or that changes how others are shown."""


def shown(name: str) -> str:
    """The name as it is; raises UnshowableName where something in it is not to be seen."""
    found = unshown(name)
    if found is not None:
        described = unicodedata.name(
            found, "a control character" if unicodedata.category(found) == "Cc" else "no character"
        )
        raise UnshowableName(
            f"holds U+{ord(found):04X} ({described}), which is not shown as a character of its own; leave it out"
        )
    return name


def unshown(name: str) -> str | None:
    """The first character of a name that is not to be seen; None where all are."""
    return next((character for character in name if _is_unshown(character)), None)


def as_file_name(name: str, most_bytes: int = 100) -> str:
    """The name as part of a file's name on any system: what is a letter in any script stays; what separates folders,
    is not allowed somewhere or not shown becomes `_`; no longer than so many bytes of UTF-8. Never empty, and never
    begins or ends with a dot or a space.
    """
    composed = unicodedata.normalize("NFC", name)
    plain = "".join(
        "_" if one in FORBIDDEN_IN_FILES or _is_unshown(one) else one for one in composed
    )
    short = plain.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore")
    return " ".join(short.split()).strip(". ") or "_"


def _is_unshown(character: str) -> bool:
    if character.isprintable() or character in JOINERS:
        return False
    return unicodedata.category(character) in UNSHOWN or _is_noncharacter(ord(character))


def _is_noncharacter(code: int) -> bool:
    """What Unicode will never assign; XML, and so SVG, has no place for it."""
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(shown)]
"""What people call an experiment or a study, and what they write into a label."""
