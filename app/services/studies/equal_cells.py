"""Cells that train the same: one experiment in several rows."""

from lab_models.recipes.recipe import Cell
from lab_models.studies.design import Design

MOST_TITLES = 5


def with_same(design: Design, cell: Cell, earlier: str) -> Design:
    """The design in which the cell shares the earlier one's experiment."""
    return design.model_copy(update={"same_as": {**design.same_as, cell.key: earlier}})


def with_notes(design: Design) -> Design:
    """The design with a note for each experiment that stands in several rows."""
    notes = tuple(_note(design, key) for key in dict.fromkeys(design.same_as.values()))
    return design.model_copy(update={"notes": (*design.notes, *notes)})


def _note(design: Design, key: str) -> str:
    titles = [cell.title for cell in design.cells if design.trained(cell.key) == key]
    shown = " = ".join(titles[:MOST_TITLES])
    more = f" and {len(titles) - MOST_TITLES} more" if len(titles) > MOST_TITLES else ""
    return (
        f"{shown}{more}: nothing that is trained differs between them, so they are one experiment. It is trained once,"
        " stands in each of their rows, and is not compared with itself."
    )
