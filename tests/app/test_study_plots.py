"""Pictures of studies: every format, the same bytes for the same figure, what is written in them, and extremes without
a warning.
"""

import dataclasses
import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from PIL import Image

from app.plots.canvas.contrast import ink_on
from app.plots.canvas.fonts import printable, shortened, width_of, wrapped
from app.plots.canvas.palette import look, spread, view_of
from app.plots.figures.scores import FactorFigure, Group, Point
from app.plots.figures.studies import (
    CellCurves,
    DifferenceRow,
    DifferencesFigure,
    GradientPanel,
    HeatMapFigure,
    Panel,
    StudyCurvesFigure,
    StudyGradientsFigure,
)
from app.plots.pictures.studies.differences import draw_differences
from app.plots.pictures.studies.factor import draw_factor
from app.plots.pictures.studies.heat_map import DASH, draw_heat_map
from app.plots.pictures.studies.study_curves import draw_study_curves
from app.plots.pictures.studies.study_gradients import draw_study_gradients
from tests.app.pictures import words
from tests.app.series import over_runs

pytestmark = pytest.mark.sqlite  # pictures

PANELS = [Panel(split, metric) for metric in ("loss", "accuracy") for split in ("train", "val")]
LONG = (
    "a plain network of 56 layers with batch normalization, $momentum$ 0.9 and a cosine schedule "
    * 3
)
HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
NAN, INF = float("nan"), float("inf")


Run = dict[Panel, dict[int, float | None]]
"""One run's values by panel and epoch."""


def cell(title: str, runs: Sequence[Run]) -> CellCurves:
    panels = {
        panel: over_runs(*found)
        for panel in PANELS
        if (found := [run[panel] for run in runs if panel in run])
    }
    return CellCurves(title, panels, num_waiting=sum(not run for run in runs))


def run(seed: int, epochs: int = 6, decay: float = 1.0) -> Run:
    return {
        panel: {
            epoch: (1 + 0.1 * seed) * (0.9 if panel.metric == "loss" else 0.5) * epoch**-decay
            for epoch in range(1, epochs + 1)
        }
        for panel in PANELS
    }


def curves(cells: int = 3, **differing: Any) -> StudyCurvesFigure:
    lines = [cell(f"cell {place}", [run(place), run(place + 1)]) for place in range(cells)]
    return dataclasses.replace(
        StudyCurvesFigure("a title", "a subtitle", PANELS, lines), **differing
    )


def point(x: float | str, published: float | None = None) -> Point:
    return Point(x, (0.90, 0.91, 0.92), (0.885, 0.935), published)


def factor(**differing: Any) -> FactorFigure:
    groups = [
        Group("plain", [point(8, 0.9), point(20)]),
        Group("residual", [point(8), Point(20, (0.95,))]),
    ]
    return dataclasses.replace(
        FactorFigure("a title", "a subtitle", "Test accuracy", "Depth", groups), **differing
    )


MEASURED = DifferenceRow("with minus without", (1.0, 2.0, 3.0), 2.0, (0.5, 3.5), "better")


def differences(rows: Sequence[DifferenceRow] = (MEASURED,), **differing: Any) -> DifferencesFigure:
    return dataclasses.replace(
        DifferencesFigure("a title", "a subtitle", "percentage points", 0.5, rows), **differing
    )


def heat_map(rows: int = 2, columns: int = 3, **differing: Any) -> HeatMapFigure:
    means = 0.9 + 0.01 * np.arange(rows * columns, dtype=np.float64).reshape(rows, columns)
    names = {
        "title": "a title",
        "subtitle": "a subtitle",
        "metric": "Test accuracy",
        "x_name": "alpha",
        "y_name": "temperature",
    }
    usual = HeatMapFigure(
        **names,
        x_values=range(columns),
        y_values=range(rows),
        means=means,
        counts=np.full((rows, columns), 3),
        baseline=0.905,
    )
    return dataclasses.replace(usual, **differing)


