"""Right and wrong examples side by side: each image, and beside it the same in grey under the map of its predicted
class.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps

from app.plots.canvas.colors import BLUE, GREY, INK, VERMILION, most_inches
from app.plots.canvas.fonts import line_height, shortened, width_of, wrapped
from app.plots.canvas.labels import side_by_side
from app.plots.canvas.style import MARGIN, MINUS, PERCENT, Sheet, heading, rendered
from app.plots.figures.experiments import ExplainedImage, ExplanationFigure
from lab_models.explanations.maps import enlarged, shares
from lab_models.explanations.question import Show

COLORS = "viridis"  # even steps of lightness to color-deficient readers too: https://doi.org/10.5281/zenodo.592264
TILE, PAIR_GAP, COLUMN_GAP, BLOCK_GAP = 0.92, 0.05, 0.24, 0.5
PAIR = 2 * TILE + PAIR_GAP
NAME_SIZE, HEAD_SIZE, NOTE_SIZE = 8.5, 10.5, 8.5
ROW = TILE + 0.04 + 2 * line_height(NAME_SIZE) + 0.16
BLOCK_HEAD = line_height(HEAD_SIZE) + 0.14
MOST_BESIDE, LEAST_WIDTH = 16, 4.9
"""Examples of a block for the two to stand beside each other, and the least width of all, for the notes."""
FINEST = 96
"""Pixels along the longer side of a tile, about as many as it is drawn with: the map is smooth and the image's own
pixels stay squares.
"""
VEIL, GREYS = 0.55, (0.05, 0.95)
"""Opacity of the map over the image, and what the darkest and the brightest of the image become beneath it."""
MOST_COLUMNS = 5
"""Of all blocks together, if the sheet is wide enough."""
HYPHEN_BEFORE_NUMBER = re.compile(r"-(?=\d)")
SCALE_SAID = "Left the image, right its map: the evidence for the predicted class, each image on a scale of its own"
NOTE_LINES = 5
CHECK, CROSS = "\N{CHECK MARK}", "\N{BALLOT X}"


def draw_explanations(figure: ExplanationFigure, extension: str) -> bytes:
    """Blocks of right and wrong examples, a scale of the maps' colors, and the notes. `extension`: png, svg or pdf."""
    kinds = [
        is_right
        for is_right, without in ((True, Show.WRONG), (False, Show.RIGHT))
        if figure.show is not without
    ]
    blocks = {
        is_right: [picture for picture in figure.pictures if picture.is_right is is_right]
        for is_right in kinds
    }
    longest = max(1, *map(len, blocks.values()))
    fit = min(MOST_COLUMNS, int((most_inches() - 2 * MARGIN + COLUMN_GAP) / (PAIR + COLUMN_GAP)))
    are_beside = len(kinds) > 1 and fit >= 4 and longest <= MOST_BESIDE
    columns = 2 if are_beside else min(fit, longest)
    block_width = columns * PAIR + (columns - 1) * COLUMN_GAP
    width = (
        max(2 * block_width + BLOCK_GAP if are_beside else block_width, LEAST_WIDTH) + 2 * MARGIN
    )
    head = heading(figure.title, figure.subtitle, width)
    notes = [
        wrapped(HYPHEN_BEFORE_NUMBER.sub(MINUS, note), width - 2 * MARGIN, NOTE_SIZE, NOTE_LINES)
        for note in figure.notes
    ]
    heights = [
        BLOCK_HEAD + ROW * max(1, math.ceil(len(pictures) / columns)) + 0.1
        for pictures in blocks.values()
    ]
    scale_top = head.height + (max(heights) if are_beside else sum(heights))
    said = wrapped(SCALE_SAID, width - 2 * MARGIN, NOTE_SIZE, 2)
    notes_top = scale_top + (1 + len(said)) * line_height(NOTE_SIZE) + 0.2
    lines = sum(map(len, notes))
    sheet = Sheet(width, notes_top + lines * line_height(NOTE_SIZE) + 0.05 * len(notes) + MARGIN)
    head.draw(sheet)
    for number, (is_right, pictures) in enumerate(blocks.items()):
        _draw_block(
            sheet,
            (MARGIN + number * (block_width + BLOCK_GAP), head.height)
            if are_beside
            else (MARGIN, head.height + sum(heights[:number])),
            (columns, block_width),
            is_right,
            pictures,
        )
    _draw_scale(sheet, scale_top, figure.has_negative)
    for note in notes:
        sheet.write(MARGIN, notes_top, note, NOTE_SIZE)
        notes_top += len(note) * line_height(NOTE_SIZE) + 0.05
    return rendered(sheet.canvas, extension)


