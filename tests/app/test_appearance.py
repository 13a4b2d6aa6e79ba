"""How pictures look: every kind in every size and theme, with any title, in letters of any script."""

import dataclasses
import io
import re
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from matplotlib.colors import to_rgb
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from app.plots.appearance import Appearance, PictureSize, Theme
from app.plots.canvas.colors import GREY, INK, ORANGE, PAPER, SKY, THEMES
from app.plots.canvas.fonts import OWN, all_letters_kept, printable
from app.plots.canvas.palette import COLORS
from app.plots.drawing import DRAWN_BY, draw
from app.services.analyses.curves import CellRuns
from app.services.experiments import experiments, metrics
from app.storage.db import Database
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from tests.app.gallery import curves, factor, figures, heat_map, tradeoff
from tests.app.pictures import words
from tests.app.rows import create

pytestmark = pytest.mark.sqlite  # pictures

FIGURES = figures()
MOST_PIXELS = {PictureSize.SMALL: 700, PictureSize.MEDIUM: 1400}
CHINESE, HEBREW, ARABIC, CROSS = "中文 数据", "שלום", "مرحبا", "✗"


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def sides(svg: bytes) -> list[float]:
    """Width and height in points."""
    return [float(side) for side in re.findall(r' (?:width|height)="([\d.]+)pt"', svg.decode())]


def contrast(one: str, other: str) -> float:
    """By WCAG 2.2."""

    def light(color: str) -> float:
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_gallery_has_every_kind() -> None:
    assert {type(figure) for figure in FIGURES.values()} == set(DRAWN_BY)


@pytest.mark.parametrize(
    ("size", "theme"), [(PictureSize.SMALL, Theme.DARK), (PictureSize.MEDIUM, Theme.LIGHT)]
)
@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_of_any_kind_keeps_to_its_width_and_its_page(
    name: str, size: PictureSize, theme: Theme
) -> None:
    drawn = pixels(draw(FIGURES[name], "png", Appearance(theme, size)))
    assert drawn.shape[1] <= MOST_PIXELS[size]
    paper = np.round(255 * np.array(to_rgb(THEMES[PAPER][theme is Theme.DARK])))
    for edge in (drawn[:4], drawn[-4:], drawn[:, :4], drawn[:, -4:]):
        assert (edge == paper).all()


@pytest.mark.parametrize("name", ["curves", "factor", "heat-map"])
def test_a_large_picture_is_the_medium_one_with_twice_the_pixels_a_side(name: str) -> None:
    shapes = [
        pixels(draw(FIGURES[name], "png", Appearance(size=size))).shape
        for size in (PictureSize.MEDIUM, PictureSize.LARGE)
    ]
    assert shapes[1][:2] == pytest.approx([2 * side for side in shapes[0][:2]], abs=2)
    medium, large = (
        sides(draw(FIGURES[name], "svg", Appearance(size=size)))
        for size in (PictureSize.MEDIUM, PictureSize.LARGE)
    )
    assert large == pytest.approx([2 * side for side in medium], rel=1e-4)


@pytest.mark.parametrize("name", FIGURES)
def test_another_title_stands_in_place_of_the_first_and_an_empty_one_leaves_the_heading_out(
    name: str,
) -> None:
    figure = FIGURES[name]
    usual = draw(figure, "svg")
    assert figure.title in words(usual)
    other = words(draw(figure, "svg", Appearance(title="Figure 3")))
    assert "Figure 3" in other
    assert figure.title not in other
    bare = draw(figure, "svg", Appearance(title=""))
    without = words(bare)
    subtitle = figure.subtitle if isinstance(figure.subtitle, str) else figure.subtitle[0]
    assert figure.title not in without
    assert not any(line and subtitle.startswith(line) for line in without)
    assert sides(bare)[1] < sides(usual)[1]


def test_a_theme_lasts_for_one_picture() -> None:
    before = draw(FIGURES["curves"], "png")
    draw(FIGURES["curves"], "png", Appearance(Theme.DARK))
    assert draw(FIGURES["curves"], "png") == before
    with pytest.raises(KeyError):
        draw("no figure", "png", Appearance(Theme.DARK))
    assert draw(FIGURES["curves"], "png") == before


