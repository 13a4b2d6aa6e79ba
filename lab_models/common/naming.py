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


def _is_unshown(character: str) -> bool:
    if character.isprintable() or character in JOINERS:
        return False
    return unicodedata.category(character) in UNSHOWN or _is_noncharacter(ord(character))


def _is_noncharacter(code: int) -> bool:
    """What Unicode will never assign; XML, and so SVG, has no place for it."""
    return code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF


Name = Annotated[str, Field(max_length=LONGEST_NAME), AfterValidator(shown)]
"""What people call an experiment or a study, and what they write into a label."""
