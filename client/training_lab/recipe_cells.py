"""Which cell of a recipe is meant, and the request that trains it alone."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from training_lab.errors import Unusable
from training_lab.path_changes import NETWORKS, opened

MODEL: Final = "model"
RESIDUAL: Final = {"model.residual": {True: "residual", False: "plain"}}
"""What recipes call networks that differ in their shortcuts alone."""
FOUNDATIONS: Final = ("teacher", "source")
MOST_NAMED: Final = 12


@dataclass(frozen=True)
class Chosen:
    """A cell's request, and the paths of what was said that have chosen it."""

    request: dict[str, Any]
    chosen_by: tuple[str, ...] = ()


def recipe_and_cell(named: str) -> tuple[str, str | None]:
    """`RECIPE` or `RECIPE/CELL`."""
    recipe, slash, cell = named.partition("/")
    return recipe, cell if slash else None


def chosen(recipe: Mapping[str, Any], cell: str | None, said: Mapping[str, Any]) -> Chosen:
    """The recipe's cell of this name, or else the one that what is said fits: `said` has paths of a spec and values.
    Raises Unusable, with the choices, where none or several fit.
    """
    cells: Sequence[Mapping[str, Any]] = recipe["cells"]
    if cell is not None:
        found = [one for one in cells if one["key"] == cell]
        if not found:
            raise Unusable(f"{recipe['name']} has no cell {cell!r}; it has {_names(cells)}")
        return Chosen(_alone(found[0], cells))
    left, by = list(cells), []
    for path, value in said.items():
        if not _is_factor(path, recipe):
            continue
        fitting = [one for one in left if _fits(one, path, value)]
        if not fitting:
            raise Unusable(_unknown(recipe, path, value, left))
        left = fitting
        by.append(path)
    if len(left) > 1:
        named = f"{recipe['name']}/{left[0]['key']}"
        raise Unusable(
            f"{len(left)} cells of {recipe['name']} fit: {_names(left)}; name one, such as --as {named}"
        )
    return Chosen(_alone(left[0], cells), tuple(by))


def _is_factor(path: str, recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe varies what stands at this path; a network's name always chooses."""
    factors = recipe["factors"]
    if path == MODEL:
        return True
    if path in RESIDUAL:
        values = {str(one["factors"].get("network")) for one in recipe["cells"]}
        return values <= set(RESIDUAL[path].values())
    return path.rpartition(".")[2] in factors


def _fits(cell: Mapping[str, Any], path: str, value: Any) -> bool:
    factors = cell["factors"]
    if path == MODEL:
        names = {*map(str, factors.values()), cell["key"], *_network_names(cell)}
        return str(value).lower() in {name.lower() for name in names}
    if path in RESIDUAL:
        return bool(factors.get("network") == RESIDUAL[path][value])
    return bool(factors.get(path.rpartition(".")[2]) == value)


def _network_names(cell: Mapping[str, Any]) -> set[str]:
    request = cell["request"]
    there = opened(NETWORKS[0], next((request[at] for at in NETWORKS if at in request), None))
    return {
        str(there[name]) for name in ("arch", "preset") if isinstance(there, dict) and name in there
    }


def _unknown(
    recipe: Mapping[str, Any], path: str, value: Any, cells: Sequence[Mapping[str, Any]]
) -> str:
    named = f"{recipe['name']}/{cells[0]['key']}"
    shown = path.rpartition(".")[2]
    return (
        f"no cell of {recipe['name']} has the {shown} {value!r}; there are {_names(cells)}. To change one, name"
        f" it: --as {named}"
    )


def _names(cells: Sequence[Mapping[str, Any]]) -> str:
    """Each cell's key with its title."""
    shown = [
        str(one["key"]) if one["title"] == one["key"] else f"{one['key']} ({one['title']})"
        for one in cells[:MOST_NAMED]
    ]
    more = len(cells) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _alone(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The cell's request, with the spec of what it builds on in place of that one's key."""
    request = copy.deepcopy(dict(cell["request"]))
    for role in FOUNDATIONS:
        below = request.get(role)
        if isinstance(below, dict) and "cell" in below:
            spec = next(one["request"] for one in cells if one["key"] == below["cell"])
            beside = {name: value for name, value in below.items() if name != "cell"}
            request[role] = {"spec": copy.deepcopy(dict(spec)), **beside}
    return request
