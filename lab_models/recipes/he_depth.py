"""The clean design for depth: He et al.'s CIFAR networks of 20 to 56 layers, plain and residual with the same
parameters.

He et al. 2015, table 6, test error of ResNets on CIFAR-10: 8.75 % (20 layers), 7.51 (32), 7.17 (44), 6.97 (56); plain
networks stand in their figure 6 alone, worse with depth. An independent replication has 9.63, 9.92, 10.36 and 14.22 %
for plain ones and 8.24, 7.36, 7.38 and 8.30 % for residual ones. Train error rises with depth as well (1.23 to 5.24 %):
degradation, not overfitting.

Both arms of a pair have the same parameters: 0.27, 0.46, 0.66 and 0.85 million.

Cost on 2 CPU cores: ResNet-20 2.1 minutes an epoch, ResNet-56 5.3 (measured). On a GPU 5 to 6 minutes for 20 layers and
about 15 for 56 at 182 epochs (estimate).
"""

from lab_models.recipes.procedures import CIFAR_HE
from lab_models.recipes.published_tables import AddedColumn, PublishedTable, RowName, Scored, Sized
from lab_models.recipes.recipe import (
    Better,
    Cell,
    Claim,
    Contrast,
    Expected,
    PublishedNumber,
    Recipe,
    Scale,
    Trend,
)
from lab_models.recipes.variants import variant

DEPTHS = (20, 32, 44, 56)
ARMS = (("plain", False), ("residual", True))

PUBLISHED = {
    ("residual", 20): PublishedNumber(value=0.9125, printed="8.75 % error"),
    ("residual", 32): PublishedNumber(value=0.9249, printed="7.51 % error"),
    ("residual", 44): PublishedNumber(value=0.9283, printed="7.17 % error"),
    ("residual", 56): PublishedNumber(value=0.9303, printed="6.97 % error"),
}
LITERATURE = "literature: He et al. 2015, table 6, and two replications"
REPLICATION = "literature: one replication's single run ± 0.5 points, 2 at 56 layers"
EXPECTED = {
    ("residual", 20): Expected(low=0.912, high=0.918, source=LITERATURE),
    ("residual", 32): Expected(low=0.924, high=0.927, source=LITERATURE),
    ("residual", 44): Expected(low=0.926, high=0.931, source=LITERATURE),
    ("residual", 56): Expected(low=0.917, high=0.934, source=LITERATURE),
    ("plain", 20): Expected(low=0.899, high=0.909, source=REPLICATION),
    ("plain", 32): Expected(low=0.896, high=0.906, source=REPLICATION),
    ("plain", 44): Expected(low=0.891, high=0.901, source=REPLICATION),
    ("plain", 56): Expected(low=0.838, high=0.878, source=REPLICATION),
}

CLAIMS = (
    Claim(
        key="degradation",
        text="Plain networks get worse with depth.",
        source="He et al. 2015, section 4.2 and figure 6, left",
        test=Trend(cells=tuple(f"plain-{depth}" for depth in DEPTHS), rises=False),
    ),
    Claim(
        key="residual-gains-from-depth",
        text="Residual networks get better with depth.",
        source="He et al. 2015, table 6",
        test=Trend(cells=tuple(f"residual-{depth}" for depth in DEPTHS)),
    ),
    Claim(
        key="residual-is-better",
        text="With the same parameters, residual networks are better than plain ones.",
        source="He et al. 2015, section 4.2",
        test=Better(contrasts=tuple((f"residual-{depth}", f"plain-{depth}") for depth in DEPTHS)),
    ),
)
CONTRASTS = tuple(
    Contrast(treatment=f"residual-{depth}", control=f"plain-{depth}", factor="model.residual")
    for depth in DEPTHS
)
SMOKE = Scale(
    description="500 training images in batches of 32, 1 epoch, 2 seeds; a fiftieth as val.",
    seeds=2,
    overrides={
        "dataset.train_limit": 500,
        "dataset.val_fraction": 0.02,
        "batch_size": 32,
        "epochs": 1,
    },
    cost_cpu="4 to 4.5 minutes (measured)",
    cost_gpu="about a minute (estimate)",
)