def gradient_panel(title: str = "a cell", layers: int = 4, epochs: int = 5) -> GradientPanel:
    norms = 10.0 ** -np.add.outer(np.arange(epochs), np.arange(layers)).astype(np.float64)
    return GradientPanel(
        title,
        "slope +0.1",
        tuple(f"layer{layer}.weight" for layer in range(layers)),
        tuple(range(epochs)),
        norms,
    )


def gradients(
    panels: Sequence[GradientPanel] | None = None, **differing: Any
) -> StudyGradientsFigure:
    return dataclasses.replace(
        StudyGradientsFigure(
            "a title", "a subtitle", [gradient_panel()] if panels is None else panels
        ),
        **differing,
    )


PICTURES: list[tuple[Callable[..., Any], Callable[[Any, str], bytes]]] = [
    (curves, draw_study_curves),
    (factor, draw_factor),
    (differences, draw_differences),
    (heat_map, draw_heat_map),
    (gradients, draw_study_gradients),
]


def is_whole(png: bytes) -> bool:
    """Whether nothing reaches the paper's edge, where it would have been cut."""
    paper = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    return bool(
        min(edge.min() for edge in (paper[:4], paper[-4:], paper[:, :4], paper[:, -4:])) == 255
    )


# What all have in common


@pytest.mark.parametrize(("figure", "draw"), PICTURES)
@pytest.mark.parametrize("extension", HEADS)
def test_every_picture_comes_in_every_format_and_equal_figures_give_equal_bytes(
    figure: Any, draw: Any, extension: str
) -> None:
    drawn = draw(figure(), extension)
    assert drawn.startswith(HEADS[extension])
    assert draw(figure(), extension) == drawn
    assert draw(figure(title="another"), extension) != drawn


@pytest.mark.parametrize(("figure", "draw"), PICTURES)
def test_a_long_title_is_cut_and_dollar_signs_and_foreign_letters_are_only_letters(
    figure: Any, draw: Any
) -> None:
    rare = "\U0001e900"  # Adlam, which no font here has
    shown = words(draw(figure(title=f"{rare} $5 and $6 " + LONG * 3, subtitle=LONG), "svg"))
    assert any(text.startswith("[U+1E900] $5 and $6 a plain network") for text in shown)
    assert any(text.endswith("…") for text in shown)
    assert is_whole(draw(figure(title=LONG, subtitle=LONG), "png"))


@pytest.mark.parametrize(("figure", "draw"), PICTURES)
def test_a_picture_without_title_is_drawn(figure: Any, draw: Any) -> None:
    assert is_whole(draw(figure(title="", subtitle=""), "png"))


# Curves


def test_curves_say_which_panels_and_cells_they_show_and_of_how_many_runs() -> None:
    shown = words(draw_study_curves(curves(), "svg"))
    assert {
        "a title",
        "a subtitle",
        "Epoch",
        "Training loss (nats)",
        "Validation loss (nats)",
        "Training accuracy",
        "Validation accuracy",
    } <= set(shown)
    assert {"cell 0", "cell 1", "cell 2", "1", "2", "3", "mean and range of 2 runs"} <= set(shown)
    assert "1 run" in words(draw_study_curves(curves(lines=[cell("alone", [run(0)])]), "svg"))


def test_cells_without_epochs_or_finite_values_are_listed_as_such() -> None:
    diverged = cell("diverged", [{panel: {1: None, 2: NAN} for panel in PANELS}])
    partly = cell("partly", [run(0), {}, {PANELS[0]: {1: 0.5, 2: None, 3: 0.4}}])
    shown = words(
        draw_study_curves(curves(lines=[cell("waiting", [{}, {}]), diverged, partly]), "svg")
    )
    assert {"waiting", "not started", "diverged", "no finite value"} <= set(shown)
    said = (
        "mean and range of 2 runs (1 more not started), some values not finite, thin where of fewer"
    )
    assert said in " ".join(shown)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [cell("none", [])],
        [cell("one epoch", [run(0, epochs=1)])],
        [cell("equal", [{panel: {1: 0.5, 2: 0.5} for panel in PANELS}] * 2)] * 3,
        [
            cell("huge", [{panel: {1: 1e30, 2: INF} for panel in PANELS}]),
            cell("zero", [{panel: {1: 0.0} for panel in PANELS}]),
        ],
    ],
)
def test_curves_of_little_or_odd_numbers_are_drawn(lines: Sequence[CellCurves]) -> None:
    assert draw_study_curves(curves(lines=lines), "png").startswith(HEADS["png"])


