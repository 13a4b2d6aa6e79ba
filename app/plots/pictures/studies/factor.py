"""A score against one factor of a study: every seed's dot, the mean with its interval, and what the source published.
Where the factor was drawn together with others it is a cloud of points.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes

from app.plots.canvas.colors import GREY, GRID, is_small, most_inches
from app.plots.canvas.fonts import shortened
from app.plots.canvas.palette import (
    Entry,
    Legend,
    draw_interval,
    draw_signs,
    look,
    seed_look,
    signs_height,
)
from app.plots.canvas.style import (
    AXIS_SIZE,
    MARGIN,
    PANEL_SIZE,
    Sheet,
    heading,
    rendered,
)
from app.plots.figures.scores import FactorFigure, Group, ScorePanel
from app.plots.pictures.studies.factor_axis import (
    NOT_TO_SCALE,
    layout_of,
    places_of,
)
from app.plots.pictures.studies.factor_rows import in_rows
from app.plots.pictures.studies.score_marks import (
    BELOW_INCHES,
    line_look,
    pair_look,
    published_look,
    runs_said,
    score_axis,
    signs_of,
)

PANEL_INCHES, LEFT_INCHES = (6.8, 4.1), 0.75
STACKED_INCHES, TITLE_INCHES, GAP_INCHES = 2.7, 0.3, 0.3
"""The height of a panel where there are several, room above it for its data set, and between two of them.
"""
TICKS_INCHES = 0.25
LEGEND_INCHES, LEGEND_GAP = 2.4, 0.3
FEW_GROUPS = 3
"""Of so many the legend stands below, where it needs less room."""


def draw_factor(figure: FactorFigure, extension: str) -> bytes:
    """Lines over a numeric factor; where any of its values is a text, a chart with one row per cell. `extension`: png,
    svg or pdf.
    """
    is_numeric = all(
        isinstance(point.x, (int, float)) and math.isfinite(point.x) for point in figure.points
    )
    return rendered((_numeric if is_numeric else in_rows)(figure).canvas, extension)


def _numeric(figure: FactorFigure) -> Sheet:
    panels = figure.panels
    width, height = panel_inches(len(panels))
    pairs = [pairs_of(panel, figure) for panel in panels]
    entries, signs, is_beside = (
        [entry_of(figure, title, number) for number, title in enumerate(figure.titles)],
        signs_of(figure, has_pairs=any(pairs)),
        (len(figure.titles) > FEW_GROUPS or len(panels) > 1) and not is_small(),
    )
    paper = 2 * MARGIN + LEFT_INCHES + width + (LEGEND_GAP + LEGEND_INCHES if is_beside else 0)
    legend = (
        Legend(entries, LEGEND_INCHES)
        if is_beside
        else Legend(entries, paper - 2 * MARGIN, 1 if is_small() else max(1, len(entries)))
    )
    head = heading(figure.title, figure.subtitle, paper)
    top, title = head.height + 0.25, TITLE_INCHES if len(panels) > 1 else 0.0
    each = title + height + TICKS_INCHES + GAP_INCHES
    below = top + each * len(panels) - TICKS_INCHES - GAP_INCHES + BELOW_INCHES
    end = max(below, top + legend.height) if is_beside else below + legend.height
    sheet = Sheet(paper, end + 0.1 + signs_height(signs, paper - 2 * MARGIN) + MARGIN / 2)
    head.draw(sheet)
    sheet.write(
        MARGIN, head.height - 0.04, [shortened(figure.metric, width, PANEL_SIZE)], PANEL_SIZE
    )
    for place, shown in enumerate(panels):
        down = top + each * place + title
        if title:
            text = shortened(shown.dataset, width, PANEL_SIZE, bold=True)
            left = MARGIN + LEFT_INCHES
            sheet.write(left, down - TITLE_INCHES + 0.02, [text], PANEL_SIZE, fontweight="bold")
        axes = sheet.panel(MARGIN + LEFT_INCHES, down, width, height)
        _draw_panel(axes, shown, figure, pairs[place], is_last=shown is panels[-1])
    legend.draw(
        sheet, *((MARGIN + LEFT_INCHES + width + LEGEND_GAP, top) if is_beside else (MARGIN, below))
    )
    draw_signs(sheet, MARGIN, end + 0.1, paper - 2 * MARGIN, signs)
    return sheet


def panel_inches(count: int = 1) -> tuple[float, float]:
    """Width and height of each of so many panels."""
    room = most_inches() - 2 * MARGIN - LEFT_INCHES
    width, height = (room, 0.7 * room) if is_small() else PANEL_INCHES
    return width, height if count == 1 else min(height, STACKED_INCHES)


Ends = tuple[tuple[float, int], tuple[float, int]]
"""Two cells, each by its factor's value and its group."""


