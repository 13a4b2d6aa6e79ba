"""A study's design: its cells with whole requests, what is compared, and what is claimed. Kept with the study, so that
a later recipe changes nothing.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from lab_models.common.validation import FieldError, InvalidDocument, did_you_mean
from lab_models.recipes.published_tables import PublishedTable
from lab_models.recipes.recipe import Cell, Claim, Contrast, Factor, Picture, Reaches
from lab_models.specs import CONTROLS, OWN, ROLES, Frozen, Request, read_request
from lab_models.studies.sampling import Distribution, Sample
from lab_models.studies.source_work import seeds_said


class Design(Frozen):
    """What a study is, once its recipe or its own specs have been worked out."""

    title: str
    """What people read above the table."""
    question: str = ""
    """What the table answers."""
    reproduces: str = ""
    """Which table of which source; empty for an own study."""
    factors: tuple[str, ...] = ()
    """What varies, in the order of the table's columns."""
    paths: tuple[str, ...] = ()
    """Of a grid the factors' dotted paths, in the same order; empty where they are none, or were not kept."""
    drawn: dict[str, Distribution] = {}
    """What the levels of those factors were drawn from that were not listed; the cells hold the values."""
    sample: Sample | None = None
    """How they were drawn; null: nothing was."""
    cells: tuple[Cell, ...]
    """The table's rows, with whole requests."""
    seeds: tuple[int, ...]
    """Seeds of each cell that does not ask for fewer."""
    contrasts: tuple[Contrast, ...] = ()
    """Pairs that are compared."""
    claims: tuple[Claim, ...] = ()
    """What the source says."""
    margin_points: float | None = None
    """Differences smaller than this, in percentage points, count as none; null: by the data set."""
    pictures: tuple[Picture, ...] = ("curves",)
    """Which pictures say most."""
    published_tables: tuple[PublishedTable, ...] = ()
    """The source's tables, as printed."""
    notes: tuple[str, ...] = ()
    """What a reader must know."""
    final: bool = False
    """Whether it is decided once, when all seeds have ended, and never has more of them."""
    looks: tuple[int, ...] = ()
    """How many seeds there were when seeds were added, and in the end; empty where none were."""
    same_as: dict[str, str] = {}
    """Cells that train what an earlier one trains, and the keys of those, whose experiment and runs they share."""
    whole: bool = True
    """Whether every cell is run as the source did, at full scale."""
    sources: tuple[str, ...] = ()
    """Keys of the cells that are the source's work: its numbers stand beside these alone."""
    changes: tuple[str, ...] = ()
    """What a recipe's cells have otherwise than at full scale, a few words each."""
    is_smaller: bool = False
    """Whether some of that is fewer images or epochs."""
    left_out: str = ""
    """Why the source's numbers are missing beside some cells or all; empty where they are not."""
    full_seeds: int | None = None
    """How many seeds the recipe has at full scale; null: it is no recipe's."""

    @model_validator(mode="after")
    def _keys_are_known(self) -> Self:
        keys = [cell.key for cell in self.cells]
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"two cells are called {twice!r}")
        for contrast in self.contrasts:
            for key in (contrast.treatment, contrast.control):
                if key not in keys:
                    raise ValueError(
                        f"a contrast names cell {key!r}, which is none: {did_you_mean(key, keys)}"
                    )
        return self

    def cell(self, key: str) -> Cell:
        """The cell of that key; raises KeyError."""
        return next(cell for cell in self.cells if cell.key == key)

    def trained(self, key: str) -> str:
        """The key of the cell that has the experiment: its own, or that of the earlier one that it is the same as."""
        return self.same_as.get(key, key)

    @property
    def own_cells(self) -> tuple[Cell, ...]:
        """The cells that have an experiment of their own."""
        return tuple(cell for cell in self.cells if cell.key not in self.same_as)

    def foundation_of(self, cell: Cell) -> str | None:
        """The key of the cell whose experiment is the cell's foundation; None where it names none."""
        key = foundation_cell(cell.request)
        return None if key is None else self.trained(key)

    @property
    def scale_said(self) -> str:
        """What was run otherwise than at full scale, with the seeds that there are now; empty where nothing was."""
        few = seeds_said(len(self.seeds), self.full_seeds or 0)
        changes = [*self.changes, *([few] if few else [])]
        if not changes:
            return ""
        said = "Not at full scale" if few or self.is_smaller else "Otherwise than in the recipe"
        return f"{said}: {', '.join(changes)}."

    @property
    def provenance(self) -> tuple[str, ...]:
        """What stands below every table: what was run otherwise, and whose numbers are therefore missing."""
        return tuple(said for said in (self.scale_said, self.left_out) if said)

    @property
    def remarks(self) -> tuple[str, ...]:
        """All that a reader must know."""
        return tuple(said for said in (self.scale_said, *self.notes, self.left_out) if said)

    def seeds_of(self, cell: Cell) -> tuple[int, ...]:
        """The seeds that a cell is run with."""
        return self.seeds if cell.num_seeds is None else self.seeds[: cell.num_seeds]