@pytest.mark.parametrize("panels", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("cells", [1, 12])
def test_any_number_of_panels_and_cells_with_long_titles_fits_on_the_paper(
    panels: int, cells: int
) -> None:
    lines = [
        cell(LONG[:200] if place % 2 else "W" * 200, [run(place), run(place + 3)])
        for place in range(cells)
    ]
    assert is_whole(draw_study_curves(curves(panels=(PANELS * 2)[:panels], lines=lines), "png"))


def test_curves_without_panels_and_plots_without_rows_say_so() -> None:
    assert "nothing to show" in words(draw_study_curves(curves(panels=[]), "svg"))
    assert "no contrasts" in words(draw_differences(differences([]), "svg"))
    assert "nothing to show" in words(draw_heat_map(heat_map(0, 0), "svg"))
    assert "nothing measured yet" in words(draw_study_gradients(gradients([]), "svg"))


def test_only_a_loss_of_more_than_two_decades_is_on_a_log_scale() -> None:
    def titles(decay: float) -> set[str]:
        return set(
            words(
                draw_study_curves(
                    curves(lines=[cell("cell", [run(0, epochs=10, decay=decay)])]), "svg"
                )
            )
        )

    assert {"Training loss (nats)", "Training accuracy"} <= titles(2.0)
    assert {"Training loss (nats, log scale)", "Training accuracy"} <= titles(2.1)


def test_the_first_35_lines_look_different_and_neighbors_differ_in_color_and_dashes() -> None:
    looks = [look(number) for number in range(35)]
    assert len({(each.color, each.dashes) for each in looks}) == 35
    assert all(
        one.color != other.color and one.dashes != other.dashes for one, other in pairwise(looks)
    )


# Factor


def test_a_numeric_factor_is_an_axis_with_its_values_as_ticks() -> None:
    shown = words(draw_factor(factor(), "svg"))
    assert {
        "Depth",
        "8",
        "20",
        "Test accuracy",
        "plain",
        "residual",
        "n = 3 runs each",
        "n = 1 to 3 runs each",
    } <= set(shown)
    assert {
        "one run (seed)",
        "mean of the runs and 95 % interval of the mean",
        "published by the source",
    } <= set(shown)
    assert any(text.endswith(" %") for text in shown)


def test_each_data_set_has_a_panel_of_its_own() -> None:
    groups = [
        Group("plain", [point(8), point(20)], "CIFAR-10"),
        Group("plain", [Point(20, (0.1, 0.2))], "MNIST"),
        Group("residual", [Point(8, (0.3,))], "MNIST"),
    ]
    figure = factor(groups=groups, chances={"MNIST": 0.1})
    first, second = figure.panels
    assert (list(first.groups), first.chance) == ([0], None)
    assert (list(second.groups), second.chance) == ([0, 1], 0.1)
    shown = words(draw_factor(figure, "svg"))
    assert [shown.count(text) for text in ("CIFAR-10", "MNIST", "plain", "residual")] == [1] * 4
    assert shown.count("Depth") == 1, "below the last"
    assert shown.count("8") == 2
    rows = [Group("g", [point("one"), point("two")], name) for name in ("CIFAR-10", "MNIST")]
    shown = words(draw_factor(factor(groups=rows), "svg"))
    assert [shown.count(text) for text in ("CIFAR-10", "MNIST", "one")] == [1, 1, 2]
    assert "g" not in shown, "the only group needs no name"


def test_values_over_decades_are_on_a_log_scale_and_with_a_zero_among_them_in_equal_steps() -> None:
    rates = [Group("all", [point(rate) for rate in (1e-4, 1e-3, 1e-2, 0.1)])]
    assert {"Learning rate (log scale)", "0.0001", "0.1"} <= set(
        words(draw_factor(factor(factor="Learning rate", groups=rates), "svg"))
    )
    decays = [Group("all", [point(decay) for decay in (0, 1e-4, 1e-3, 0.1)])]
    assert {"Weight decay (not to scale)", "0", "0.0001"} <= set(
        words(draw_factor(factor(factor="Weight decay", groups=decays), "svg"))
    )


def test_points_that_were_drawn_together_are_a_cloud_with_round_ticks_and_no_line() -> None:
    rates = (0.000106, 0.000388, 0.00142, 0.00518, 0.0691)
    cloud = [Group("all", [Point(rate, (0.8, 0.9)) for rate in rates])]
    drawn = factor(factor="Learning rate", groups=cloud, is_scatter=True, is_log=True)
    shown = words(draw_factor(drawn, "svg"))
    assert {"Learning rate (log scale)", "0.001", "0.01", "mean of the runs"} <= set(shown)
    assert "0.00142" not in shown
    shares = [Group("all", [Point(share, (0.9,)) for share in (0.005, 0.116, 0.338, 0.468)])]
    shown = words(draw_factor(factor(groups=shares, is_scatter=True), "svg"))
    assert {"0", "0.1", "0.2", "0.3", "0.4"} <= set(shown)
    assert "mean of the runs" not in shown
    for few in ([], [Point(1.0, (0.5,))], [Point(1.0, ()), Point(1.0, (NAN,))]):
        for is_log in (False, True):
            lonely = factor(groups=[Group("g", few)], is_scatter=True, is_log=is_log)
            assert draw_factor(lonely, "png").startswith(b"\x89PNG")


def test_a_factor_in_words_is_a_chart_with_a_row_per_cell() -> None:
    groups = [
        Group(
            "g",
            [
                point("none"),
                point("crop and flip", 0.9),
                Point("later", ()),
                point(LONG),
                Point("odd", (NAN, 0.5)),
            ],
        )
    ]
    shown = words(draw_factor(factor(groups=groups), "svg"))
    assert {
        "none",
        "crop and flip",
        "91.00 %, n = 3 runs",
        "later",
        "not measured",
        "50.00 %, n = 1 run",
        "Test accuracy",
    } <= set(shown)
    assert is_whole(draw_factor(factor(groups=groups * 4), "png"))
    losses = words(
        draw_factor(factor(groups=groups, as_percent=False, metric="Test loss (nats)"), "svg")
    )
    assert {"0.9100, n = 3 runs", "Test loss (nats)"} <= set(losses)


@pytest.mark.parametrize(
    "groups",
    [
        [],
        [Group("none", [])],
        [Group("not yet", [Point(3, ())])],
        [Group("not yet", [Point("a", ())])],
        [Group("one", [Point(3, (0.95,))])],
        [Group("equal", [Point("a", (0.95, 0.95), (0.95, 0.95), 0.95)])],
        [
            Group(
                "wide", [Point(1, (0.90, 0.91), (-5.0, 7.0)), Point(2, (NAN, 0.9), (NAN, NAN), 0.2)]
            )
        ],
        [Group(LONG, [point(depth) for depth in range(40)])] * 12,
        [Group("one place", [point(3)])] * 6,
    ],
)
def test_a_factor_of_little_or_odd_numbers_is_drawn(groups: Sequence[Group]) -> None:
    assert is_whole(draw_factor(factor(groups=groups), "png"))


def test_what_is_not_measured_is_said() -> None:
    shown = words(draw_factor(factor(groups=[Group("not yet", [Point(3, ())])]), "svg"))
    assert {"nothing measured yet", "not yet", "not measured"} <= set(shown)


# Differences


def test_a_forest_plot_says_its_unit_numbers_and_verdicts() -> None:
    shown = words(draw_differences(differences(), "svg"))
    assert {
        "treatment minus control, percentage points",
        "with minus without",
        "+2.00 [+0.50, +3.50]",
        "n = 3 paired seeds",
        "better",
    } <= set(shown)
    assert {
        "one seed's difference",
        "margin of equivalence, ±0.5 percentage points",
        "mean and 95 % interval of the mean, above 0",
    } <= set(shown)
    assert not any(
        "margin" in text for text in words(draw_differences(differences(margin=None), "svg"))
    )


def test_rows_without_data_say_so_and_tiny_numbers_keep_their_sign() -> None:
    rows = [
        DifferenceRow("later", (), None, None, "waits for its runs"),
        DifferenceRow("tiny", (-0.0004,), -0.0004, None, "no interval"),
    ]
    shown = words(draw_differences(differences(rows), "svg"))
    assert {
        "not measured",
        "waits for its runs",
        "\N{MINUS SIGN}0.00040",
        "n = 1 paired seed",
    } <= set(shown)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [DifferenceRow("zero", (0.0, 0.0), 0.0, (0.0, 0.0), "equal")],
        [DifferenceRow("odd", (NAN, INF, 1.0), NAN, (NAN, NAN), "odd")],
        [MEASURED, DifferenceRow("two runs", (0.1, 0.2), 0.15, (-90.0, 90.3), "open")],
        [DifferenceRow(LONG, (1.0, 2.0), 1.5, (1.0, 2.0), LONG)] * 25,
    ],
)
@pytest.mark.parametrize("margin", [None, 0.0, 0.5])
def test_differences_of_little_or_odd_numbers_are_drawn(
    rows: Sequence[DifferenceRow], margin: float | None
) -> None:
    assert is_whole(draw_differences(differences(rows, margin=margin), "png"))


