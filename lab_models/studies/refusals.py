"""What a study cannot be asked for, beyond what each field says by itself."""

import json

from lab_models.common.naming import UnshowableName, shown
from lab_models.common.validation import FieldError, InvalidDocument, pointer
from lab_models.studies.request import OF_THE_STUDY, StudyRequest

LONGEST_SHARED = 20_000
"""Characters of what is copied into every cell, so that a thousand cells stay a few megabytes."""


def refuse_paths(request: StudyRequest) -> None:
    """Raises InvalidDocument for what a path cannot change in a study: what is the study's own, and in a grid what a
    later path would put another value over.
    """
    places = [(["vary"], list(request.vary or {})), (["overrides"], list(request.overrides))]
    places += [
        (["cell_overrides", key], list(changes)) for key, changes in request.cell_overrides.items()
    ]
    for place, paths in places:
        for path in paths:
            field = path.partition(".")[0]
            if field in OF_THE_STUDY:
                hint = (
                    f"write {field!r} beside {place[0]!r}"
                    if field != "name"
                    else "cells are named by 'specs' or by what varies"
                )
                raise InvalidDocument(
                    [
                        FieldError(
                            pointer([*place, path]), f"in a study {field!r} is the study's", hint
                        )
                    ]
                )
    varied = list(request.vary or {})
    for number, later in enumerate(varied):
        hidden = next((path for path in varied[:number] if path.startswith(later + ".")), None)
        if hidden is not None:
            raise InvalidDocument(
                [
                    FieldError(
                        pointer(["vary", later]),
                        f"it would replace {hidden!r}, which varies too",
                        f"write {later!r} before {hidden!r}",
                    )
                ]
            )
    for place, paths in places[1:]:
        for path in paths:
            hidden = next(
                (name for name in varied if name == path or name.startswith(path + ".")), None
            )
            if hidden is not None:
                raise InvalidDocument(
                    [
                        FieldError(
                            pointer([*place, path]),
                            f"it would replace {hidden!r}, which varies",
                            "leave one of them out",
                        )
                    ]
                )


def refuse_long(request: StudyRequest) -> None:
    """Raises InvalidDocument for too much of what is copied into every cell."""
    for name, shared in (("spec", request.spec), ("overrides", request.overrides)):
        length = len(json.dumps(shared))
        if length > LONGEST_SHARED:
            raise InvalidDocument(
                [
                    FieldError(
                        f"/{name}",
                        f"it has {length:,} characters and goes into every cell; at most {LONGEST_SHARED:,} are"
                        " allowed",
                    )
                ]
            )


def refuse_unshown(name: str, place: str) -> None:
    """Raises InvalidDocument for a name that people cannot be shown; `place` points to it."""
    try:
        shown(name)
    except UnshowableName as error:
        raise InvalidDocument([FieldError(place, str(error))]) from error
