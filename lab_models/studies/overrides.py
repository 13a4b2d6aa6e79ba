"""Changing single fields of a request by dotted path, as `dataset.train_limit`."""

import copy
from collections.abc import Mapping
from typing import Any

from lab_models.common.validation import FieldError, InvalidDocument, pointer
from lab_models.specs.presets import ARCHITECTURE_NAMES

NAMED_PARTS = {"dataset": "name", "optimizer": "name", "schedule": "name", "features": "name"}
"""Parts of a request that a bare string may stand for, and the field that the string is."""

NETWORKS = ("model", "student")


def with_overrides(document: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a request with the values put in their places; objects on the way are made where they are missing or a
    bare name. In a list a place is a number, counted from 0, as in `model.layers.3.conv`.

    Raises InvalidDocument, with a pointer to the path, where a path leads past the end of a list or through a number.
    """
    changed = copy.deepcopy(dict(document))
    for path, value in overrides.items():
        _put(changed, path, value)
    return changed


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *way, last = parts = path.split(".")
    if not all(parts):
        raise InvalidDocument(
            [
                FieldError(
                    pointer([path]),
                    f"{path!r} is no path; write names with dots between, as in 'dataset.train_limit'",
                )
            ]
        )
    place: Any = document
    for name in way:
        key = _key(place, name, path)
        place[key] = _opened(name, place[key] if isinstance(key, int) else place.get(key))
        place = place[key]
        if not isinstance(place, dict | list):
            raise _leads_nowhere(path, f"{name!r} holds no fields")
    place[_key(place, last, path)] = copy.deepcopy(value)


def _key(place: dict[str, Any] | list[Any], name: str, path: str) -> str | int:
    """What the name is in this object or list."""
    if isinstance(place, dict):
        return name
    if not name.isdecimal() or int(name) >= len(place):
        raise _leads_nowhere(
            path, f"{name!r} is no place in a list of {len(place)}, counted from 0"
        )
    return int(name)


def _leads_nowhere(path: str, why: str) -> InvalidDocument:
    return InvalidDocument([FieldError(pointer([path]), f"{why}, so {path!r} leads nowhere")])


def _opened(name: str, part: Any) -> Any:
    """The object that a missing part or a bare name stands for."""
    if part is None:
        return {}
    if not isinstance(part, str):
        return part
    if name in NAMED_PARTS:
        return {NAMED_PARTS[name]: part}
    if name in NETWORKS:
        return {"arch" if part in ARCHITECTURE_NAMES else "preset": part}
    return part
