"""A page and its twin: the twin writes down what it changes, all else is the page's own."""

from collections.abc import Mapping
from typing import Any

from lab_models.recipes.procedures import Part
from lab_models.recipes.recipe import Cell, Expected, Recipe, Scale
from lab_models.specs.experiment import Procedure

Changes = Mapping[str, Mapping[str, Any]]
"""Fields and their new values, by a cell's or a scale's name; `request` is merged into the cell's own."""
Cost = tuple[str, str]
"""On two CPU cores and on one data-centre GPU, each with its origin."""

OF_THE_PROCEDURE = {"dataset", *Procedure.model_fields}


def variant(
    page: Recipe,
    *,
    procedure: Part,
    cells: Changes | None = None,
    expected: Mapping[str, Expected] | None = None,
    scales: Changes | None = None,
    cost: Mapping[str, Cost] | None = None,
    **changes: Any,
) -> Recipe:
    """The page's table with networks trained by another procedure, and with what else differs: of single cells and
    scales, and of the page itself.

    What cells are expected to reach is never the page's: it is of another procedure. Raises ValueError where something
    is changed that the page does not have.
    """
    known = {cell.key for cell in page.cells} | set(page.scales)
    named = {name for part in (cells, expected, scales, cost) for name in part or ()}
    if named - known:
        raise ValueError(f"{page.name} has no {', '.join(sorted(named - known))}")
    varied = tuple(
        _varied(cell, procedure, (cells or {}).get(cell.key, {}), (expected or {}).get(cell.key))
        for cell in page.cells
    )
    rescaled = {
        name: _rescaled(scale, (scales or {}).get(name, {}), (cost or {}).get(name))
        for name, scale in page.scales.items()
    }
    return Recipe(**{**_fields(page), "cells": varied, "scales": rescaled, **changes})


def _varied(
    cell: Cell, procedure: Part, changes: Mapping[str, Any], expected: Expected | None
) -> Cell:
    own = {name: value for name, value in cell.request.items() if name not in OF_THE_PROCEDURE}
    kind = {name: value for name, value in own.items() if name == "kind"}  # people read it first
    request = {**kind, **procedure, **own, **changes.get("request", {})}
    return Cell(**{**_fields(cell), **changes, "request": request, "expected": expected})


def _rescaled(scale: Scale, changes: Mapping[str, Any], cost: Cost | None) -> Scale:
    cpu, gpu = cost or (scale.cost_cpu, scale.cost_gpu)
    return Scale(**{**_fields(scale), **changes, "cost_cpu": cpu, "cost_gpu": gpu})


def _fields(document: Recipe | Cell | Scale) -> dict[str, Any]:
    return {name: getattr(document, name) for name in type(document).model_fields}
