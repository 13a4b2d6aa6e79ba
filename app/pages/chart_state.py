"""What an address says of the charts on its page. The page's script reads it; here it is only known, so that an address
that was copied is refused by nobody.
"""

from typing import Annotated, Literal

from fastapi import Depends, Query


def _chart(
    m: Annotated[str | None, Query(max_length=100, description="Metrics, by commas")] = None,
    b: Annotated[
        Literal["interval", "range", "seeds", "mean"] | None, Query(description="Band")
    ] = None,
    y: Annotated[Literal["lin", "log"] | None, Query(description="Axis of the values")] = None,
    s: Annotated[float | None, Query(ge=0, lt=1, description="Smoothing")] = None,
    z: Annotated[str | None, Query(max_length=40, description="First to last epoch")] = None,
) -> None:
    """Declared, and left to the script."""


TheChart = Annotated[None, Depends(_chart)]
"""A page whose address may hold the state of its charts."""
