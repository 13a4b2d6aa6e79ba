"""What all specs share: strictness, and bare names in place of objects."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

MAX_SEED = 2**31 - 1


class Frozen(BaseModel):
    """Base of every spec: unknown fields are refused, nothing is coerced, nothing changes after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*")
    @classmethod
    def _no_minus_zero(cls, value: Any) -> Any:
        """-0.0 equals 0.0 and must not have another fingerprint."""
        return 0.0 if type(value) is float and value == 0.0 else value


class UnknownName(ValueError):
    """A name that stands for nothing; `hint` says what was probably meant, or what there is."""

    def __init__(
        self, what: str, name: object, known: Sequence[str], hint: str | None = None
    ) -> None:
        given = str(name)[:100]
        super().__init__(f"there is no {what} {given!r}")
        if hint is not None:
            self.hint = hint
            return
        near = difflib.get_close_matches(given.lower(), known, n=1, cutoff=0.5)
        self.hint = f"did you mean '{near[0]}'?" if near else "there are: " + ", ".join(known)


def all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values; raises ValueError where one stands twice."""
    if len(set(values)) != len(values):
        raise ValueError("the same is named twice")
    return values


def named(key: str, default: str) -> Callable[[Any], Any]:
    """A bare string stands for that name with its defaults; an object without a name takes the default name. Names are
    written in small letters, and read in any.
    """

    def expand(value: Any) -> Any:
        if isinstance(value, str):
            return {key: value.lower()}
        if not isinstance(value, dict):
            return value
        name = value.get(key, default)
        return {**value, key: name.lower() if isinstance(name, str) else name}

    return expand
