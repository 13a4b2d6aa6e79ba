"""`PATH=VALUE`, and a value put in its place in a request."""

import argparse
import copy
import json
from typing import Any, Final

from training_lab.errors import Unusable

ARCHITECTURES: Final = ("mlp", "cnn", "henet", "resnet18", "vgg", "layers")
"""Names of networks that are no preset."""
NETWORKS: Final = ("model", "student")
NAMED: Final = ("dataset", "optimizer", "schedule", "features")
"""Parts of a request that a bare name may stand for."""


def change(text: str) -> tuple[str, Any]:
    """`PATH=VALUE`; the value is JSON, or else a text. Of labels and names no number: `1.10` is not 1.1."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise argparse.ArgumentTypeError(
            f"write PATH=VALUE, such as epochs=2 or dataset.name=digits, not {text!r}"
        )
    try:
        found = json.loads(value, parse_constant=_refuse)
    except ValueError:
        return path, value
    is_text = path == "name" or path.startswith("labels.")
    return path, value if is_text and isinstance(found, int | float) else found


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Put the value there; objects on the way are made where they are missing or a bare name, and in a list a place is
    a number, counted from 0. Raises Unusable where a path leads past the end of a list or through a number.
    """
    *way, last = parts = path.split(".")
    if not all(parts):
        raise Unusable(
            f"{path!r} is no path: write names with dots between, as in epochs or dataset.train_limit"
        )
    place: Any = document
    for name in way:
        key = _key(place, name, path)
        part = opened(name, place[key] if isinstance(key, int) else place.get(key))
        if not isinstance(part, dict | list):
            raise Unusable(f"{name!r} holds no fields here, so {path!r} leads nowhere")
        place[key] = part
        place = part
    place[_key(place, last, path)] = copy.deepcopy(value)


def opened(name: str, part: Any) -> Any:
    """The object that a missing part or a bare name stands for; anything else as it is."""
    if part is None:
        return {}
    if not isinstance(part, str):
        return part
    if name in NETWORKS:
        return {"arch" if part.lower() in ARCHITECTURES else "preset": part}
    return {"name": part} if name in NAMED else part


def _key(place: dict[str, Any] | list[Any], name: str, path: str) -> str | int:
    if isinstance(place, dict):
        return name
    if not name.isdecimal() or int(name) >= len(place):
        raise Unusable(
            f"{name!r} is no place in a list of {len(place)}, counted from 0, so {path!r} leads nowhere"
        )
    return int(name)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
