"""A study's cells: those of a list or a grid, and all of them with what a person changes in them."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lab_models.common.validation import FieldError, InvalidDocument, did_you_mean, pointer
from lab_models.recipes.recipe import Cell, Factor
from lab_models.studies.axes import Axis
from lab_models.studies.design import factor_text
from lab_models.studies.overrides import with_overrides
from lab_models.studies.refusals import refuse_unshown
from lab_models.studies.request import LONGEST_KEY, MOST_CELLS, OF_THE_STUDY, StudyRequest


def listed_cells(specs: list[dict[str, Any]]) -> Iterator[Cell]:
    """A cell for each body of a list; raises InvalidDocument where one says what the study says, or has no fit name."""
    for number, document in enumerate(specs):
        for field in ("seeds", "labels", "priority", "device"):
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
            refuse_unshown(name, f"/specs/{number}/name")
        key = name or f"spec-{number}"
        yield Cell(
            key=key,
            title=key,
            request={field: value for field, value in document.items() if field != "name"},
            factors={"cell": key},
        )


def grid_cells(spec: dict[str, Any], paths: Sequence[str], axes: Sequence[Axis]) -> Iterator[Cell]:
    """A cell for each combination, one more than are allowed at the most; raises InvalidDocument where the body says
    what the study says, or a name gets too long.
    """
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
    names = short_names(tuple(paths))
    numbered = [list(enumerate(axis.levels)) for axis in axes]
    for levels in itertools.islice(itertools.product(*numbered), MOST_CELLS + 1):
        values = {
            path: value
            for axis, (_, level) in zip(axes, levels, strict=True)
            for path, value in zip(axis.paths, level, strict=True)
        }
        key = ",".join(
            f"point-{number}" if axis.are_points else f"{axis.paths[0]}={_text(level[0])}"
            for axis, (number, level) in zip(axes, levels, strict=True)
        )
        _refuse_long_key(key)
        texts = [_level(values[path]) for path in paths]
        yield Cell(
            key=key,
            title=", ".join(
                f"{name.replace('_', ' ')} {factor_text(text)}"
                for name, text in zip(names, texts, strict=True)
            ),
            request=with_overrides(spec, {path: values[path] for path in paths}),
            factors=dict(zip(names, texts, strict=True)),
        )


def _refuse_long_key(key: str) -> None:
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


def overridden(
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


def short_names(paths: tuple[str, ...]) -> list[str]:
    """The last part of each path, with what its numbers count; or the whole path where two end alike."""
    last = [LAST_PART.findall(path)[-1] for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


LAST_PART: Final = re.compile(r"(?:^|(?<=\.))[^.]*(?:\.\d+)*(?=\.|$)")
"""`depth`; `layers.3` of a place in a list."""


def _text(value: Any) -> str:
    """A level as a cell's key has it."""
    level = _level(value)
    return level if isinstance(level, str) else json.dumps(level)


def _level(value: Any) -> Factor:
    """A level as a table shows it: a number or text as it is, an object by its name or as JSON."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("name"), str):
        return str(value["name"])
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
