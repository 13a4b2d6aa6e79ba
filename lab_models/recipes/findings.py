"""What a linter says: a finding, and the kinds there are."""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Kinds of findings."""

    WRONG_DIFFERENCE = "wrong_difference"
    POINTS_AS_PERCENT = "points_as_percent"
    IMPOSSIBLE_DIGITS = "impossible_digits"
    SPLIT_LABEL = "split_label"
    SPLIT_UNSAID = "split_unsaid"
    IDENTICAL_VALUES = "identical_values"
    BLANK_CELLS = "blank_cells"
    WRONG_PARAMETERS = "wrong_parameters"
    UNMATCHED_PARAMETERS = "unmatched_parameters"
    UNNAMED_DIFFERENCE = "unnamed_difference"
    DEAD_WEIGHTS = "dead_weights"
    WEAK_TEACHER = "weak_teacher"


@dataclass(frozen=True)
class Finding:
    """Something about a published table or a design that its reader must know.

    `where` names the table and row, the contrast or the cell; `suggestion` is what may have been meant, or what to do.
    """

    code: Code
    where: str
    message: str
    suggestion: str = ""
