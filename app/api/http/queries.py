"""Query parameters: each route takes those that it names, and refuses every other, so that no option is without effect
because it was misspelt.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel


class StrictRoute(APIRoute):
    """A route that raises RequestValidationError, of the type `extra_forbidden`, for a parameter that it does not
    know.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, after a look at the names; a query that is validated as a whole model does that itself."""
        handle = super().get_route_handler()
        known = frozenset(query_parameters(self.dependant))

        async def strict(request: Request) -> Response:
            if request.scope["query_string"]:
                unknown = dict.fromkeys(name for name in request.query_params if name not in known)
                if unknown:
                    raise RequestValidationError([_extra(name) for name in unknown])
            return await handle(request)

        return strict


def query_parameters(dependant: Dependant) -> list[str]:
    """The names of a route's parameters, those of what it depends on and of its query model included."""
    found = []
    for parameter in dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields.items()
            found += [field.alias or name for name, field in fields]
        else:
            found.append(parameter.alias)
    for below in dependant.dependencies:
        found += query_parameters(below)
    return found


def _extra(name: str) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ("query", name), "msg": "unknown query parameter"}
