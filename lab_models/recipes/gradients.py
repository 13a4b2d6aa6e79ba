"""Gradients by depth: MLPs with and without shortcuts, with and without batch norm, on MNIST.

The labs argue from gradients: that residual connections "overcome vanishing gradient issues in deeper networks", and
that gradients in a ResNet "maintain a higher magnitude across layers". The evidence is one layer of one network, or one
batch of two networks of different widths. Here every layer is measured, weights without biases, over 20 batches at
initialization and then at each epoch, in networks that differ in the shortcuts alone.

Literature, at initialization: without batch norm, a plain network's gradient decays geometrically, to a thousandth at 4
blocks, a millionth at 8 and 0 at 32, and a residual one's stays near 1; with batch norm nothing vanishes, even where
plain networks are worse.

Cost on 2 CPU cores: seconds to a minute a run, on a GPU seconds (estimates).
"""

from lab_models.recipes.procedures import MNIST_LITERAL
from lab_models.recipes.recipe import Better, Cell, Claim, Contrast, Recipe, Scale

DEPTHS = (4, 10, 20, 40)
ARMS = (("plain", False), ("residual", True))
NORMS = ("none", "batch")

RECIPE = Recipe(
    name="gradients",
    title_template="Gradients along the layers of MLPs, plain and residual, with and without batch norm, on {dataset}",
    question_template="Do shortcuts keep the gradients of the first layers as large as those of the last?",
    reproduces="the gradient arguments of exercise 1.2 and of the three models, measured at every layer",
    factors=("norm", "depth", "network"),
    cells=tuple(
        Cell(
            key=f"{arm}-{depth}-{norm}",
            title=f"{arm}, {depth} layers of 128, {'batch norm' if norm == 'batch' else 'no norm'}",
            request={
                **MNIST_LITERAL,
                "model": {
                    "arch": "mlp",
                    "depth": depth,
                    "width": 128,
                    "residual": residual,
                    "norm": norm,
                },
                "epochs": 3,
                "probes": ["gradient_flow"],
            },
            factors={"norm": norm, "depth": depth, "network": arm},
        )
        for norm in NORMS
        for depth in DEPTHS
        for arm, residual in ARMS
    ),
    contrasts=tuple(
        Contrast(
            treatment=f"residual-{depth}-{norm}",
            control=f"plain-{depth}-{norm}",
            factor="model.residual",
        )
        for norm in NORMS
        for depth in DEPTHS
    ),
    claims=(
        Claim(
            key="residual-overcomes-vanishing",
            text="Residual connections overcome vanishing gradients in deeper networks.",
            source="README, scope",
            test=Better(
                contrasts=tuple(
                    (f"residual-{depth}-none", f"plain-{depth}-none") for depth in DEPTHS
                ),
                metric="gradient_flow.first_over_last",
            ),
            note=(
                "The gradient of the first layer over that of the last at the last epoch, without batch norm: how many"
                " decades that is from 1, in either direction."
            ),
        ),
        Claim(
            key="residual-overcomes-vanishing-with-norm",
            text="They do so in networks with batch norm as well.",
            source="README of the three models, gradients: its ResNet has batch norm",
            test=Better(
                contrasts=tuple(
                    (f"residual-{depth}-batch", f"plain-{depth}-batch") for depth in DEPTHS
                ),
                metric="gradient_flow.first_over_last",
            ),
            note="Literature: with batch norm nothing vanishes in either arm.",
        ),
        Claim(
            key="residual-is-better",
            text="Deeper networks are better with residual connections.",
            source="README, exercise 1.2, goal",
            test=Better(
                contrasts=tuple(
                    (f"residual-{depth}-none", f"plain-{depth}-none") for depth in DEPTHS
                )
            ),
        ),
    ),
    margin_points=0.15,
    scales={
        "smoke": Scale(
            description="2,000 training images, 1 epoch, 2 seeds.",
            seeds=2,
            overrides={"dataset.train_limit": 2000, "epochs": 1},
            cost_cpu="half a minute (measured)",
            cost_gpu="about a minute (estimate)",
        ),
        "full": Scale(
            description="All images, 3 epochs, 5 seeds, fixed beforehand.",
            seeds=5,
            cost_cpu="about 17 minutes: 5 seconds a run at 4 layers to 25 at 40 (estimate)",
            cost_gpu="about 17 minutes: 5 to 20 seconds a run (estimate)",
        ),
    },
    pictures=("gradient_flow", "factor", "curves"),
    notes=(
        "No table of a source is reproduced: none measures all layers of networks that differ in the shortcuts alone.",
        (
            "Gradients are compared at the same epoch, not at the same loss, where a network that has learned more has"
            " smaller ones; the ratio of first to last is less in doubt."
        ),
    ),
)
