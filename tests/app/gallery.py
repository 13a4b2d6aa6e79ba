"""Every kind of picture of invented numbers, as a service draws them: `python -m tests.app.gallery FOLDER` draws each
in two sizes and both themes, to be looked at.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.plots.appearance import Appearance, PictureSize, Theme
from app.plots.drawing import draw
from app.plots.figures.experiments import (
    ComparisonFigure,
    ConfusionFigure,
    CurvesFigure,
    ExplainedImage,
    ExplanationFigure,
    GradientFlowFigure,
    LayerGradientFigure,
    Line,
)
from app.plots.figures.scores import FactorFigure, Group, Point
from app.plots.figures.studies import (
    CellCurves,
    DifferenceRow,
    DifferencesFigure,
    GradientPanel,
    HeatMapFigure,
    Panel,
    Priced,
    StudyCurvesFigure,
    StudyGradientsFigure,
    TradeoffFigure,
)
from app.plots.series import Series
from lab_models.explanations.question import Show
from lab_models.statistics.summary import summarise
from tests.app.series import over_runs

STANDING: Final = "digits, mlp 64-32, 6,570 parameters, 3 seeds, succeeded"
CLASSES: Final = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]


def figures() -> dict[str, Any]:
    """By name; the same at every call."""
    return {
        "curves": curves(("loss", "accuracy")),
        "curves-four": curves(("loss", "accuracy", "learning_rate", "seconds")),
        "confusion": confusion(CLASSES),
        "confusion-100": confusion([f"class {number}" for number in range(100)]),
        "gradient-flow": gradient_flow(),
        "layer-gradient": layer_gradient(),
        "layer-gradient-histogram": layer_gradient(histogram=True),
        "distillation-panel": replace(distillation(), panels=("val_loss",)),
        "distillation": distillation(),
        "explanations": explanations(),
        "study-curves": study_curves(),
        "study-trio": study_curves(trio=True),
        "factor": factor(),
        "factor-single": factor(groups=1),
        "factor-rows": factor_rows(),
        "factor-of-two-sets": factor_of_two_sets(),
        "factor-rows-of-two-sets": rows_of_two_sets(),
        "differences": differences(),
        "heat-map": heat_map(),
        "heat-map-wide": heat_map(12),
        "study-gradients": study_gradients(),
        "tradeoff": tradeoff(),
    }


def falling(runs: tuple[int, ...], start: float, end: float, seed: int) -> Series:
    """A number that falls over as many epochs as each run has."""
    draws = np.random.default_rng(seed)
    found = []
    for epochs in runs:
        noise = draws.normal(0, 0.02 * abs(start - end), epochs)
        pace = draws.uniform(3, 5)
        values = end + (start - end) * np.exp(-np.arange(epochs) / pace) + noise
        found.append(dict(enumerate(values.tolist(), 1)))
    return over_runs(*found)


def curves(metrics: tuple[str, ...]) -> CurvesFigure:
    """Three runs of which two were stopped early."""
    runs = (15, 16, 11)
    constant = over_runs(*(dict.fromkeys(range(1, end + 1), 0.001) for end in runs))
    found = {
        ("train", "loss"): falling(runs, 2.2, 0.1, 1),
        ("val", "loss"): falling(runs, 2.0, 0.2, 2),
        ("train", "accuracy"): falling(runs, 0.32, 0.98, 3),
        ("val", "accuracy"): falling(runs, 0.5, 0.96, 4),
        ("train", "learning_rate"): constant,
        ("train", "seconds"): falling(runs, 1.3, 1.2, 5),
        ("val", "seconds"): falling(runs, 0.22, 0.2, 6),
    }
    title = "MLP on digits, stopped early"
    return CurvesFigure(title, STANDING, metrics, found, 50, chosen=[10, 12, 8], chance=0.1)


def confusion(names: list[str]) -> ConfusionFigure:
    """Mostly right, some classes alike."""
    count = len(names)
    draws = np.random.default_rng(0)
    counts = draws.poisson(1.2, (count, count)) + np.diag(draws.integers(60, 96, count))
    counts[3, 5], counts[5, 3] = 21, 17
    fractions = counts / counts.sum(axis=1, keepdims=True)
    wrong = counts * ~np.eye(count, dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:12]
    pairs = [(int(place) // count, int(place) % count) for place in order]
    said = (
        STANDING,
        "test accuracy 87.41 % (95 % interval 86.01 to 88.81 %), 3 x 1,000 test images",
    )
    return ConfusionFigure("CNN on photographs", said, names, counts, fractions, True, pairs)


def layer_gradient(histogram: bool = False) -> LayerGradientFigure:
    """Three runs of 800 steps, seen at every fourth."""
    draws = np.random.default_rng(7)
    steps = np.arange(1, 800, 4)
    norms = 10 ** (-0.4 - steps / 900 + draws.normal(0, 0.08, (3, len(steps))))
    magnitudes = 10.0 ** np.arange(-8, 1, 0.5)
    middle = np.log10(magnitudes[:-1]) + 0.25
    shares = np.exp(-((middle - (-3.5 - steps[:, None] / 900)) ** 2))
    counts = np.zeros((len(steps), len(magnitudes) + 1), np.int64)
    counts[:, 1:-1] = np.rint(50_000 * shares)
    return LayerGradientFigure(
        "Gradient of layer2.1.conv2.weight",
        STANDING,
        steps,
        norms,
        100,
        magnitudes,
        counts if histogram else None,
    )


def gradient_flow() -> GradientFlowFigure:
    """Of 20 layers, vanishing at first."""
    layers = [f"hidden.{number}.linear" for number in range(20)] + ["head"]
    depth = np.arange(21)
    norms = np.array([10 ** (-1 - (20 - depth) * 0.36 * 0.8**epoch) for epoch in range(13)])
    verdicts = [
        "vanishing at initialization: along 20 layers the gradient falls by a factor of 2.3e6 toward the input (slope"
        " +0.77 per layer, 95 % interval +0.71 to +0.83; threshold: factor 100)",
        "healthy in epoch 12: along 20 layers the gradient falls by a factor of 1.2 toward the input",
    ]
    return GradientFlowFigure(
        "plain MLP, depth 20",
        STANDING,
        verdicts,
        layers,
        [True] * 20 + [False],
        list(range(13)),
        norms,
        [3] * 11 + [2, 1],
        3,
    )


def distillation() -> ComparisonFigure:
    """All lines that there may be."""
    runs = (12, 12, 12)
    lines = [
        Line("train_loss", "teacher", falling((12,), 1.9, 0.1, 1)),
        Line("train_loss", "baseline", falling(runs, 2.2, 0.4, 2)),
        Line("train_loss", "distilled", falling(runs, 2.1, 0.5, 3)),
        Line("train_loss", "soft", falling(runs, 3.1, 0.9, 4)),
        Line("train_loss", "total", falling(runs, 2.8, 0.8, 5)),
    ]
    for number, arm in enumerate(("teacher", "baseline", "distilled")):
        several = (12,) if arm == "teacher" else runs
        lines.append(Line("val_loss", arm, falling(several, 2.0, 0.2 + 0.1 * number, number)))
        lines.append(Line("val_accuracy", arm, falling(several, 0.4, 0.97 - 0.02 * number, number)))
    labels = {
        "teacher": ("teacher", "cnn 2 stages of 2 blocks 32-64"),
        "baseline": ("baseline, mean and range of 3 runs", "mlp 64-32"),
        "distilled": (
            "distilled, mean and range of 3 runs",
            "mlp 64-32; in training its hard loss",
        ),
        "soft": ("distilled, soft loss in training", "T² · KL at T = 4"),
        "total": ("distilled, total loss in training", "0.9 · soft + 0.1 · hard"),
    }
    said = (
        "Better than the baseline by 1.20 percentage points (95 % interval 0.61 to 1.79, 3 seeds)."
    )
    return ComparisonFigure("A student on digits", said, lines, labels, 12)


def explanations(count: int = 16) -> ExplanationFigure:
    """Blobs, and maps that look at them."""
    draws = np.random.default_rng(0)
    across = np.arange(28)
    pictures = []
    for number in range(count):
        middle, wide = draws.uniform(8, 20, 2), draws.uniform(3, 7)
        blob = np.exp(
            -((across[:, None] - middle[0]) ** 2 + (across - middle[1]) ** 2) / (2 * wide**2)
        )
        noise = draws.uniform(0, 60, (3, 28, 28))
        pixels = (195 * blob * draws.uniform(0.3, 1.0, (3, 1, 1)) + noise).astype(np.uint8)
        right = number % 2 == 0
        pictures.append(
            ExplainedImage(
                pixels,
                blob[::4, ::4],
                CLASSES[number % 10],
                CLASSES[number % 10 if right else (number + 3) % 10],
                float(draws.uniform(0.4, 0.99)),
                right,
            )
        )
    notes = [
        "Deletion (100 images, smaller is better): map 0.226, random 0.294, center 0.235; map minus random -0.068 (95 %"
        " interval -0.098 to -0.038), better.",
        "Randomization: rank correlation with the maps of the network with a new head +0.08.",
    ]
    said = "Grad-CAM of the predicted class: cnn on photographs, test, seed 0, maps of stages.1"
    return ExplanationFigure("small CNN", said, Show.BOTH, False, pictures, notes)


def study_curves(*, trio: bool = False) -> StudyCurvesFigure:
    """Seven cells, of which one has no epochs and one was stopped early."""
    loss, accuracy = Panel("val", "loss"), Panel("val", "accuracy", chance=0.1)
    hard = Panel("train", "loss", note="hard part")
    panels = [hard, loss, accuracy] if trio else [
        Panel("train", "loss"), loss, Panel("train", "accuracy", chance=0.1), accuracy
    ]  # fmt: skip
    lines = [
        CellCurves(
            f"depth {2 + number}, residual {'yes' if number % 2 else 'no'}",
            {
                panel: falling(
                    (10, 10, 7) if number == 1 else (10, 10, 10),
                    *((2.2, 0.1 + 0.1 * number) if panel.metric == "loss" else (0.3, 0.97 - 0.03 * number)),
                    seed=number,
                )
                for panel in panels
            },
        )
        for number in range(3 if trio else 6)
    ]  # fmt: skip
    lines.append(CellCurves("classifiers on features", {}, without="no epochs: fitted classifiers"))
    return StudyCurvesFigure("MLPs, plain and residual", "digits, 7 cells, 3 seeds", panels, lines)


def point(x: float | str, level: float, seed: int, published: float | None = None) -> Point:
    """Five runs around a level."""
    shared = np.random.default_rng(0).normal(0, 0.004, 5)
    values = level + shared + np.random.default_rng(seed).normal(0, 0.001, 5)
    summary = summarise(values.tolist())
    return Point(x, summary.values, summary.ci95, published, tuple(range(5)))


def factor(groups: int = 2) -> FactorFigure:
    """Accuracy against depth."""
    levels = {"plain": (0.976, 0.975, 0.974, 0.970), "residual": (0.977, 0.9775, 0.978, 0.978)}
    found = [
        Group(name, [
            point(depth, level, 7 * depth + number, 0.98 if number == 0 else None)
            for depth, level in zip((2, 4, 8, 16), of_it, strict=True)
        ])
        for number, (name, of_it) in enumerate(list(levels.items())[:groups])
    ]  # fmt: skip
    title, said = "MLP depth on MNIST", "mnist, 8 cells, 5 seeds, 40 runs"
    return FactorFigure(
        title, said, "Test accuracy", "depth (hidden layers)", found, chances={"": 0.1}
    )


def factor_rows() -> FactorFigure:
    """Accuracy by the name of what was done."""
    names = ("none", "crop and flip", "crop, flip and cutout of 8 pixels", "rotation by 15 degrees")
    points = [point(name, 0.7 + 0.02 * number, number) for number, name in enumerate(names)]
    title, said = "Augmentations on CIFAR-10", "cifar10, 5 cells, 5 seeds, 25 runs"
    groups = [Group("all cells", [*points, Point("later", ())])]
    return FactorFigure(title, said, "Test accuracy", "", groups, chances={"": 0.1})


def factor_of_two_sets() -> FactorFigure:
    """Both kinds of networks on a hard data set and one of them on an easy one."""
    hard = [
        Group(name, [point(depth, level - 0.02 * number, 9 * depth + number)
                     for depth, level in ((2, 0.53), (4, 0.55), (8, 0.54), (16, 0.5))], "CIFAR-10")
        for number, name in enumerate(("plain", "residual"))
    ]  # fmt: skip
    easy = [Group("plain", factor().groups[0].points, "MNIST")]
    title, said = "MLP depth on two data sets", "mnist, cifar10, 12 cells, 5 seeds, 60 runs"
    chances = {"CIFAR-10": 0.1, "MNIST": 0.1}
    return FactorFigure(title, said, "Test accuracy", "depth", [*hard, *easy], chances=chances)


def rows_of_two_sets() -> FactorFigure:
    """Rows of words on two data sets."""
    rows = factor_rows().groups[0].points
    easy = [point("none", 0.97, 1), point("rotation by 15 degrees", 0.975, 2)]
    groups = [Group("all cells", rows, "CIFAR-10"), Group("all cells", easy, "MNIST")]
    title, said = "Augmentations on two data sets", "cifar10, mnist, 7 cells, 5 seeds, 35 runs"
    return FactorFigure(title, said, "Test accuracy", "", groups, chances={"CIFAR-10": 0.1})


def differences() -> DifferencesFigure:
    """One of each kind."""
    rows = [
        DifferenceRow("residual against plain, depth 16", (0.7, 0.9, 0.8), 0.8, (0.55, 1.05), "better", "p = 0.00021"),
        DifferenceRow("10 against 2 layers", (-0.6, -0.3, -0.9), -0.6, (-1.34, 0.14), "open", "p = 0.12"),
        DifferenceRow("label smoothing", (0.01, 0.03, -0.02), 0.007, (-0.05, 0.07), "equivalent", "p = 0.7"),
        DifferenceRow("cutout against none", (), None, None, "not measured"),
        DifferenceRow("width 256 against 64", (-0.4, -0.5, -0.45), -0.45, (-0.57, -0.33), "worse", "p = 0.004"),
    ]  # fmt: skip
    said = "Test accuracy, digits, 8 cells, 3 seeds, 24 runs"
    return DifferencesFigure("MLPs, plain and residual", said, "percentage points", 0.15, rows)


def heat_map(columns: int = 4) -> HeatMapFigure:
    """Temperature by alpha, one cell missing."""
    draws = np.random.default_rng(0)
    means = 0.9 + 0.05 * draws.random((3, columns))
    means[1, 2] = np.nan
    return HeatMapFigure(
        "A student's temperature and alpha",
        "digits, 13 cells, 3 seeds, 39 runs",
        "Test accuracy",
        "alpha",
        "temperature",
        [round((number + 1) / (columns + 1), 2) for number in range(columns)],
        [1, 4, 16],
        means,
        np.full((3, columns), 3),
        0.91,
        half_widths=np.where(np.isnan(means), np.nan, 0.01 * draws.random((3, columns))),
    )


def study_gradients() -> StudyGradientsFigure:
    """Five cells of different depth."""
    panels = []
    for number in range(5):
        count = 4 + 4 * number
        norms = 10.0 ** -np.add.outer(np.arange(7) * -0.2 + 2, (count - np.arange(count)) * 0.2)
        layers = tuple(f"hidden.{place}.linear" for place in range(count))
        caption = f"healthy in epoch 6: along {count} layers the gradient falls by a factor of 12"
        panels.append(GradientPanel(f"depth {count}", caption, layers, tuple(range(7)), norms))
    return StudyGradientsFigure("Gradients by depth", "digits, 5 cells, 3 seeds", panels)


def tradeoff() -> TradeoffFigure:
    """Networks over three decades of seconds."""
    cells = (
        ("MLP, no convolutions", 12.0, 0.55),
        ("CNN", 90.0, 0.78),
        ("VGG-11, with batch norm", 310.0, 0.90),
        ("ResNet-18", 1200.0, 0.945),
        ("ResNet-18, pretrained", 700.0, 0.93),
        ("wide CNN", 1100.0, 0.85),
    )
    points = [
        Priced(name, cost, score, (score - 0.012, score + 0.012), 3) for name, cost, score in cells
    ]
    said = "cifar10, 6 cells, 3 seeds, 18 runs"
    return TradeoffFigure(
        "Three models and more", said, "Test accuracy", "seconds of training", points
    )


def main() -> None:
    """Draw all, or those named, as PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures().items():
        if options.names and name not in options.names:
            continue
        for size in (PictureSize.MEDIUM, PictureSize.SMALL):
            for theme in Theme:
                drawn = draw(figure, "png", Appearance(theme, size))
                (options.folder / f"{name}-{size}-{theme}.png").write_bytes(drawn)


if __name__ == "__main__":
    main()
