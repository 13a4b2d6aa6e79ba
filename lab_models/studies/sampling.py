"""Values that are drawn instead of listed: what they are drawn from, and the same numbers on every machine.

The points are a randomized Halton sequence (Owen 2017, "A randomized Halton algorithm in R", arXiv:1706.02808): the
digits of 0, 1, 2, … in a prime base, each place of them permuted at random, read backwards as a fraction. With as few
points as a study has they cover each factor more evenly than independent draws, and better than Sobol's where their
number is no power of two (Bousquet et al. 2017, "Critical hyper-parameters: no random, no cry", arXiv:1706.03200). The
first points are the same however many are asked for, so that more of them can be had later.

The permutations come from SHA-256 and the arithmetic is `int` and `decimal`: no version of a library changes a value.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal, localcontext
from functools import lru_cache
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lab_models.common.validation import FieldError, InvalidDocument, pointer
from lab_models.specs import MAX_SEED, Frozen

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
"""Bases: one for each factor that is drawn together with others."""

LEAST_RESOLUTION = 2**32
DIGITS = 3
"""Significant digits of a value, or of the width that it is drawn from: enough to try, few enough to read."""

SPARE_DRAWS, DRAWS_EACH = 1000, 10
"""Values that come again are passed over, so many draws long: all that there are come within."""

Bounds = Annotated[tuple[float, float], Field(strict=False)]
Draw = Callable[[Decimal], Any]
"""From a number in [0, 1) to a value."""

_exact = Context(prec=40)


class Distribution(Frozen):
    """What a factor's values are drawn from, in place of a list of them: give one of `log`, `uniform` and `choices`."""

    log: Bounds | None = None
    """Bounds of values whose logarithm is uniform: each tenfold is as likely. Both above 0."""
    uniform: Bounds | None = None
    """Bounds of values that are equally likely; whole numbers for a field that is one, both ends included."""
    choices: Annotated[list[Any], Field(min_length=1, max_length=100)] | None = None
    """Values of which each point of `sample` takes one."""
    n: int | None = Field(default=None, ge=1, le=100)
    """So many values of this factor alone, crossed with everything else; null: it is drawn together with all others
    without `n`, one value for each point of `sample`.
    """

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        said = [name for name in ("log", "uniform", "choices") if getattr(self, name) is not None]
        if len(said) != 1:
            found = " and ".join(map(repr, said)) or "none of them"
            raise ValueError(f"give one of 'log', 'uniform' and 'choices', not {found}")
        return self

    @property
    def kind(self) -> str:
        """Which of the three."""
        return next(name for name in ("log", "uniform", "choices") if getattr(self, name))

    @property
    def words(self) -> str:
        """Such as `log-uniform from 0.0001 to 0.1`."""
        bounds = self.log or self.uniform
        if bounds is None:
            return f"one of {len(self.choices or ())} choices"
        how = "log-uniform" if self.log is not None else "uniform"
        return f"{how} from {bounds[0]:g} to {bounds[1]:g}"


class Sample(Frozen):
    """How much is drawn, and from which seed."""

    points: int | None = Field(default=None, ge=1, le=1000)
    """Points that the factors without `n` are drawn as, together; null where every one has its own `n`."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Another seed draws other values. It has nothing to do with the seeds of the runs."""


def drawn_alone(
    path: str, distribution: Distribution, *, is_whole: bool, seed: int
) -> list[tuple[Any, ...]]:
    """The `n` different values of one factor, rising. They depend on nothing but seed, path and distribution.

    Raises InvalidDocument, with a pointer to the place, where there are not so many or nothing can be drawn.
    """
    count, place = distribution.n or 1, pointer(["vary", path, "n"])
    draw = _draw_of(path, distribution, is_whole)
    _refuse_more(count, [(path, distribution, is_whole)], place)
    many = ((draw(_fraction(f"{seed}/{path}", 2, index)),) for index in itertools.count())
    return sorted(_different(many, count, place))


def drawn_together(
    factors: Sequence[tuple[str, Distribution, bool]], count: int, seed: int
) -> list[tuple[Any, ...]]:
    """So many different points, each a value for each factor: (path, distribution, whether it is a whole number).

    Raises InvalidDocument as `drawn_alone` does.
    """
    draws = [_draw_of(*factor) for factor in factors]
    _refuse_more(count, factors, "/sample/points")
    many = (
        tuple(
            draw(_fraction(f"{seed}/{place}", PRIMES[place], index))
            for place, draw in enumerate(draws)
        )
        for index in itertools.count()
    )
    return _different(many, count, "/sample/points")


def _different(many: Iterator[tuple[Any, ...]], count: int, place: str) -> list[tuple[Any, ...]]:
    """The first so many that differ from each other."""
    found: dict[str, tuple[Any, ...]] = {}
    for one in itertools.islice(many, SPARE_DRAWS + DRAWS_EACH * count):
        found.setdefault(repr(one), one)
        if len(found) == count:
            return list(found.values())
    raise _too_many(count, len(found), place)


