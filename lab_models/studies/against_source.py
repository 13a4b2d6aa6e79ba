"""A recipe's design held against the recipe's source: whose numbers may stand beside which cells, and what is said of
the others.
"""

from collections.abc import Mapping
from functools import cache
from typing import Literal

from lab_models.common.validation import InvalidDocument
from lab_models.datasets.catalog import spoken_name
from lab_models.recipes.catalog import recipe
from lab_models.recipes.cell_checks import effective_specs
from lab_models.recipes.recipe import Claim, Reaches, Recipe, dataset_of
from lab_models.specs import AnySpec, Trained
from lab_models.studies.design import Design, cell_request
from lab_models.studies.source_work import changes_said, is_smaller, is_sources_work


def held_against_source(design: Design, known: Recipe, scale: Literal["smoke", "full"]) -> Design:
    """The design without the source's numbers, and without claims about them, wherever a cell is not the source's work;
    notes say what was changed and what is therefore left out.

    Cells that are no valid requests are none of the source's work; whoever prepares the study refuses them.
    """
    ours, theirs = _specs(design), _source_specs(known.name)
    sources = tuple(
        key for key, spec in ours.items() if scale == "full" and is_sources_work(spec, theirs[key])
    )
    what = _numbers_of(known)
    is_whole = len(sources) == len(design.cells)
    of_its_data = {dataset_of(cell) for cell in known.cells}
    on_its_data = any(dataset_of(cell) in of_its_data for cell in design.cells)
    cells = tuple(
        cell
        if cell.key in sources
        else cell.model_copy(update={"published": None, "expected": None})
        for cell in design.cells
    )
    return design.model_copy(
        update={
            "cells": cells,
            "claims": tuple(claim for claim in design.claims if not _is_idle(claim, sources)),
            "whole": is_whole,
            "sources": sources,
            "changes": changes_said(ours, theirs),
            "is_smaller": scale == "smoke" or is_smaller(ours, theirs),
            "full_seeds": known.scales["full"].seeds,
            "margin_points": design.margin_points if on_its_data else None,
            "reproduces": known.reproduces if is_whole else f"in design alone, {known.reproduces}",
            "notes": (*(known.notes if on_its_data else ()), *design.notes),
            "left_out": ""
            if is_whole or not what
            else _left_out(what, ours, theirs, sources, scale),
        }
    )


def _is_idle(claim: Claim, sources: tuple[str, ...]) -> bool:
    """Whether it is about the source's number of a cell that is not the source's work."""
    return isinstance(claim.test, Reaches) and claim.test.cell not in sources


def _numbers_of(known: Recipe) -> str:
    """What the recipe has to hold a study against, as a sentence begins with it; empty where it has nothing."""
    printed = [text for table in known.published_tables for row in table.rows for text in row]
    if any(cell.published is not None for cell in known.cells) or any(
        character.isdigit() for text in printed for character in text
    ):
        return "The source's numbers"
    is_expected = any(cell.expected is not None for cell in known.cells)
    return "The numbers that are expected" if is_expected else ""


def _left_out(
    what: str,
    ours: Mapping[str, AnySpec],
    theirs: Mapping[str, AnySpec],
    sources: tuple[str, ...],
    scale: Literal["smoke", "full"],
) -> str:
    if sources:
        return (
            f"{what} stand beside the cells that are run as the source did, and beside no others."
        )
    if scale == "smoke":
        return f"{what} are left out: nothing at smoke scale is held against them."
    here, there = (
        {spoken_name(specs[key].dataset.name) for key in ours} for specs in (ours, theirs)
    )
    if here and not here & there:
        return f"{what} are left out: they are of {_listed(there)}, and this is {_listed(here)}."
    return f"{what} are left out: they are of other settings."


def _listed(names: set[str]) -> str:
    return " and ".join(sorted(names))


@cache
def _source_specs(name: str) -> dict[str, AnySpec]:
    return effective_specs(recipe(name))


def _specs(design: Design) -> dict[str, AnySpec]:
    """Each cell's effective spec by its key, of those that are valid requests."""
    found: dict[str, AnySpec] = {}
    for cell in design.cells:
        try:
            request = cell_request(design, cell)
            reference = request.reference
            spec = None if reference is None else reference.spec
            foundation = request.published if spec is None else Trained(spec=spec)
            if reference is None or foundation is not None:
                found[cell.key] = request.spec_with(foundation)
        except (InvalidDocument, ValueError):
            continue
    return found