@pytest.mark.parametrize("name", FIGURES)
def test_an_svg_that_follows_its_viewer_has_the_colors_of_both_themes(name: str) -> None:
    svg = draw(FIGURES[name], "svg", Appearance(follows_viewer=True)).decode()
    assert "@media (prefers-color-scheme:dark)" in svg
    for light, dark in (THEMES[INK], THEMES[PAPER]):
        assert f":{light};" in svg
        assert f":{dark};" in svg
    assert "fill: var(--lab-paper)" in svg
    assert "#0b0c" not in svg
    assert words(svg) == words(draw(FIGURES[name], "svg"))


@pytest.mark.parametrize("theme", [0, 1])
def test_texts_and_lines_stand_out_from_their_page(theme: int) -> None:
    paper = THEMES[PAPER][theme]
    for name in (INK, GREY):
        assert contrast(THEMES[name][theme], paper) >= 4.5, name
    for name in COLORS:
        if theme == 1 or name not in (ORANGE, SKY):
            assert contrast(THEMES[name][theme], paper) >= 3.0 - 0.15 * (theme == 0), name


# Letters


def test_letters_that_no_font_has_are_numbers_except_in_an_svg() -> None:
    rare = "\U0001e900"  # Adlam
    assert printable(f"class {rare}!") == "class [U+1E900]!"
    assert printable(f"{rare}{rare} x") == "[U+1E900 U+1E900] x"
    with all_letters_kept(True):
        assert printable(f"class {rare}!") == f"class {rare}!"
    assert printable("a\x07b\ud800c\uffff") == "abc"


@pytest.mark.parametrize(
    "text",
    [
        HEBREW,
        ARABIC,
        CROSS,
        CHINESE,
        "Ünïcode ß ∑",
        "Ελληνικά",
        "русский",
        "日本語カタ",
        "한국어",
        "繁體",
    ],
)
def test_scripts_of_the_fonts_that_are_always_there_are_drawn_as_they_are(text: str) -> None:
    assert printable(text) == text
    always = (get_font(findfont("DejaVu Sans")), get_font(OWN))
    assert all(any(font.get_char_index(ord(one)) for font in always) for one in text if one > " ")


def test_a_pdf_has_the_outlines_of_chinese_and_korean_letters_and_no_whole_font() -> None:
    plain, named = (
        draw(curves(("loss",)), "pdf", Appearance(title=title)) for title in ("name", "猫 한국어")
    )
    assert b"DroidSansFallback" in named
    assert b"DroidSansFallback" not in plain
    assert len(named) < len(plain) + 20_000


@pytest.mark.parametrize("text", [CHINESE, HEBREW, ARABIC, "日本語", "한국어", "$x_1$ <b>&amp;"])
def test_names_in_any_script_are_text_in_an_svg_and_drawn_in_all_formats(text: str) -> None:
    for figure in (curves(("loss",)), factor(), heat_map(), tradeoff()):
        wanted = Appearance(title=text)
        assert text in words(draw(figure, "svg", wanted))
        for extension in ("png", "pdf"):
            assert len(draw(figure, extension, wanted)) > 1000


# What figures say


def test_a_mean_of_fewer_runs_is_thin_and_said() -> None:
    shown = words(draw(curves(("loss",)), "svg"))
    assert "val, mean and range of 3 runs, thin where of fewer" in shown
    assert "best epochs of 3 runs: 8, 10, 12" in shown
    assert "chance, one over the classes" not in shown
    assert "chance, one over the classes" in words(draw(curves(("accuracy",)), "svg"))


def test_a_constant_rate_is_a_flat_line_over_zero() -> None:
    shown = words(draw(curves(("learning_rate",)), "svg"))
    assert {"Learning rate (1e−3)", "0.0", "1.0"} <= set(shown)
    assert not any("0.98" in text or "1.02" in text for text in shown)


def test_runs_with_the_same_seed_are_joined_between_arms_or_along_the_factor() -> None:
    for groups in (1, 2):
        assert "runs with the same seed" in words(draw(factor(groups), "svg"))


def test_the_front_has_the_cells_that_none_beats_in_both() -> None:
    figure = tradeoff()
    names = [figure.points[place].title.split(",")[0] for place in figure.front]
    assert names == ["MLP", "CNN", "VGG-11", "ResNet-18", "ResNet-18"]
    said = "Pareto front: by their means no cell is both cheaper and better"
    assert said in words(draw(figure, "svg"))
    mixed = dataclasses.replace(figure, is_ranked=False)
    assert mixed.front == []
    assert said not in words(draw(mixed, "svg"))
    losses = [dataclasses.replace(one, score=1 - one.score, ci95=None) for one in figure.points]
    lower = dataclasses.replace(figure, points=losses, lower_is_better=True, as_percent=False)
    assert lower.front == figure.front
    assert draw(dataclasses.replace(figure, points=[]), "png").startswith(b"\x89PNG")
    assert draw(dataclasses.replace(lower, points=losses[:1]), "pdf").startswith(b"%PDF")


