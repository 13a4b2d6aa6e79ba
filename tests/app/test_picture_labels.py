"""Names in pictures: what is cut can still be told apart, and pairs in right-to-left scripts keep their order."""

import dataclasses
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.figure import Figure
from PIL import Image

from app.plots.canvas.fonts import FAMILIES, width_of
from app.plots.canvas.labels import cut_apart, side_by_side
from app.plots.drawing import draw
from tests.app.gallery import confusion
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