# Heat map


def test_a_heat_map_writes_values_runs_and_differences_from_the_baseline() -> None:
    shown = words(draw_heat_map(heat_map(), "svg"))
    assert {
        "alpha",
        "temperature",
        "Test accuracy",
        "90.00 %",
        "95.00 %",
        "n = 3",
        "+4.50",
        "\N{MINUS SIGN}0.50",
    } <= set(shown)
    assert "baseline 90.50 %; in each cell the difference from it, in percentage points" in shown
    plain = words(draw_heat_map(heat_map(baseline=None, as_percent=False), "svg"))
    assert {"0.9000", "0.9500"} <= set(plain)
    assert not any("baseline" in text or text.endswith("%") for text in plain)
    assert any(
        "off the scale of colors" in text
        for text in words(draw_heat_map(heat_map(baseline=0.1), "svg"))
    )


def test_missing_cells_are_dashes_and_explained() -> None:
    figure = heat_map()
    figure.means[0, 1] = NAN
    shown = words(draw_heat_map(figure, "svg"))
    assert {DASH, f"{DASH} not measured"} <= set(shown)
    assert "91.00 %" not in shown
    assert DASH not in words(draw_heat_map(heat_map(), "svg"))


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 2), (1, 1), (12, 12)])
@pytest.mark.parametrize("value", [0.5, NAN, 0.0, None])
def test_heat_maps_of_any_size_and_odd_numbers_are_drawn(
    rows: int, columns: int, value: float | None
) -> None:
    figure = heat_map(rows, columns, baseline=value)
    if value is not None:
        figure.means[:] = value
    assert is_whole(draw_heat_map(figure, "png"))