def _draw_block(
    sheet: Sheet,
    corner: tuple[float, float],
    measures: tuple[int, float],
    is_right: bool,
    pictures: Sequence[ExplainedImage],
) -> None:
    """`corner` is left and top, `measures` are columns and width."""
    (left, top), (columns, width) = corner, measures
    color, name = (BLUE, f"{CHECK} Right") if is_right else (VERMILION, f"{CROSS} Wrong")
    sheet.write(left, top, [name], HEAD_SIZE, color=color, fontweight="bold")
    line = top + line_height(HEAD_SIZE) + 0.04
    sheet.draw(
        [left, left + width],
        [line, line],
        color=color,
        linewidth=1.6,
        linestyle="-" if is_right else (0, (4, 1.5)),
    )
    if not pictures:
        sheet.write(
            left, top + BLOCK_HEAD + 0.1, ["none among the images looked at"], NAME_SIZE, color=GREY
        )
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        _draw_picture(
            sheet, left + column * (PAIR + COLUMN_GAP), top + BLOCK_HEAD + row * ROW, picture
        )


def _draw_picture(sheet: Sheet, left: float, top: float, picture: ExplainedImage) -> None:
    for number, shown in enumerate(_tiles(picture)):
        panel = sheet.panel(left + number * (TILE + PAIR_GAP), top, TILE, TILE)
        panel.imshow(shown, interpolation="nearest", vmin=0, vmax=1, cmap="gray")
        panel.set_axis_off()
    below = top + TILE + 0.05
    _write(
        sheet,
        left,
        below,
        "predicted",
        (picture.predicted, f"({_percent(picture.probability)}{PERCENT})"),
    )
    _write(sheet, left, below + line_height(NAME_SIZE), "true", (picture.true, ""))


def _write(sheet: Sheet, left: float, top: float, what: str, said: tuple[str, str]) -> None:
    """A grey word, then the class's name, cut where it is too long, and what follows it."""
    name, after = said
    start = width_of("predicted  ", NAME_SIZE)
    room = PAIR + COLUMN_GAP / 2 - start - (width_of(f" {after}", NAME_SIZE) if after else 0)
    sheet.write(left, top, [what], NAME_SIZE, color=GREY)
    sheet.write(
        left + start,
        top,
        [side_by_side([shortened(name, room, NAME_SIZE), *([after] if after else [])], " ")],
        NAME_SIZE,
        color=INK,
    )


def _draw_scale(sheet: Sheet, top: float, has_negative: bool) -> None:
    """What the two tiles and the colors are."""
    said = wrapped(SCALE_SAID, sheet.width - 2 * MARGIN, NOTE_SIZE, 2)
    sheet.write(MARGIN, top, said, NOTE_SIZE, color=GREY)
    top += line_height(NOTE_SIZE) * len(said) + 0.04
    low = "least, which may speak against it" if has_negative else "none"
    left = MARGIN + width_of(low, NOTE_SIZE) + 0.06
    sheet.write(MARGIN, top, [low], NOTE_SIZE, color=GREY)
    bar = sheet.panel(left, top + 0.015, 1.3, 0.12)
    bar.imshow(_veiled(np.full((1, 256), 0.5), np.linspace(0, 1, 256)[None]), aspect="auto")
    bar.set_axis_off()
    sheet.write(left + 1.36, top, ["most"], NOTE_SIZE, color=GREY)


def _tiles(picture: ExplainedImage) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The image, and the same in grey under the map."""
    times = max(1, FINEST // max(picture.pixels.shape[1:]))
    image = (picture.pixels / 255).repeat(times, axis=1).repeat(times, axis=2)
    values = shares(enlarged(picture.map[None], image.shape[1:]))[0]
    return (image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)), _veiled(
        image.mean(axis=0), values
    )


def _veiled(grey: npt.NDArray[Any], values: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """(H, W, 3): the image in greys under the map's colors, its contrast stretched so that it is made out beneath them,
    but to neither black nor white: these would pass for less and more evidence.
    """
    low, high = GREYS
    span = float(np.ptp(grey))
    grey = (grey - grey.min()) / span if span > 0 else grey
    veiled: npt.NDArray[Any] = (1 - VEIL) * (low + (high - low) * grey)[
        :, :, None
    ] + VEIL * colormaps[COLORS](values)[:, :, :3]
    return veiled


def _percent(share: float) -> str:
    """Whole percents; never a rounded 100."""
    return f"{100 * share:.0f}" if share < 0.995 else "> 99" if share < 1 else "100"