# Over HTTP


def picture_routes(api: TestClient) -> dict[str, list[dict[str, Any]]]:
    described = api.get("/openapi.json").json()["paths"]
    return {
        path: routes["get"]["parameters"]
        for path, routes in described.items()
        if path.endswith(".{extension}")
    }


def test_every_route_of_a_picture_takes_theme_size_and_title(api: TestClient) -> None:
    routes = picture_routes(api)
    assert len(routes) == 14
    for path, parameters in routes.items():
        assert {"theme", "size", "title"} <= {one["name"] for one in parameters}, path


@pytest.mark.parametrize(
    "asked", ["theme=sepia", "size=900x600", "size=", "titel=x", f"title={'x' * 301}"]
)
def test_what_is_no_theme_size_or_title_is_refused(api: TestClient, asked: str) -> None:
    for path in picture_routes(api):
        address = re.sub(r"\{\w+_id\}", "exp_none", path).replace("{extension}", "png")
        answer = api.get(f"{address}?{asked}")
        assert answer.status_code == 422, path
        assert answer.json()["code"] == "invalid_request"


def trained(database: Database, dataset: str, epochs: tuple[int, ...]) -> str:
    """An experiment on that data set, whose runs have come so far."""
    body = {"name": f"on {dataset}", "dataset": dataset, "seeds": len(epochs), "epochs": 9}
    with database.writing() as session:
        experiment = create(session, body)
        for run, last in zip(experiments.its_runs(session, experiment.id), epochs, strict=True):
            for epoch in range(1, last + 1):
                scores = {"loss": 1 / epoch, "accuracy": 1 - 0.8 / epoch}
                metrics.record_epoch(session, run.id, epoch, {"train": scores, "val": scores})
        return experiment.id


def test_another_appearance_is_another_picture_with_another_etag(
    api: TestClient, database: Database
) -> None:
    address = f"/experiments/{trained(database, 'digits', (3, 5))}/curves"
    found = {}
    for asked in ("", "theme=dark", "size=small", "size=large", "title=Figure+1", "title="):
        for extension in ("png", "svg"):
            answer = api.get(f"{address}.{extension}?{asked}")
            assert answer.status_code == 200, answer.text
            found[asked, extension] = answer.headers["etag"], answer.content
            unchanged = {"If-None-Match": answer.headers["etag"]}
            assert api.get(f"{address}.{extension}?{asked}", headers=unchanged).status_code == 304
    assert len({etag for etag, _ in found.values()}) == len(found)
    assert len({content for _, content in found.values()}) == len(found)
    assert api.get(f"{address}.png?theme=light&size=medium").content == found["", "png"][1]
    shown = words(found["", "svg"][1])
    assert "val, mean and range of 2 runs, thin where of fewer" in shown
    assert "on digits" not in words(found["title=", "svg"][1])


def test_experiments_on_different_data_sets_have_panels_of_their_own(
    api: TestClient, database: Database
) -> None:
    ids = [trained(database, "digits", (3,)), trained(database, "cifar100", (4,))]
    one, both = (
        words(api.get(f"/comparisons/curves.svg?experiments={','.join(some)}").content)
        for some in (ids[:1], ids)
    )
    assert "Validation accuracy" in one
    assert {"Validation accuracy, digits", "Validation accuracy, CIFAR-100"} <= set(both)
    assert "Validation accuracy" not in both


@pytest.mark.parametrize(
    ("strategy", "status", "said"),
    [
        ("features", RunStatus.SUCCEEDED, "no epochs: fitted classifiers"),
        ("features", RunStatus.QUEUED, "not started; classifiers are fitted without epochs"),
        ("fine_tune", RunStatus.QUEUED, "not started"),
        ("fine_tune", RunStatus.FAILED, "ended without an epoch"),
    ],
)
def test_a_cell_without_a_line_says_why(strategy: str, status: RunStatus, said: str) -> None:
    experiment = Experiment(spec={"strategy": strategy, "dataset": {"name": "digits"}})
    assert CellRuns("a cell", experiment, [Run(status=status, epochs_done=0)]).without == said