def test_long_names_of_rows_and_columns_fit() -> None:
    assert is_whole(
        draw_heat_map(
            heat_map(
                x_values=[LONG, "W" * 50, 1e-9],
                y_values=[LONG, "b"],
                x_name=LONG,
                y_name=LONG,
                metric=LONG,
            ),
            "png",
        )
    )


def test_numbers_in_cells_have_the_contrast_that_wcag_asks_of_text() -> None:
    scale = ScalarMappable(Normalize(0, 1), colormaps["cividis"])
    for value in np.linspace(0, 1, 101).tolist():
        color = scale.to_rgba(np.array([value]))[0, :3]
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        behind = float(linear @ (0.2126, 0.7152, 0.0722))
        before = 1.0 if ink_on(scale, value) == "#ffffff" else 0.0
        assert (max(behind, before) + 0.05) / (min(behind, before) + 0.05) > 4.5


# Gradients


def test_gradient_panels_have_titles_captions_layers_and_one_scale() -> None:
    shown = words(
        draw_study_gradients(gradients([gradient_panel("one", 3), gradient_panel("two", 5)]), "svg")
    )
    assert {"one", "two", "slope +0.1", "layer0", "layer4", "init", "Epoch", "10⁰"} <= set(shown)
    assert shown.count("L2 norm of each weight's gradient (log scale)") == 1
    assert not {"exactly 0", "not measured"} & set(shown)


