"""What a person sends to start a study: a recipe's name, a list of specs, or a spec and what to vary in it."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from lab_models.common.naming import Name, UnshowableName, shown
from lab_models.common.validation import (
    FieldError,
    InvalidDocument,
    did_you_mean,
    pointer,
    validate,
)
from lab_models.recipes.catalog import recipe
from lab_models.recipes.recipe import Cell, Contrast, Factor, Recipe
from lab_models.specs import Frozen
from lab_models.specs.base import UnknownName
from lab_models.specs.request import Labels, Seeds
from lab_models.studies.design import Design, factor_text
from lab_models.studies.overrides import with_overrides

MOST_CELLS = 1000
MOST_CONTRASTS = 60
DEFAULT_SEEDS = (0, 1, 2)
LONGEST_KEY = 100
LONGEST_SHARED = 20_000
"""Characters of what is copied into every cell, so that a thousand cells stay a few megabytes."""

OF_THE_STUDY = ("seeds", "labels", "priority", "name")
"""Fields of an experiment's body that a study sets by itself."""

Overrides = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=200)], Any], Field(max_length=100)
]
Levels = Annotated[list[Any], Field(min_length=1, max_length=100)]


class StudyRequest(Frozen):
    """A study: give `recipe`, or `specs`, or `spec` and `vary`."""

    recipe: str | None = Field(default=None, max_length=100)
    """A recipe's name; `GET /recipes` lists them."""
    scale: Literal["smoke", "full"] = "full"
    """How much of the recipe: `smoke` ends in minutes on two cores, `full` is what the source did."""
    specs: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_CELLS)] | None = None
    """Bodies as for POST /experiments, without seeds; their `name` is the cell's."""
    spec: dict[str, Any] | None = None
    """One such body, to be varied."""
    vary: (
        Annotated[
            dict[Annotated[str, Field(min_length=1, max_length=200)], Levels],
            Field(min_length=1, max_length=10),
        ]
        | None
    ) = None
    """Dotted paths of `spec` and the values that each takes; every combination is a cell."""
    seeds: Seeds | None = None
    """Replicates of each cell: a list, or how many to count from 0; null: the recipe's own number, or 3."""
    overrides: Overrides = {}
    """Dotted paths and values, put into every cell's body, such as `{"dataset.name": "digits", "epochs": 2}`."""
    cell_overrides: Annotated[dict[str, Overrides], Field(max_length=MOST_CELLS)] = {}
    """The same for single cells, by their keys."""
    contrasts: Annotated[list[Contrast], Field(max_length=1000)] | None = None
    """Pairs of cells to compare; null: the recipe's, or each level of a varied field against the first."""
    margin_points: float | None = Field(default=None, gt=0.0, le=100.0)
    """Differences smaller than this many percentage points count as none; null: 0.15 on MNIST and digits, 0.5 on
    CIFAR-10, 1 on CIFAR-100 and others.
    """
    reuse: bool = True
    """Take over the results of equal runs that have finished, instead of training them again."""
    name: Name | None = None
    """What the study is called; null: the recipe's title."""
    labels: Labels = {}
    """Your own keys and values, put on every experiment as well."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Higher starts first."""

    @model_validator(mode="after")
    def _one_kind_of_study(self) -> Self:
        given = [name for name in ("recipe", "specs", "spec") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(repr(name) for name in given) or "none of them"
            raise ValueError(f"give one of 'recipe', 'specs' or 'spec' with 'vary', not {found}")
        if (self.spec is None) != (self.vary is None):
            raise ValueError("'spec' and 'vary' go together")
        return self


def read_study_request(document: Any) -> StudyRequest:
    """A parsed document as a request; raises InvalidDocument."""
    return validate(StudyRequest, document)


def design_of(request: StudyRequest) -> Design:
    """The design that a request comes to; raises InvalidDocument where a recipe, a cell or a path is none."""
    _refuse_paths(request)
    _refuse_long(request)
    if request.recipe is not None:
        return _of_recipe(request, _known_recipe(request.recipe))
    cells = (
        list(_listed(request.specs))
        if request.specs is not None
        else list(_grid(request.spec or {}, request.vary or {}))
    )
    if len(cells) > MOST_CELLS:
        raise InvalidDocument(
            [
                FieldError(
                    "/vary", f"{len(cells):,} combinations are more than a study's {MOST_CELLS:,}"
                )
            ]
        )
    factors = tuple(request.vary or ())
    return _design(
        title=request.name
        or ("own study" if not factors else "study of " + ", ".join(_short_names(factors))),
        factors=tuple(_short_names(factors)),
        cells=_overridden(cells, request, {}, {}),
        cells_at="/specs" if request.vary is None else "/vary",
        seeds=request.seeds or DEFAULT_SEEDS,
        contrasts=_contrasts(request, _against_the_first(cells, request.vary)),
        margin_points=request.margin_points,
        pictures=("factor", "curves", "differences") if factors else ("curves", "differences"),
        whole=False,
    )


def _known_recipe(name: str) -> Recipe:
    try:
        return recipe(name)
    except UnknownName as error:
        raise InvalidDocument([FieldError("/recipe", str(error), error.hint)]) from error


def _of_recipe(request: StudyRequest, known: Recipe) -> Design:
    scale = known.scales[request.scale]
    whole = request.scale == "full" and not request.overrides and not request.cell_overrides
    smaller = (
        ""
        if whole
        else f" ({request.scale} scale{', changed' if request.overrides or request.cell_overrides else ''})"
    )
    return _design(
        title=request.name or known.title + smaller,
        question=known.question,
        reproduces=known.reproduces,
        factors=known.factors,
        cells=_overridden(known.cells, request, scale.overrides, scale.cell_overrides),
        cells_at="/recipe",
        seeds=request.seeds or tuple(range(scale.seeds)),
        contrasts=_contrasts(request, known.contrasts),
        claims=known.claims,
        margin_points=request.margin_points or known.margin_points,
        pictures=known.pictures,
        published_tables=known.published_tables,
        notes=(*known.notes, *(() if whole else (f"Not at full scale: {scale.description}",))),
        whole=whole,
    )


def _refuse_paths(request: StudyRequest) -> None:
    """What a path cannot change in a study: what is the study's own, and in a grid what a later path would put another
    value over.
    """
    places = [(["vary"], list(request.vary or {})), (["overrides"], list(request.overrides))]
    places += [
        (["cell_overrides", key], list(changes)) for key, changes in request.cell_overrides.items()
    ]
    for place, paths in places:
        for path in paths:
            field = path.partition(".")[0]
            if field in OF_THE_STUDY:
                hint = (
                    f"write {field!r} beside {place[0]!r}"
                    if field != "name"
                    else "cells are named by 'specs' or by what varies"
                )
                raise InvalidDocument(
                    [
                        FieldError(
                            pointer([*place, path]), f"in a study {field!r} is the study's", hint
                        )
                    ]
                )
    varied = list(request.vary or {})
    for number, later in enumerate(varied):
        hidden = next((path for path in varied[:number] if path.startswith(later + ".")), None)
        if hidden is not None:
            raise InvalidDocument(
                [
                    FieldError(
                        pointer(["vary", later]),
                        f"it would replace {hidden!r}, which varies too",
                        f"write {later!r} before {hidden!r}",
                    )
                ]
            )
    for place, paths in places[1:]:
        for path in paths:
            hidden = next(
                (name for name in varied if name == path or name.startswith(path + ".")), None
            )
            if hidden is not None:
                raise InvalidDocument(
                    [
                        FieldError(
                            pointer([*place, path]),
                            f"it would replace {hidden!r}, which varies",
                            "leave one of them out",
                        )
                    ]
                )


def _refuse_long(request: StudyRequest) -> None:
    for name, shared in (("spec", request.spec), ("overrides", request.overrides)):
        length = len(json.dumps(shared))
        if length > LONGEST_SHARED:
            raise InvalidDocument(
                [
                    FieldError(
                        f"/{name}",
                        f"it has {length:,} characters and goes into every cell; at most {LONGEST_SHARED:,} are"
                        " allowed",
                    )
                ]
            )


def _design(*, cells_at: str, **fields: Any) -> Design:
    try:
        return Design(**fields)
    except ValidationError as error:
        message = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())
        raise InvalidDocument(
            [FieldError("/contrasts" if message.startswith("a contrast") else cells_at, message)]
        ) from error


