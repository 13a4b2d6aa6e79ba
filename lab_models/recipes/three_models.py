"""The comparison of three models: an MLP, a CNN and a ResNet-18 on CIFAR-10.

The source's table of performance metrics is blank, its data set is a template's gap ("e.g., MNIST or CIFAR-10"; its
script says CIFAR-10) and its optimizer is unnamed (SGD in the script). Its command lines say 50 epochs, batches of 128,
learning rate 0.1 for all three. It claims, from pictures without numbers, that the ResNet "converges faster and reaches
higher accuracy due to the effectiveness of skip connections" and that its gradients "maintain a higher magnitude across
layers", the latter from one layer of one network.

Three families are no test of shortcuts: whatever differs between them, much else does too. he-depth and gradients are.

Cost on 2 CPU cores: MLP 6 minutes a run, CNN about 5 and ResNet-18 17 minutes an epoch (measured). On a GPU 1, 2 and 3
minutes a run (estimate).
"""

from lab_models.recipes.procedures import CIFAR_THREE_MODELS
from lab_models.recipes.published_tables import AddedColumn, PublishedTable, RowName, Scored, Sized
from lab_models.recipes.recipe import (
    Better,
    Cell,
    Claim,
    Contrast,
    Expected,
    Recipe,
    Scale,
)

PAIRS = (("resnet18", "mlp"), ("resnet18", "cnn"))

RECIPE = Recipe(
    name="three-models",
    title_template="MLP, CNN and ResNet-18 on {dataset}",
    question_template=(
        "How do an MLP, a CNN and a ResNet-18 compare in accuracy, speed of learning, cost and gradients?"
    ),
    reproduces="README of the three models: its command lines, with what its script adds; fills its blank table",
    factors=("network",),
    cells=(
        Cell(
            key="mlp",
            title="MLP 512-512",
            request={
                **CIFAR_THREE_MODELS,
                "model": "three-models-mlp",
                "probes": ["gradient_flow"],
            },
            factors={"network": "mlp"},
            expected=Expected(low=0.50, high=0.58, source="estimate, to be confirmed"),
        ),
        Cell(
            key="cnn",
            title="CNN of six convs 64-128-256",
            request={
                **CIFAR_THREE_MODELS,
                "model": "three-models-cnn",
                "probes": ["gradient_flow"],
            },
            factors={"network": "cnn"},
            expected=Expected(low=0.90, high=0.925, source="estimate, to be confirmed"),
        ),
        Cell(
            key="resnet18",
            title="ResNet-18, stem for small images",
            request={**CIFAR_THREE_MODELS, "model": "resnet18", "probes": ["gradient_flow"]},
            factors={"network": "resnet18"},
            expected=Expected(
                low=0.93,
                high=0.955,
                source="literature: ResNet-18 on CIFAR-10 93 to 95.5 % at longer schedules",
            ),
        ),
    ),
    contrasts=(
        Contrast(treatment="resnet18", control="mlp", factor="model"),
        Contrast(treatment="resnet18", control="cnn", factor="model"),
        Contrast(treatment="cnn", control="mlp", factor="model"),
    ),
    claims=(
        Claim(
            key="converges-faster",
            text="ResNet converges faster.",
            source="README of the three models, results",
            test=Better(contrasts=PAIRS, metric="val.mean_accuracy"),
            note="Measured by val accuracy averaged over all epochs: how high, and how early.",
        ),
        Claim(
            key="reaches-higher-accuracy",
            text="ResNet reaches higher accuracy due to the effectiveness of skip connections.",
            source="README of the three models, results",
            test=Better(contrasts=PAIRS),
            note="That it is due to the shortcuts does not follow: the three networks differ in everything.",
        ),
        Claim(
            key="gradients-stay-larger",
            text=(
                "Gradients in ResNet maintain a higher magnitude across layers, preventing them from vanishing in"
                " deeper layers."
            ),
            source="README of the three models, gradients",
            test=Better(contrasts=PAIRS, metric="gradient_flow.first_over_last"),
            note=(
                "The source shows one layer of one network. Here: the gradient of the first layer over that of the"
                " last, weights only, at the last epoch: how many decades that is from 1, in either direction."
            ),
        ),
    ),
    margin_points=0.5,
    scales={
        "smoke": Scale(
            description=(
                "300 training images in batches of 32, 1 epoch at learning rate 0.01, 2 seeds; a fiftieth as val."
            ),
            seeds=2,
            overrides={
                "dataset.train_limit": 300,
                "dataset.val_fraction": 0.02,
                "batch_size": 32,
                "epochs": 1,
                "optimizer.learning_rate": 0.01,
            },
            cost_cpu="4 minutes (measured)",
            cost_gpu="less than a minute (estimate)",
        ),
        "full": Scale(
            description="All images, 50 epochs, as the source; 3 seeds where it has one.",
            seeds=3,
            cost_cpu="about 2 days: MLP 6 minutes a run, CNN 5 and ResNet-18 17 minutes an epoch (measured)",
            cost_gpu="about 20 minutes: 1, 2 and 3 minutes a run (estimate)",
        ),
    },
    pictures=("curves", "tradeoff", "gradient_flow", "differences"),
    published_tables=(
        PublishedTable(
            title="Performance Metrics",
            columns=("Model", "Performance Metrics"),
            rows=(("MLP", ""), ("CNN", ""), ("ResNet", "")),
            split="",
            num_images=(),
            row_cells=("mlp", "cnn", "resnet18"),
            measures=(RowName(), Scored()),
            added=(
                AddedColumn(heading="Val accuracy", measure=Scored(metric="val.accuracy")),
                AddedColumn(heading="Parameters", measure=Sized(size="parameters")),
                AddedColumn(heading="Seconds of training", measure=Scored(metric="seconds")),
            ),
            note="The source's column is blank; what stands in it is test accuracy.",
        ),
    ),
    notes=(
        "The script augments val and test too, which makes its scores random and low; here train alone is augmented.",
        (
            "The MLP is trained at 0.1 like the others, as the source's command lines say: it learns, slowly (40.7 % on"
            " val after 4 epochs of cosine, measured)."
        ),
    ),
)
