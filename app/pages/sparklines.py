"""Small curves in a list: val loss over the last epochs, drawn here as SVG."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from app.pages.words import number
from app.services.experiments.recent_losses import RecentLoss

WIDTH: Final = 88
HEIGHT: Final = 20
MARGIN: Final = 2


@dataclass(frozen=True)
class Sparkline:
    """`lines` are points of polylines in a box of `WIDTH` by `HEIGHT`, several where numbers are missing between;
    `said` is the same in words.
    """

    lines: tuple[str, ...]
    said: str


def sparkline(loss: RecentLoss) -> Sparkline:
    """The line of an experiment; its highest loss touches the top and its lowest the bottom."""
    numbers = [mean for mean in loss.means if mean is not None]
    return Sparkline(tuple(_lines(loss, min(numbers), max(numbers))), _said(loss, numbers))


def _lines(loss: RecentLoss, low: float, high: float) -> Iterator[str]:
    first, last = loss.epochs[0], loss.epochs[-1]
    pairs = zip(loss.epochs, loss.means, strict=True)
    for has_number, part in groupby(pairs, key=lambda pair: pair[1] is not None):
        if has_number:
            points = [
                f"{_place(epoch, first, last, WIDTH)},{HEIGHT - _place(mean, low, high, HEIGHT)}"
                for epoch, mean in part
                if mean is not None
            ]
            yield " ".join(points if len(points) > 1 else 2 * points)  # a line to itself is a dot


def _place(value: float, least: float, most: float, length: int) -> float:
    part = 0.5 if most == least else (value - least) / (most - least)
    return round(MARGIN + part * (length - 2 * MARGIN), 1)


def _said(loss: RecentLoss, numbers: list[float]) -> str:
    seeds = f"mean of {loss.num_seeds} seeds" if loss.num_seeds > 1 else "one seed"
    if len(numbers) == 1:
        return f"Val loss {number(numbers[0], 'loss')}, {seeds}"
    return (
        f"Val loss from epoch {loss.epochs[0]} to {loss.epochs[-1]}, {seeds}: {number(numbers[0], 'loss')} to"
        f" {number(numbers[-1], 'loss')}, lowest {number(min(numbers), 'loss')}"
    )