def _refuse_more(count: int, factors: Sequence[tuple[str, Distribution, bool]], place: str) -> None:
    """At once, and not after many draws, where it can be told how many different ones there are."""
    possible = 1
    for _, distribution, is_whole in factors:
        bounds = distribution.log or distribution.uniform
        if distribution.choices is not None:
            possible *= len({repr(choice) for choice in distribution.choices})
        elif is_whole and bounds is not None:
            possible *= int(bounds[1]) - int(bounds[0]) + 1
        else:
            return
    if possible < count:
        raise _too_many(count, possible, place)


def _too_many(count: int, there: int, place: str) -> InvalidDocument:
    message = f"{count:,} different ones cannot be drawn: there are {there:,}"
    hint = f"ask for at most {there:,}, or list the values"
    return InvalidDocument([FieldError(place, message, hint)])


def _fraction(key: str, base: int, index: int) -> Decimal:
    """The point of that index, in [0, 1): its digits permuted and read backwards."""
    numerator, denominator, place = 0, 1, 0
    while denominator < LEAST_RESOLUTION:
        index, digit = divmod(index, base)
        numerator = numerator * base + _permutation(key, base, place)[digit]
        denominator, place = denominator * base, place + 1
    return _exact.divide(Decimal(numerator), Decimal(denominator))


@lru_cache(maxsize=2048)
def _permutation(key: str, base: int, place: int) -> tuple[int, ...]:
    """Of the digits of a base, for one place of them: in the order of their hashes."""

    def order(digit: int) -> bytes:
        return hashlib.sha256(f"{key}/{base}/{place}/{digit}".encode()).digest()

    return tuple(sorted(range(base), key=order))


def _draw_of(path: str, distribution: Distribution, is_whole: bool) -> Draw:
    """How a value is made of a number in [0, 1); raises InvalidDocument for bounds that are none."""
    choices = distribution.choices
    if choices is not None:
        return lambda u: choices[int(u * len(choices))]
    low, high = distribution.log or distribution.uniform or (0.0, 1.0)
    _refuse_bounds(pointer(["vary", path, distribution.kind]), distribution, is_whole)
    least, most = Decimal(repr(low)), Decimal(repr(high))
    if distribution.log is not None:
        return _log_whole(least, most) if is_whole else _log(least, most)
    return _uniform_whole(least, most) if is_whole else _uniform(least, most)


def _refuse_bounds(place: str, distribution: Distribution, is_whole: bool) -> None:
    low, high = distribution.log or distribution.uniform or (0.0, 1.0)
    message = None
    if not low < high:
        message = (
            f"the first bound must lie below the second, and {low:g} does not lie below {high:g}"
        )
    elif distribution.log is not None and low <= 0:
        message = f"a logarithm needs bounds above 0, not {low:g}"
    elif is_whole and not (low.is_integer() and high.is_integer()):
        message = (
            f"this field is a whole number, and so must its bounds be, not {low:g} and {high:g}"
        )
    if message is not None:
        hint = "write the lower one first, as in [0.0001, 0.1]" if not low < high else None
        raise InvalidDocument([FieldError(place, message, hint)])


def _log(low: Decimal, high: Decimal) -> Draw:
    beyond = _exact.subtract(_exact.divide(high, low), Decimal(1)).adjusted()
    digits = DIGITS - min(0, beyond)
    return lambda u: _between(low, high, f"{_power(low, high, u):.{digits - 1}e}")


def _log_whole(low: Decimal, high: Decimal) -> Draw:
    beyond = _exact.add(high, Decimal(1))
    return lambda u: min(int(high), int(_power(low, beyond, u)))


def _uniform(low: Decimal, high: Decimal) -> Draw:
    width = _exact.subtract(high, low)
    decimals = max(0, DIGITS - 1 - width.adjusted())
    return lambda u: _between(
        low, high, f"{_exact.add(low, _exact.multiply(u, width)):.{decimals}f}"
    )


def _uniform_whole(low: Decimal, high: Decimal) -> Draw:
    count = int(high) - int(low) + 1
    return lambda u: int(low) + int(_exact.multiply(u, Decimal(count)))


def _power(low: Decimal, high: Decimal, u: Decimal) -> Decimal:
    """low^(1 - u) · high^u. `decimal` rounds ln and exp correctly, as the machine's own mathematics need not."""
    with localcontext(_exact):
        return ((1 - u) * low.ln() + u * high.ln()).exp()


def _between(low: Decimal, high: Decimal, text: str) -> float:
    """A rounded value, brought back to the bounds that rounding may have led beyond; a zero has no sign."""
    return float(min(max(Decimal(text), low), high)) + 0.0
