"""A network's parts as the rows of its drawing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from app.api.schemas import PartAnswer

FOLLOWERS = ("norm", "activation", "dropout", "flatten")
"""What is drawn with the layer before it."""


@dataclass
class Row:
    """A box of the drawing: a part, and in words what follows it in the same box. A residual block or a repetition has
    rows of its own; `shortcut` says what the signal passes beside them, with `in_shortcut` parameters.
    """

    part: PartAnswer
    output_shape: tuple[int, ...]
    parameters: int
    after: list[str] = field(default_factory=list)
    rows: "list[Row]" = field(default_factory=list)
    shortcut: str = ""
    in_shortcut: int = 0


def rows_of(parts: Sequence[PartAnswer]) -> list[Row]:
    """The rows for these parts, from the image on."""
    found: list[Row] = []
    for part in parts:
        if part.kind in FOLLOWERS and found and found[-1].part.kind != "repeat":
            found[-1].after.append(part.text)
            found[-1].parameters += part.parameters
            found[-1].output_shape = part.output_shape
        else:
            found.append(
                Row(
                    part,
                    part.output_shape,
                    part.parameters,
                    rows=rows_of(part.parts),
                    shortcut=", then ".join(one.text for one in part.shortcut),
                    in_shortcut=sum(one.parameters for one in part.shortcut),
                )
            )
    return found
