"""What kind of value a dotted path of a request takes."""

import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from lab_models.specs.request import REQUESTS, ExperimentRequest


def is_whole_number(document: dict[str, Any], path: str) -> bool:
    """Whether the field at the path is a whole number in every network, optimizer or schedule that has it; False where
    there is no such field.
    """
    kind = document.get("kind", "train")
    request = REQUESTS.get(kind, ExperimentRequest) if isinstance(kind, str) else ExperimentRequest
    found: list[Any] = [request]
    for name in path.split("."):
        found = [
            member
            for model in found
            if isinstance(model, type) and issubclass(model, BaseModel)
            if name in model.model_fields
            for member in _members(model.model_fields[name].annotation)
        ]
    return int in found and float not in found


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, of which a union has several."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif origin is typing.Literal:
        yield from {type(value) for value in typing.get_args(annotation)}
    else:
        yield annotation
