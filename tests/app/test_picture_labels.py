"""Names in pictures: what is cut can still be told apart, and pairs in right-to-left scripts keep their order."""

import dataclasses
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from app.plots.appearance import Appearance, PictureSize, Theme
from app.plots.canvas.fonts import FAMILIES, width_of, wrapped
from app.plots.canvas.labels import cut_apart, side_by_side
from app.plots.canvas.percents import PercentFormatter
from app.plots.drawing import draw
from app.plots.figures.studies import Priced
from tests.app.gallery import confusion, study_gradients, tradeoff
from tests.app.test_confusion import words

ARROW = " \N{RIGHTWARDS ARROW} "
HEBREW, RABBIT, ARABIC, CAT = "שלום", "ארנב", "مرحبا", "cat"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        (
            ["Golden retriever photo 1", "Golden retriever photo 2", "cat"],
            ["Golden…oto 1", "Golden…oto 2", "cat"],
        ),
        (["a b", "a  b"], ["0: a b", "1: a b"]),
    ],
)
def test_names_that_are_cut_alike_show_what_differs(names: list[str], labels: list[str]) -> None:
    shown = cut_apart(names, 1.3, 7.5)
    assert shown == labels
    assert len(set(shown)) == len(names)
    assert all(width_of(label, 7.5) <= 1.3 for label in shown)


@pytest.mark.parametrize("inches", [0.6, 1.3])
def test_names_in_letters_without_a_font_and_of_many_stages_are_never_alike(inches: float) -> None:
    adlam = [f"{chr(0x1E900) * 6}{chr(0x1E901 + number)}{chr(0x1E900) * 9}" for number in range(9)]
    stages = [
        f"{'long ' * 9}{first}{' and ' * 9}{second}{' so ' * 9}"
        for first in "ab"
        for second in "cd"
    ]
    shown = cut_apart([*adlam, *stages], inches, 7.5)
    assert len(set(shown)) == len(shown)
    assert all(width_of(label, 7.5) <= inches for label in shown)


def test_a_matrix_names_classes_apart_in_ticks_and_list() -> None:
    names = [f"a species with a very long name {number}" for number in range(13)]
    shown = words(draw(confusion(names), "svg"))
    ticks = {text for text in shown if text.startswith("a spec") and ARROW not in text}
    assert len(ticks) == 13
    listed = [text.split(ARROW) for text in shown if ARROW in text and text.startswith("a s")]
    assert len(listed) == 12
    assert all(true != predicted for true, predicted in listed)


def ink(text: str) -> npt.NDArray[Any]:
    """The text as matplotlib draws it from the left edge, without empty columns before it."""
    figure = Figure((4, 0.4), dpi=100)
    figure.text(0.02, 0.3, text, fontfamily=[*FAMILIES], fontsize=12)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    grey = np.asarray(Image.open(file).convert("L"))
    return grey[:, np.flatnonzero(grey.min(axis=0) < 128)[0] :]


@pytest.mark.parametrize("first", [HEBREW, ARABIC, CAT])
@pytest.mark.parametrize("second", [RABBIT, f"({RABBIT})", "dog"])
def test_the_first_of_two_names_stands_left_in_any_script(first: str, second: str) -> None:
    pair, alone = ink(side_by_side([first, second], ARROW)), ink(first)
    end = np.flatnonzero(alone.min(axis=0) < 128)[-1]
    begins = np.abs(pair[:, : end - 1].astype(int) - alone[:, : end - 1]).mean()
    assert begins < 6, "but for a fraction of a pixel"
    if first != CAT and second != "dog":
        turned = np.abs(
            ink(first + ARROW + second)[:, : end - 1].astype(int) - alone[:, : end - 1]
        ).mean()
        assert turned > 3 * max(begins, 2), "as it was: the second one stood left"


def test_names_that_run_to_the_right_are_joined_as_they_are() -> None:
    assert side_by_side(["cat", "dog"], ARROW) == f"cat{ARROW}dog"


@pytest.mark.parametrize("extension", ["png", "pdf", "svg"])
def test_a_matrix_of_right_to_left_names_is_drawn(extension: str) -> None:
    names = [HEBREW, RABBIT, ARABIC, CAT, *(f"{RABBIT} {number}" for number in range(10))]
    figure = dataclasses.replace(confusion(names), most_confused=[(0, 1)])
    picture = draw(figure, extension)
    assert len(picture) > 1000
    if extension == "svg":
        marked = f"\u200e{HEBREW}\u200e{ARROW}\u200e{RABBIT}"
        assert any(marked in text for text in words(picture))


@pytest.mark.parametrize(
    ("fractions", "texts"),
    [
        ([0.0, 0.1, 0.3], ["0 %", "10 %", "30 %"]),
        ([0.2, 0.4, 0.8], ["20 %", "40 %", "80 %"]),
        ([0.975, 0.98], ["97.5 %", "98.0 %"]),
        ([-0.02, 0.0], ["−2 %", "0 %"]),
        ([], []),
    ],
)
def test_percent_have_the_digits_that_their_ticks_need(
    fractions: list[float], texts: list[str]
) -> None:
    formatter = PercentFormatter()
    formatter.create_dummy_axis()
    assert formatter.format_ticks(fractions) == texts


def test_no_line_begins_with_the_percent_sign_of_a_number() -> None:
    said = "by 13.80 points, 95 % interval 0.81 to 26.79 (level 4 %): open"
    for inches in (0.5, 0.8, 1.1, 1.7, 2.6):
        lines = wrapped(said, inches, 8, 40)
        assert " ".join(lines) == said
        assert not any(line.startswith("%") for line in lines)


def test_points_whose_names_are_cut_are_told_apart_and_their_axis_is_named_in_full() -> None:
    titles = [
        f"label smoothing and depth {depth}, width {width}" for depth in (1, 4) for width in (8, 9)
    ]
    points = [Priced(title, 0.3 + 0.1 * place, 0.9, None, 3) for place, title in enumerate(titles)]
    cost = "seconds of training and validation, mean of the runs"
    figure = dataclasses.replace(tradeoff(), points=points, cost=cost)
    shown = words(draw(figure, "svg", Appearance(Theme.LIGHT, PictureSize.SMALL)))
    assert cost in shown
    assert len({text for text in shown if text.startswith("label") and "…" in text}) == len(titles)


def test_a_verdict_under_a_small_heat_map_is_whole() -> None:
    figure = study_gradients()
    caption = (
        "healthy in epoch 6: along 8 layers the gradient grows by a factor of 1.1 toward the input (slope −0.01 per"
        " layer, 95 % interval −0.14 to +0.12 over 3 runs; threshold: factor 100)"
    )
    panels = [dataclasses.replace(panel, caption=caption) for panel in figure.panels]
    shown = words(draw(dataclasses.replace(figure, panels=panels), "svg"))
    assert sum(text.endswith("100)") for text in shown) == len(panels)