def _overridden(
    cells: "tuple[Cell, ...] | list[Cell]",
    request: StudyRequest,
    first: Mapping[str, Any],
    first_by_cell: Mapping[str, Any],
) -> tuple[Cell, ...]:
    """The cells with the scale's changes, then the caller's."""
    keys = [cell.key for cell in cells]
    for key in request.cell_overrides:
        if key not in keys:
            raise InvalidDocument(
                [
                    FieldError(
                        pointer(["cell_overrides", key]),
                        f"there is no cell {key[:LONGEST_KEY]!r}",
                        did_you_mean(key, keys),
                    )
                ]
            )
    changed = []
    for cell in cells:
        changes = {
            **first,
            **first_by_cell.get(cell.key, {}),
            **request.overrides,
            **request.cell_overrides.get(cell.key, {}),
        }
        changed.append(cell.model_copy(update={"request": with_overrides(cell.request, changes)}))
    return tuple(changed)


def _listed(specs: list[dict[str, Any]]) -> Iterator[Cell]:
    for number, document in enumerate(specs):
        for field in ("seeds", "labels", "priority"):
            if field in document:
                raise InvalidDocument(
                    [
                        FieldError(
                            f"/specs/{number}/{field}",
                            f"in a study {field!r} is the study's",
                            f"write it beside 'specs', not in a spec: {field}",
                        )
                    ]
                )
        name = document.get("name")
        if name is not None and not (isinstance(name, str) and 0 < len(name) <= LONGEST_KEY):
            raise InvalidDocument(
                [
                    FieldError(
                        f"/specs/{number}/name", f"must be a text of 1 to {LONGEST_KEY} characters"
                    )
                ]
            )
        if name is not None:
            _refuse_unshown(name, f"/specs/{number}/name")
        key = name or f"spec-{number}"
        yield Cell(
            key=key,
            title=key,
            request={field: value for field, value in document.items() if field != "name"},
            factors={"cell": key},
        )


