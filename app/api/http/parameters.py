"""What a route's function asks for by its parameters: said in `Annotated`, and filled in the pass; what says nothing
here is FastAPI's to fill.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, get_args, get_origin

from fastapi import Request
from sqlmodel import Session
from starlette.background import BackgroundTasks


@dataclass
class Afterwards:
    """What is done once the transaction is committed: `soon` in the same pass, since it takes no time; `later` when the
    answer has left.
    """

    _soon: list[Callable[[], None]] = field(default_factory=list)
    background: BackgroundTasks = field(default_factory=BackgroundTasks)

    def soon(self, work: Callable[..., None], *arguments: Any) -> None:
        """Right after the commit; must neither take time nor raise."""
        self._soon.append(lambda: work(*arguments))

    def later(self, work: Callable[..., None], *arguments: Any) -> None:
        """After the answer has left, in a thread."""
        self.background.add_task(work, *arguments)

    def committed(self) -> None:
        """Do what was to be done soon."""
        while self._soon:
            self._soon.pop(0)()


@dataclass(frozen=True)
class Opened:
    """The session of the pass."""

    writes: bool


@dataclass(frozen=True)
class Loaded:
    """What a function of such parameters returns, called in the pass."""

    load: Callable[..., Any]


@dataclass(frozen=True)
class Given:
    """Something of the application or of the request that takes no time to have."""

    get: Callable[[Request], Any]


@dataclass(frozen=True)
class Kept:
    """The `Afterwards` of the pass."""


Marker = Opened | Loaded | Given | Kept
MARKERS: Final = (Opened, Loaded, Given, Kept)


class ArgumentPlan:
    """How a function's arguments come about: `markers` in the pass, `outer` by FastAPI, those of its loaders included.

    `session_kind` says whether the session that it asks for writes, and is None where it asks for none. Raises
    TypeError where it asks for both kinds.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.markers: dict[str, Marker] = {}
        self.outer: dict[str, inspect.Parameter] = {}
        self._own: list[str] = []
        self._loaders: dict[str, ArgumentPlan] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            marker = _marker_of(parameter.annotation)
            if marker is None:
                self._own.append(name)
                self.outer[name] = parameter
                continue
            self.markers[name] = marker
            if isinstance(marker, Loaded):
                self._loaders[name] = loader = ArgumentPlan(marker.load)
                for needed, wanted in loader.outer.items():
                    self.outer.setdefault(needed, wanted)
        kinds = {marker.writes for marker in self.markers.values() if isinstance(marker, Opened)}
        kinds |= {
            loader.session_kind
            for loader in self._loaders.values()
            if loader.session_kind is not None
        }
        if len(kinds) > 1:
            raise TypeError(
                f"{function.__name__} asks for a session that reads and for one that writes"
            )
        self.session_kind: bool | None = kinds.pop() if kinds else None

    def arguments(
        self,
        request: Request,
        session: Session | None,
        afterwards: Afterwards,
        values: dict[str, Any],
    ) -> dict[str, Any]:
        """All arguments; rows are loaded with the session."""
        found = {name: values[name] for name in self._own}
        for name, marker in self.markers.items():
            match marker:
                case Opened():
                    found[name] = session
                case Given():
                    found[name] = marker.get(request)
                case Kept():
                    found[name] = afterwards
                case Loaded():
                    loader = self._loaders[name]
                    found[name] = loader.function(
                        **loader.arguments(request, session, afterwards, values)
                    )
        return found


def _marker_of(annotation: Any) -> Marker | None:
    if annotation is Request:
        return Given(lambda request: request)
    if get_origin(annotation) is not Annotated:
        return None
    return next((item for item in get_args(annotation)[1:] if isinstance(item, MARKERS)), None)
