"""Names that are cut to their room and still tell what they name apart, and names side by side in whatever script."""

from collections.abc import Callable, Sequence
from typing import Final
from unicodedata import bidirectional

from app.plots.canvas.fonts import ELLIPSIS, printable, shortened

LEFT_TO_RIGHT: Final = "\N{LEFT-TO-RIGHT MARK}"
"""Not shown; what stands on both sides of it keeps its place, whichever way its letters run."""
ROUNDS: Final = 3
LED_IN: Final = 4
"""Letters before the first that differs which are shown with it."""


def told_apart(names: Sequence[str], fitted: Callable[[str], list[str]]) -> list[list[str]]:
    """The names in lines as `fitted` cuts them; of those which are then alike and are not the same, the beginning and
    what differs (`Golden…ver 12`), or if that does not help, the place in the list before it (`12: Golden ret…`).
    """
    texts = [printable(name) for name in names]
    shown = [fitted(text) for text in texts]
    for _ in range(ROUNDS):
        alike = _alike(names, shown)
        if not alike:
            return shown
        for places in alike:
            prefix = _num_common([texts[place] for place in places])
            head = len("".join(shown[places[0]])) // 3
            for place in places:
                text, after = texts[place], max(head, prefix - LED_IN)
                shown[place] = fitted(text[:head].rstrip() + ELLIPSIS + text[after:])
    for places in _alike(names, shown):
        for place in places:
            shown[place] = fitted(f"{place}: {texts[place]}")
    return shown


def cut_apart(names: Sequence[str], inches: float, size: float) -> list[str]:
    """Each name in one line of that width, no two of them alike; letters that no font has are their numbers."""
    return [line for (line,) in told_apart(names, lambda name: [shortened(name, inches, size)])]


def side_by_side(names: Sequence[str], between: str) -> str:
    """The names from left to right, also those that are read from right to left: the mark keeps a Hebrew name and what
    follows it from changing places.
    """
    if not any(map(_runs_left, names)):
        return between.join(names)
    return LEFT_TO_RIGHT + f"{LEFT_TO_RIGHT}{between}{LEFT_TO_RIGHT}".join(names)


def _alike(names: Sequence[str], shown: Sequence[list[str]]) -> list[list[int]]:
    """Places of names that are different and look the same."""
    by_look: dict[str, list[int]] = {}
    for place, lines in enumerate(shown):
        by_look.setdefault("\n".join(lines), []).append(place)
    return [
        places
        for places in by_look.values()
        if len(places) > 1 and len({names[place] for place in places}) > 1
    ]


def _runs_left(text: str) -> bool:
    """Whether some of its letters are read from right to left."""
    return any(bidirectional(letter) in ("R", "AL") for letter in text)


def _num_common(texts: Sequence[str]) -> int:
    """How many letters they have in common at their beginning."""
    first, last = min(texts), max(texts)
    differ = (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return next(differ, min(len(first), len(last)))