RECIPE = Recipe(
    name="he-depth",
    title_template="He et al.'s CIFAR networks of 20 to 56 layers, plain and residual, on {dataset}",
    question_template="Does depth hurt plain networks and help residual ones, all else being equal?",
    reproduces="He et al. 2015, table 6 and figure 6, with the paper's settings",
    factors=("depth", "network"),
    cells=tuple(
        Cell(
            key=f"{arm}-{depth}",
            title=f"{arm}-{depth}",
            request={**CIFAR_HE, "model": {"preset": f"resnet{depth}", "residual": residual}},
            factors={"depth": depth, "network": arm},
            published=PUBLISHED.get((arm, depth)),
            expected=EXPECTED[arm, depth],
        )
        for depth in DEPTHS
        for arm, residual in ARMS
    ),
    contrasts=CONTRASTS,
    claims=CLAIMS,
    margin_points=0.5,
    scales={
        "smoke": SMOKE,
        "full": Scale(
            description="All images, 182 epochs (64k iterations), as the paper; 5 seeds.",
            seeds=5,
            cost_cpu="about 19 days: 2.1 minutes an epoch at 20 layers to 5.3 at 56 (measured)",
            cost_gpu="about 7 hours: 5 to 6 minutes a run at 20 layers, about 15 at 56 (estimate)",
        ),
    },
    pictures=("factor", "curves", "differences"),
    published_tables=(
        PublishedTable(
            title="He et al. 2015, table 6",
            columns=("Layers", "Parameters", "Error"),
            rows=(
                ("20", "0.27M", "8.75"),
                ("32", "0.46M", "7.51"),
                ("44", "0.66M", "7.17"),
                ("56", "0.85M", "6.97"),
            ),
            split="test",
            num_images=(10_000,),
            accuracy_columns=("Error",),
            parameter_column="Parameters",
            row_cells=tuple(f"residual-{depth}" for depth in DEPTHS),
            row_arms=tuple({"plain": f"plain-{depth}"} for depth in DEPTHS),
            measures=(RowName(), Sized(size="parameters"), Scored(shown_as="error")),
            added=(
                AddedColumn(
                    heading="Error without shortcuts",
                    measure=Scored(arm="plain", shown_as="error"),
                ),
            ),
            note="Errors are in % of the test images. The paper's table has the residual networks alone.",
        ),
    ),
    notes=(
        (
            "The paper tests the last epoch of 45,000 images' training; here the epoch of lowest val loss is tested,"
            " and both are kept."
        ),
        "float32 throughout: one replication saw plain-56 diverge in half precision.",
        "110 layers are left out: add them with the preset resnet110 and schedule.warmup_epochs 1.",
    ),
)

SHORT = variant(
    RECIPE,
    name="he-depth-short",
    title_template="He et al.'s CIFAR networks in 60 epochs, on {dataset}",
    question_template="Does depth hurt plain networks and help residual ones in a third of the paper's epochs?",
    reproduces="He et al. 2015, table 6 and figure 6, with 60 epochs of cosine in place of 182 with steps",
    procedure={**CIFAR_HE, "schedule": {"name": "cosine"}, "epochs": 60},
    scales={"full": {"description": "All images, 60 epochs, 5 seeds."}},
    cost={
        "full": (
            "about 6 days: 2.1 minutes an epoch at 20 layers to 5.3 at 56 (measured)",
            "about 2.5 hours: 2 to 5 minutes a run (estimate)",
        )
    },
    published_tables=(),
    notes=(
        "The paper's numbers are of three times as many epochs; an answer here is about the order of the networks.",
    ),
)
