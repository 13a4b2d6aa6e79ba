"""Query parameters: each route takes those that it names, each once unless it is a list, and refuses every other, so
that no option is without effect because it was misspelt or said in two ways.
"""

import typing
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel


class StrictRoute(APIRoute):
    """A route that raises RequestValidationError for a parameter that it does not know, of the type `extra_forbidden`,
    and for one that is given twice.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, after a look at the names; a query that is validated as a whole model does that itself."""
        handle = super().get_route_handler()
        is_list = dict(_parameters(self.dependant))

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                count = Counter(name for name, _ in request.query_params.multi_items())
                faults = [_extra(name) for name in count if name not in is_list]
                faults += [
                    _twice(name)
                    for name in count
                    if count[name] > 1 and not is_list.get(name, True)
                ]
                if faults:
                    raise RequestValidationError(faults)
            return await handle(request)

        return strict


def query_parameters(dependant: Dependant) -> list[str]:
    """The names of a route's parameters, those of what it depends on and of its query model included."""
    return [name for name, _ in _parameters(dependant)]


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Each name, and whether it takes a list."""
    for parameter in dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, field in annotation.model_fields.items():
                yield field.alias or name, _takes_list(field.annotation)
        else:
            yield parameter.alias, _takes_list(annotation)
    for below in dependant.dependencies:
        yield from _parameters(below)


def _takes_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return origin in (list, tuple, set, frozenset) or any(
        map(_takes_list, typing.get_args(annotation))
    )


def _extra(name: str) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ("query", name), "msg": "unknown query parameter"}


def _twice(name: str) -> dict[str, Any]:
    return {"type": "given_twice", "loc": ("query", name), "msg": "is given more than once"}
