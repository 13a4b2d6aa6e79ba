"""Along what a study's cells vary: listed levels, values of one factor that are drawn, and points that are drawn of
several together.
"""

from dataclasses import dataclass
from typing import Any

from lab_models.common.validation import FieldError, InvalidDocument, pointer, validate
from lab_models.studies.field_types import is_whole_number
from lab_models.studies.request import StudyRequest
from lab_models.studies.sampling import Distribution, Sample, drawn_alone, drawn_together


@dataclass(frozen=True)
class Axis:
    """Fields that vary together, by their paths, and the levels, which have a value for each. Every level of an axis is
    combined with every one of the others.
    """

    paths: tuple[str, ...]
    levels: tuple[tuple[Any, ...], ...]
    is_drawn: bool = False
    are_points: bool = False
    """Whether the levels are the points of `sample`, which have numbers for names."""


def distributions_of(request: StudyRequest) -> dict[str, Distribution]:
    """What is drawn of `vary`, by path; raises InvalidDocument with pointers into the request."""
    return {
        path: _read(path, said)
        for path, said in (request.vary or {}).items()
        if isinstance(said, dict)
    }


def axes_of(request: StudyRequest, drawn: dict[str, Distribution]) -> list[Axis]:
    """The axes, each where its first path stands in `vary`; raises InvalidDocument where what is asked for cannot be
    drawn.
    """
    vary, spec, sample = request.vary or {}, request.spec or {}, request.sample or Sample()
    together = [path for path, said in drawn.items() if said.n is None]
    _refuse_numbers(request.sample, drawn, together)
    axes = []
    for path, said in vary.items():
        if path not in drawn:
            axes.append(Axis((path,), tuple((value,) for value in said)))
        elif path not in together:
            is_whole = is_whole_number(spec, path)
            values = drawn_alone(path, drawn[path], is_whole=is_whole, seed=sample.seed)
            axes.append(Axis((path,), tuple(values), is_drawn=True))
        elif path == together[0]:
            factors = [(each, drawn[each], is_whole_number(spec, each)) for each in together]
            points = drawn_together(factors, sample.points or 1, sample.seed)
            axes.append(Axis(tuple(together), tuple(points), is_drawn=True, are_points=True))
    return axes


def _read(path: str, said: Any) -> Distribution:
    try:
        distribution = validate(Distribution, said)
    except InvalidDocument as error:
        place = pointer(["vary", path])
        raise InvalidDocument(
            [FieldError(place + one.pointer, one.message, one.hint) for one in error.errors]
        ) from error
    if distribution.choices is not None and distribution.n is not None:
        message = (
            "'choices' are drawn together with other factors, so they have no 'n' of their own"
        )
        hint = f'to cross them with everything else write the list itself: {{"{path}": [...]}}'
        raise InvalidDocument([FieldError(pointer(["vary", path, "n"]), message, hint)])
    return distribution


def _refuse_numbers(
    sample: Sample | None, drawn: dict[str, Distribution], together: list[str]
) -> None:
    points = None if sample is None else sample.points
    if together and points is None:
        path = together[0]
        how = drawn[path].kind
        message = f"it is not said how many values are drawn of {path!r}"
        hint = (
            'say "sample": {"points": 16} beside \'vary\', for points of all such factors together'
            + (
                f", or give {how!r} an 'n' beside it, for values that are crossed"
                * (how != "choices")
            )
        )
        raise InvalidDocument([FieldError(pointer(["vary", path]), message, hint)])
    if sample is not None and not drawn:
        message = "nothing in 'vary' is drawn"
        hint = 'write {"log": [0.0001, 0.1]} in place of a list of values'
        raise InvalidDocument([FieldError("/sample", message, hint)])
    if points is not None and not together:
        message = "every factor that is drawn has its own 'n', so there are no points to be drawn"
        hint = "leave 'n' out of those that are to be drawn together, or leave 'points' out"
        raise InvalidDocument([FieldError("/sample/points", message, hint)])