def test_zeros_and_what_is_not_measured_are_explained() -> None:
    panel = gradient_panel()
    panel.norms[0, 0], panel.norms[1, 1] = 0.0, NAN
    waiting = GradientPanel("later", "not started", (), (), np.zeros((0, 0)))
    shown = words(draw_study_gradients(gradients([panel, waiting]), "svg"))
    assert {"exactly 0", "not measured", "nothing measured yet", "not started"} <= set(shown)


@pytest.mark.parametrize(
    "panels",
    [
        [],
        [gradient_panel(LONG, layers=1, epochs=1)],
        [
            GradientPanel("nothing", "", ("a", "b"), (0, 3), np.full((2, 2), value))
            for value in (0.0, NAN, INF, 1e-30)
        ],
        [
            gradient_panel(
                LONG if cell % 2 else "W" * 200, layers=3 + 9 * cell, epochs=1 + 70 * cell
            )
            for cell in range(12)
        ],
    ],
)
def test_gradients_of_little_or_odd_numbers_are_drawn(panels: Sequence[GradientPanel]) -> None:
    assert is_whole(draw_study_gradients(gradients(panels), "png"))


# What they are made of


@given(st.lists(st.floats(0, 100), max_size=12), st.floats(0, 30))
def test_spread_places_keep_their_order_their_distance_and_their_bounds(
    wanted: list[float], gap: float
) -> None:
    places = spread(wanted, gap, 0, 100)
    least = min(gap, 100 / max(1, len(wanted) - 1))
    ordered = sorted(places)
    assert all(-1e-6 <= place <= 100 + 1e-6 for place in places)
    assert all(after - before > least - 1e-6 for before, after in pairwise(ordered))
    assert [wanted[place] for place in np.argsort(places, kind="stable")] == sorted(wanted)


def test_places_that_are_far_enough_apart_stay_and_close_ones_share_the_way() -> None:
    assert spread([50, 10, 90], 10, 0, 100) == [50, 10, 90]
    assert spread([50, 50], 10, 0, 100) == [45, 55]
    assert spread([0, 0, 0], 10, 0, 100) == [0, 10, 20]


def test_a_wide_interval_does_not_press_the_values_together() -> None:
    low, high = view_of([1.0, 2.0], [(-100.0, 1.5)], 0.0)
    assert (low, high) == (pytest.approx(0.0 - 0.12), pytest.approx(2.0 + 0.12))
    assert view_of([1.0, 1.0], [], 0.5) == (pytest.approx(0.72), pytest.approx(1.28))
    assert view_of([], [], 1.0) == (pytest.approx(-0.56), pytest.approx(0.56))


@given(st.text(max_size=120), st.floats(0.3, 4), st.integers(1, 4))
def test_wrapped_lines_are_as_narrow_and_as_few_as_asked(
    text: str, inches: float, most: int
) -> None:
    lines = wrapped(text, inches, 9, most)
    assert len(lines) <= most
    assert all(width_of(line, 9) <= inches + 1e-9 for line in lines)
    if "".join(lines) and not lines[-1].endswith("…"):
        assert "".join(lines).replace(" ", "") == printable(text).replace(" ", "")


def test_a_text_is_shortened_only_if_it_must_be() -> None:
    assert shortened("short", 3, 9) == "short"
    cut = shortened(LONG, 3, 9)
    assert cut.endswith("…")
    assert LONG.startswith(cut[:-1])
    assert 2.8 < width_of(cut, 9) <= 3
