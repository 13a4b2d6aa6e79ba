"""From what a person asks for to a study's design: a recipe's, or one of its own."""

import itertools
from typing import Any

from pydantic import ValidationError

from lab_models.common.validation import FieldError, InvalidDocument
from lab_models.recipes.catalog import recipe
from lab_models.recipes.recipe import Cell, Contrast, Recipe
from lab_models.specs.base import UnknownName
from lab_models.statistics.looks import Look, percent
from lab_models.studies.against_source import held_against_source
from lab_models.studies.axes import Axis, axes_of, distributions_of
from lab_models.studies.cells import grid_cells, listed_cells, overridden, short_names
from lab_models.studies.design import Design
from lab_models.studies.refusals import refuse_long, refuse_paths, refuse_unshown
from lab_models.studies.request import MOST_CELLS, StudyRequest
from lab_models.studies.sampling import Sample

MOST_CONTRASTS = 60
DEFAULT_SEEDS = (0, 1, 2)
NO_FAMILIES = (
    "'family' of a contrast means nothing any more: all that is tested on a metric is one family."
)


def design_of(request: StudyRequest) -> Design:
    """The design that a request comes to; raises InvalidDocument where a recipe, a cell or a path is none."""
    refuse_paths(request)
    refuse_long(request)
    if request.recipe is not None:
        return _of_recipe(request, _known_recipe(request.recipe))
    if request.specs is not None:
        return _of_list(request, list(listed_cells(request.specs)))
    return _of_grid(request)


def _of_list(request: StudyRequest, cells: list[Cell]) -> Design:
    return _design(
        title=request.name or "own study",
        cells=overridden(cells, request, {}, {}),
        cells_at="/specs",
        contrasts=_contrasts(request, _against_the_first(cells)),
        pictures=("curves", "differences"),
        **_own(request),
    )


def _of_grid(request: StudyRequest) -> Design:
    """Every combination of what is listed, and of what is drawn."""
    paths, drawn = tuple(request.vary or ()), distributions_of(request)
    axes = axes_of(request, drawn)
    cells = list(grid_cells(request.spec or {}, paths, axes))
    if len(cells) > MOST_CELLS:
        raise InvalidDocument(
            [
                FieldError(
                    "/vary", f"{len(cells):,} combinations are more than a study's {MOST_CELLS:,}"
                )
            ]
        )
    names = dict(zip(paths, short_names(paths), strict=True))
    contrasts = _contrasts(request, _against_the_first_level(cells, axes))
    pictures = ("factor", "curves", "differences")
    return _design(
        title=request.name or "study of " + ", ".join(names.values()),
        factors=tuple(names.values()),
        paths=paths,
        drawn={names[path]: distribution for path, distribution in drawn.items()},
        sample=(request.sample or Sample()) if drawn else None,
        cells=overridden(cells, request, {}, {}),
        cells_at="/vary",
        contrasts=contrasts,
        # what is drawn is compared with nothing
        pictures=pictures if contrasts or not drawn else pictures[:2],
        **_own(request),
    )


def _own(request: StudyRequest) -> dict[str, Any]:
    """What a study without a recipe says of itself."""
    return {
        "seeds": request.seeds or DEFAULT_SEEDS,
        "margin_points": request.margin_points,
        "final": request.final,
        "notes": _on_families(request),
        "whole": False,
    }


def _known_recipe(name: str) -> Recipe:
    try:
        return recipe(name)
    except UnknownName as error:
        raise InvalidDocument([FieldError("/recipe", str(error), error.hint)]) from error


def _of_recipe(request: StudyRequest, known: Recipe) -> Design:
    scale = known.scales[request.scale]
    cells = overridden(known.cells, request, scale.overrides, scale.cell_overrides)
    design = _design(
        title=known.on_their_data(known.title_template, cells),
        question=known.on_their_data(known.question_template, cells),
        factors=known.factors,
        cells=cells,
        cells_at="/recipe",
        seeds=request.seeds or tuple(range(scale.seeds)),
        contrasts=_contrasts(request, known.contrasts),
        claims=known.claims,
        margin_points=known.margin_points,
        pictures=known.pictures,
        published_tables=known.published_tables,
        notes=(_on_seeds(request, scale.seeds), *_on_families(request)),
        final=request.final,
    )
    held = held_against_source(design, known, request.scale)
    is_changed = bool(request.overrides or request.cell_overrides) and not held.whole
    how = [
        *(["smoke scale"] if request.scale == "smoke" else []),
        *(["changed"] if is_changed else []),
    ]
    title = held.title + (f" ({', '.join(how)})" if how else "")
    margin = request.margin_points or held.margin_points
    return held.model_copy(update={"title": request.name or title, "margin_points": margin})


def _design(*, cells_at: str, **fields: Any) -> Design:
    try:
        return Design(**fields)
    except ValidationError as error:
        message = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise InvalidDocument(
            [FieldError("/contrasts" if message.startswith("a contrast") else cells_at, message)]
        ) from error


def _contrasts(request: StudyRequest, by_default: "tuple[Contrast, ...]") -> tuple[Contrast, ...]:
    for number, contrast in enumerate(request.contrasts or ()):
        for field in ("factor", "title", "family"):
            refuse_unshown(getattr(contrast, field), f"/contrasts/{number}/{field}")
    return by_default if request.contrasts is None else tuple(request.contrasts)


def _on_seeds(request: StudyRequest, recipes_own: int) -> str:
    """That the number of seeds is fixed beforehand, and what the look at them is decided at."""
    count = recipes_own if request.seeds is None else len(request.seeds)
    others = "" if count == recipes_own else f" (the recipe's own number is {recipes_own})"
    level = percent((Look.FINAL if request.final else Look.PLANNED).level(count))
    look = "the look at all of them, the only one," if request.final else "the look at all of them"
    plural = "" if count == 1 else "s"
    return f"{count} seed{plural} of each cell{others}, fixed beforehand: {look} is decided at {level}."


def _on_families(request: StudyRequest) -> tuple[str, ...]:
    return (NO_FAMILIES,) if any(one.family for one in request.contrasts or ()) else ()


def _against_the_first(cells: list[Cell]) -> tuple[Contrast, ...]:
    """Each later spec against the first."""
    return tuple(
        Contrast(treatment=cell.key, control=cells[0].key, factor="")
        for cell in cells[1 : MOST_CONTRASTS + 1]
    )


def _against_the_first_level(cells: list[Cell], axes: list[Axis]) -> tuple[Contrast, ...]:
    """Each listed level of a factor against its first, all else being equal, also where that was drawn. What was drawn
    itself has no first: it is ranked, not compared. Too many are none.
    """
    combinations = list(itertools.product(*(range(len(axis.levels)) for axis in axes)))
    keys = dict(zip(combinations, (cell.key for cell in cells), strict=False))
    found = []
    for place, axis in enumerate(axes):
        for combination in combinations:
            if combination[place] > 0 and not axis.is_drawn:
                path = axis.paths[0]
                control = (*combination[:place], 0, *combination[place + 1 :])
                found.append(
                    Contrast(treatment=keys[combination], control=keys[control], factor=path)
                )
    return tuple(found) if len(found) <= MOST_CONTRASTS else ()
