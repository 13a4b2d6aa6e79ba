"""A study's cells: those of a list or a grid, and all of them with what a person changes in them."""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lab_models.common.validation import FieldError, InvalidDocument, did_you_mean, pointer
from lab_models.recipes.recipe import Cell, Factor
from lab_models.studies.design import factor_text
from lab_models.studies.overrides import with_overrides
from lab_models.studies.refusals import refuse_unshown
from lab_models.studies.request import LONGEST_KEY, MOST_CELLS, OF_THE_STUDY, StudyRequest


def listed_cells(specs: list[dict[str, Any]]) -> Iterator[Cell]:
    """A cell for each body of a list; raises InvalidDocument where one says what the study says, or has no fit name."""
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
            refuse_unshown(name, f"/specs/{number}/name")
        key = name or f"spec-{number}"
        yield Cell(
            key=key,
            title=key,
            request={field: value for field, value in document.items() if field != "name"},
            factors={"cell": key},
        )


def grid_cells(spec: dict[str, Any], vary: dict[str, list[Any]]) -> Iterator[Cell]:
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
    names = short_names(tuple(vary))
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
    """The last part of each path, or the whole path where two end alike."""
    last = [path.rpartition(".")[2] for path in paths]
    return [path if last.count(name) > 1 else name for path, name in zip(paths, last, strict=True)]


def _level(value: Any) -> Factor:
    """A level as a table shows it: a number or text as it is, an object by its name or as JSON."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("name"), str):
        return str(value["name"])
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