def pairs_of(
    shown: ScorePanel, figure: FactorFigure
) -> list[tuple[Ends, list[tuple[float, float]]]]:
    """The scores of runs with the same seed: in neighboring groups at one value, or of a single group at neighboring
    values.
    """
    if figure.is_scatter:
        return []
    cells = {
        (float(point.x), number): point.by_seed
        for number, group in shown.groups.items()
        for point in group.points
    }
    values = sorted({value for value, _ in cells})
    beside: list[Ends] = (
        [
            ((one, number), (other, number))
            for number in shown.groups
            for one, other in pairwise(values)
        ]
        if len(shown.groups) == 1
        else [
            ((value, number), (value, after))
            for value in values
            for number, after in pairwise(shown.groups)
        ]
    )
    found = []
    for one, other in beside:
        first, second = cells.get(one, {}), cells.get(other, {})
        scores = [(first[seed], second[seed]) for seed in first if seed in second]
        if scores:
            found.append(((one, other), scores))
    return found


def _draw_panel(
    panel: Axes,
    shown: ScorePanel,
    figure: FactorFigure,
    pairs: Sequence[tuple[Ends, list[tuple[float, float]]]],
    *,
    is_last: bool,
) -> None:
    placed = layout_of(figure, panel_inches()[0])
    panel.grid(axis="y", color=GRID, linewidth=0.8)
    score_axis(panel, shown, upright=True)
    if is_last:
        name = shortened(figure.factor, panel_inches()[0] - 1.5, AXIS_SIZE)
        panel.set_xlabel(name + placed.note, fontsize=AXIS_SIZE)
    panel.set_xticks([])
    if not placed.places:
        return
    panel.set_xlim(*placed.view)
    panel.set_xticks([at for at, _ in placed.ticks], [text for _, text in placed.ticks])
    for ends, scores in pairs:
        across = [
            placed.places[value] + placed.shifts[group] - placed.aside for value, group in ends
        ]
        color = look(0).color if len(figure.titles) == 1 else GREY
        for each in scores:
            panel.plot(across, each, **pair_look(color))
    for number, group in shown.groups.items():
        _draw_group(
            panel,
            group,
            number,
            {value: place + placed.shifts[number] for value, place in placed.places.items()},
            placed.aside,
            is_joined=is_joined(figure, placed.note),
        )


def is_joined(figure: FactorFigure, note: str = "") -> bool:
    """Whether means along the factor are steps of one way: not where it is a cloud, nor where equal steps stand for
    unequal ones.
    """
    return not figure.is_scatter and note != NOT_TO_SCALE


def _draw_group(
    panel: Axes,
    group: Group,
    number: int,
    places: dict[float, float],
    aside: float,
    *,
    is_joined: bool,
) -> None:
    """Seeds a little left of their mean, so that neither hides the other."""
    drawn = look(number)
    points = sorted(group.points, key=lambda point: float(point.x))
    measured = [
        (places[float(point.x)], mean) for point in points if (mean := point.mean) is not None
    ]
    panel.plot(
        *zip(*measured, strict=True) if measured else ([], []),
        **line_look(number, is_joined=is_joined),
        zorder=3,
    )
    for point in points:
        place = places[float(point.x)]
        panel.plot([place - aside] * len(point.scores), point.scores, **seed_look(drawn.color))
        if point.ci95:
            draw_interval(
                panel, point.ci95, place, upright=True, color=drawn.color, linewidth=1.3, zorder=3
            )
        if point.published is not None:
            panel.plot([place], [point.published], **published_look(drawn.color))


def entry_of(figure: FactorFigure, title: str, number: int) -> Entry:
    """Of the group with this title, the `number`th, in the legend."""
    points = [point for group in figure.groups if group.title == title for point in group.points]
    counts = [len(point.scores) for point in points if point.scores]
    values = [float(point.x) for point in figure.points]
    return Entry(
        title,
        f"{runs_said(counts)}{' each' if len(counts) > 1 else ''}" if counts else "not measured",
        line_look(
            number,
            is_joined=is_joined(figure, places_of(sorted(set(values)), figure)[1]),
        ),
    )