def read_design(document: Any) -> Design:
    """A design as it was stored."""
    design = Design.model_validate(document, strict=False)
    return design if "sources" in document else _of_an_earlier_version(design)


def _of_an_earlier_version(design: Design) -> Design:
    """Which cells were the source's work was not kept: where not everything was, nothing is taken for it. The sentence
    on scale was the recipe's and not of what was run.
    """
    if design.whole:
        return design.model_copy(update={"sources": tuple(cell.key for cell in design.cells)})
    stale = "Not at full scale: "
    is_recipes = any(note.startswith(stale) for note in design.notes)
    said = "Not at full scale; what was changed stands in the request. The source's numbers are left out."
    bare = {"published": None, "expected": None}
    return design.model_copy(
        update={
            "cells": tuple(cell.model_copy(update=bare) for cell in design.cells),
            "claims": tuple(
                claim for claim in design.claims if not isinstance(claim.test, Reaches)
            ),
            "notes": (
                *([said] if is_recipes else []),
                *(note for note in design.notes if not note.startswith(stale)),
            ),
        }
    )


def foundation_cell(document: Mapping[str, Any]) -> str | None:
    """The key of the cell that is a request's foundation; None where it has none, or names it in another way."""
    reference = document.get(ROLES.get(str(document.get("kind")), ""))
    return (
        reference["cell"]
        if isinstance(reference, Mapping) and isinstance(reference.get("cell"), str)
        else None
    )


def has_own_foundations(document: Mapping[str, Any]) -> bool:
    """Whether each of a request's runs is built on the foundation of its own seed."""
    reference = document.get(ROLES.get(str(document.get("kind")), ""))
    return isinstance(reference, Mapping) and reference.get("seed") == OWN


def with_seeds_of_foundations(design: Design) -> Design:
    """The design in which a cell has as many seeds as those need that are built on it seed by seed."""
    needed: dict[str, list[int | None]] = {}
    for cell in design.cells:
        key = foundation_cell(cell.request)
        if key is not None and has_own_foundations(cell.request):
            needed.setdefault(key, []).append(cell.num_seeds)

    def enough(cell: Cell) -> Cell:
        wanted = [cell.num_seeds, *needed.get(cell.key, [])]
        most = None if None in wanted else max(count for count in wanted if count is not None)
        return cell.model_copy(update={"num_seeds": most})

    return design.model_copy(update={"cells": tuple(map(enough, design.cells))})


def whole_document(design: Design, cell: Cell) -> dict[str, Any]:
    """A cell's request with seeds and title, as POST /experiments would take it; its foundation stands in it as a
    spec.

    Raises InvalidDocument where it names a cell that is none, that comes later, or that is built on another itself.
    """
    document = {**cell.request, "seeds": list(design.seeds_of(cell)), "name": cell.title[:200]}
    if document.get("kind") == "continue":
        hint = "send what goes on as an experiment: POST /experiments"
        raise InvalidDocument([FieldError("/kind", "a study's cells begin anew", hint)])
    said, key = foundation_cell(document), design.foundation_of(cell)
    if said is None or key is None:
        return document
    role = ROLES[document["kind"]]
    earlier = {
        other.key: other
        for other in design.cells[: [other.key for other in design.cells].index(cell.key)]
    }
    if key not in earlier:
        raise InvalidDocument(
            [
                FieldError(
                    f"/{role}/cell",
                    f"there is no cell {said!r} before this one",
                    did_you_mean(said, list(earlier)),
                )
            ]
        )
    spec = {
        name: value
        for name, value in earlier[key].request.items()
        if name not in ("name", "labels", "priority", "device")
    }
    rest = {name: value for name, value in document[role].items() if name != "cell"}
    if "spec" in rest:
        hint = f"change cell {key!r} itself, or give a 'spec' without 'cell'"
        raise InvalidDocument(
            [FieldError(f"/{role}/spec", f"cell {key!r} says what the {role} is", hint)]
        )
    return {**document, role: {"seed": design.seeds[0], **rest, "spec": spec}}


def cell_request(design: Design, cell: Cell) -> Request:
    """A cell's request, checked; raises InvalidDocument."""
    document = whole_document(design, cell)
    for control in CONTROLS:
        if document.get(control):
            hint = "add a cell of kind train with the same network and procedure, and a contrast between the two"
            raise InvalidDocument(
                [FieldError(f"/{control}", "in a study the control is a cell of its own", hint)]
            )
    return read_request(document)


def factor_text(value: Factor) -> str:
    """A factor's value as people read it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
