"""In which layers lists of layers differ, by the paths that a study varies."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from lab_models.specs.layer_list import ENTRIES
from lab_models.specs.layer_names import SHORT

LISTS: Final = ("model.layers", "student.layers")
"""How paths to lists of layers end."""
WITHIN: Final = ("residual", "layers")
DEFAULTS: Final = {
    entry.key: {
        name: field.default for name, field in entry.model_fields.items() if not field.is_required()
    }
    for entry in ENTRIES
}


def layers_apart(path: str, values: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    """What differs between the `values` that specs have at this path, each with a path of its own: single fields of
    layers where lists are of one length, in which what is not said has its default; else the values as they are.
    """
    if path.endswith(LISTS):
        yield from _lists_apart(path, values)
    else:
        yield path, list(values)


def places_within(path: str, value: Any) -> Iterator[str]:
    """The paths of all layers in a list of layers, and of their fields; nothing in anything else."""
    if path.endswith((*LISTS, *(f".{name}" for name in WITHIN))) and isinstance(value, list):
        for number, layer in enumerate(value):
            yield f"{path}.{number}"
            for name, inner in layer.items() if isinstance(layer, dict) else ():
                yield f"{path}.{number}.{name}"
                yield from places_within(f"{path}.{number}.{name}", inner)


def _lists_apart(path: str, values: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    if not all(isinstance(value, list) and len(value) == len(values[0]) for value in values):
        yield path, list(values)
        return
    for number, layers in enumerate(zip(*values, strict=True)):
        if any(layer != layers[0] for layer in layers):
            yield from _one_apart(f"{path}.{number}", layers)


def _one_apart(path: str, layers: Sequence[Any]) -> Iterator[tuple[str, list[Any]]]:
    whole = [_with_defaults(layer) for layer in layers]
    if not all(layer.keys() == whole[0].keys() for layer in whole) or not whole[0]:
        yield path, list(layers)
        return
    for name in whole[0]:
        said = [layer[name] for layer in whole]
        if any(one != said[0] for one in said):
            yield from (
                _lists_apart(f"{path}.{name}", said)
                if name in WITHIN
                else ((f"{path}.{name}", said),)
            )


def _with_defaults(layer: Any) -> dict[str, Any]:
    """All fields of a layer in its shortest form; none of what is no layer."""
    said = SHORT.get(layer) if isinstance(layer, str) else layer
    kind = next((key for key in DEFAULTS if key in said), None) if isinstance(said, dict) else None
    return {} if kind is None or kind == "activation" else {**DEFAULTS[kind], **(said or {})}