def _grid(spec: dict[str, Any], vary: dict[str, list[Any]]) -> Iterator[Cell]:
    for field in OF_THE_STUDY:
        if field in spec:
            raise InvalidDocument(
                [
                    FieldError(
                        f"/spec/{field}",
                        f"in a study {field!r} is the study's",
                        "write it beside 'spec', not in it",
                    )
                ]
            )
    names = _short_names(tuple(vary))
    for levels in itertools.islice(itertools.product(*vary.values()), MOST_CELLS + 1):
        texts = [_level(value) for value in levels]
        key = ",".join(
            f"{path}={text if isinstance(text, str) else json.dumps(text)}"
            for path, text in zip(vary, texts, strict=True)
        )
        if len(key) > LONGEST_KEY:
            raise InvalidDocument(
                [
                    FieldError(
                        "/vary",
                        f"the cell {key[:60]!r}… would have a name of more than {LONGEST_KEY} characters",
                        "use 'specs' with names",
                    )
                ]
            )
        yield Cell(
            key=key,
            title=", ".join(
                f"{name} {factor_text(text)}" for name, text in zip(names, texts, strict=True)
            ),
            request=with_overrides(spec, dict(zip(vary, levels, strict=True))),
            factors=dict(zip(names, texts, strict=True)),
        )


def _level(value: Any) -> Factor:
    """A level as a table shows it: a number or text as it is, an object by its name or as JSON."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("name"), str):
        return str(value["name"])
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _short_names(paths: tuple[str, ...]) -> list[str]:
    """The last part of each path, or the whole path where two end alike."""
    last = [path.rpartition(".")[2] for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


def _contrasts(request: StudyRequest, by_default: "tuple[Contrast, ...]") -> tuple[Contrast, ...]:
    for number, contrast in enumerate(request.contrasts or ()):
        for field in ("factor", "title", "family"):
            _refuse_unshown(getattr(contrast, field), f"/contrasts/{number}/{field}")
    return by_default if request.contrasts is None else tuple(request.contrasts)


def _refuse_unshown(name: str, place: str) -> None:
    try:
        shown(name)
    except UnshowableName as error:
        raise InvalidDocument([FieldError(place, str(error))]) from error


def _against_the_first(
    cells: list[Cell], vary: dict[str, list[Any]] | None
) -> tuple[Contrast, ...]:
    """Each later spec against the first; in a grid each level of a factor against its first, the others being equal.
    Too many are none.
    """
    if vary is None:
        return tuple(
            Contrast(treatment=cell.key, control=cells[0].key, factor="")
            for cell in cells[1 : MOST_CONTRASTS + 1]
        )
    combinations = list(itertools.product(*(range(len(levels)) for levels in vary.values())))
    keys = dict(zip(combinations, (cell.key for cell in cells), strict=False))
    found = []
    for place, path in enumerate(vary):
        for combination in combinations:
            if combination[place] > 0:
                control = (*combination[:place], 0, *combination[place + 1 :])
                found.append(
                    Contrast(
                        treatment=keys[combination], control=keys[control], factor=path, family=path
                    )
                )
    return tuple(found) if len(found) <= MOST_CONTRASTS else ()
