"""Exercise 2.1, second half: a CIFAR-10 network is trained on for CIFAR-100, from its head alone to all of its layers.

The source announces fine-tuning for CIFAR-100 and has a class of settings for it (a frozen backbone that is freed after
five epochs, learning rate 0.0001), but neither section nor numbers. Other labs' published test accuracies for the same
exercise: head alone 24 to 34 %, all layers 29 to 60 %. A ResNet-18 from scratch has 75.61 % after 200 epochs in the
literature.

No comparison is worth much without the control: the same network from scratch, once by the very same procedure and once
with the learning rate that suits it.

Cost on 2 CPU cores: 17 minutes an epoch where all layers are trained (measured for the teacher's network), so the full
scale is for a GPU: 60 epochs take 2 to 3 minutes (estimate).
"""

from lab_models.recipes.procedures import CIFAR_FAST, Part
from lab_models.recipes.recipe import Better, Cell, Claim, Contrast, Expected, Recipe, Scale

TUNING: Part = {
    "dataset": {"name": "cifar100", "val_fraction": 0.1, "augmentation": "crop_flip"},
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
    },
    "schedule": {"name": "cosine"},
    "batch_size": 128,
    "epochs": 60,
    "label_smoothing": 0.1,
}
"""60 epochs of SGD 0.01 with cosine for every strategy, so that they differ in what is trained alone."""

ON_SOURCE: Part = {"kind": "transfer", **TUNING, "source": {"cell": "source"}}
LAST_STAGES = (1, 2, 3)

RECIPE = Recipe(
    name="finetune",
    title_template="Fine-tuning a {source} network for {dataset}",
    question_template=(
        "How much of a {source} network must be trained on for {dataset}, and does it beat starting from scratch?"
    ),
    reproduces="README, key components: end-to-end fine-tuning for CIFAR-100, which it announces without numbers",
    factors=("strategy", "optimizer"),
    cells=(
        Cell(
            key="source",
            title="source",
            request={**CIFAR_FAST, "model": "teacher"},
            factors={"strategy": "source", "optimizer": "sgd"},
            num_seeds=1,
            expected=Expected(low=0.938, high=0.948, source="estimate, to be confirmed"),
        ),
        Cell(
            key="head",
            title="head alone",
            request={
                **ON_SOURCE,
                "strategy": "linear_probe",
                "optimizer": {**TUNING["optimizer"], "learning_rate": 0.1},
            },
            factors={"strategy": "head", "optimizer": "sgd"},
            expected=Expected(low=0.36, high=0.44, source="estimate, to be confirmed"),
        ),
        *(
            Cell(
                key=f"last-{stages}",
                title=f"head and last {f'{stages} stages' if stages > 1 else 'stage'}",
                request={
                    **ON_SOURCE,
                    "strategy": "fine_tune",
                    "last_stages": stages,
                    "layer_decay": 0.7,
                },
                factors={"strategy": f"last {stages}", "optimizer": "sgd"},
                expected=Expected(low=0.52, high=0.62, source="estimate, to be confirmed")
                if stages == 1
                else None,
            )
            for stages in LAST_STAGES
        ),
        Cell(
            key="staged",
            title="one stage more every 5 epochs",
            request={**ON_SOURCE, "strategy": "staged", "unfreeze_every": 5, "layer_decay": 0.7},
            factors={"strategy": "staged", "optimizer": "sgd"},
        ),
        Cell(
            key="full",
            title="all layers",
            request={**ON_SOURCE, "strategy": "fine_tune", "layer_decay": 0.7},
            factors={"strategy": "all", "optimizer": "sgd"},
            expected=Expected(low=0.74, high=0.77, source="estimate, to be confirmed"),
        ),
        Cell(
            key="full-adam",
            title="all layers, Adam",
            request={
                **ON_SOURCE,
                "strategy": "fine_tune",
                "layer_decay": 0.7,
                "optimizer": {"name": "adam", "learning_rate": 1e-4},
            },
            factors={"strategy": "all", "optimizer": "adam"},
        ),
        Cell(
            key="full-adamw",
            title="all layers, AdamW",
            request={
                **ON_SOURCE,
                "strategy": "fine_tune",
                "layer_decay": 0.7,
                "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 0.05},
            },
            factors={"strategy": "all", "optimizer": "adamw"},
        ),
        Cell(
            key="scratch",
            title="from scratch, the same procedure",
            request={**TUNING, "model": "teacher"},
            factors={"strategy": "scratch", "optimizer": "sgd"},
        ),
        Cell(
            key="scratch-0.1",
            title="from scratch, learning rate 0.1",
            request={
                **TUNING,
                "model": "teacher",
                "optimizer": {**TUNING["optimizer"], "learning_rate": 0.1},
            },
            factors={"strategy": "scratch", "optimizer": "sgd, 0.1"},
            expected=Expected(
                low=0.72,
                high=0.74,
                source="estimate, from the literature's 75.61 % after 200 epochs",
            ),
        ),
    ),
    contrasts=(
        Contrast(treatment="full", control="scratch", factor="source,layer_decay"),
        Contrast(
            treatment="full",
            control="scratch-0.1",
            factor="source,layer_decay,optimizer",
        ),
        Contrast(
            treatment="full",
            control="head",
            factor="strategy,layer_decay,optimizer",
        ),
        *(
            Contrast(treatment="full", control=f"last-{stages}", factor="last_stages")
            for stages in LAST_STAGES
        ),
        Contrast(treatment="staged", control="full", factor="strategy,unfreeze_every"),
        Contrast(treatment="full-adam", control="full", factor="optimizer"),
        Contrast(treatment="full-adamw", control="full", factor="optimizer"),
    ),
    claims=(
        Claim(
            key="worth-more-than-scratch",
            text="A network trained on CIFAR-10 is a better start for CIFAR-100 than initial weights.",
            source="README, key components, by implication",
            test=Better(contrasts=(("full", "scratch-0.1"),)),
            note=(
                "Against the control with the learning rate that suits it: against the same small learning rate the"
                " source is favored."
            ),
        ),
        Claim(
            key="deeper-is-better",
            text="Unfreezing earlier layers improves on training the head alone.",
            source="the lab's exercise text, 2.1",
            test=Better(
                contrasts=(
                    *((f"last-{stages}", "head") for stages in LAST_STAGES),
                    ("full", "head"),
                )
            ),
        ),
    ),
    margin_points=1.0,
    scales={
        "smoke": Scale(
            description=(
                "500 training images in batches of 32, 1 epoch, a quarter of the width, the source at learning rate"
                " 0.05, 2 seeds; a fiftieth as val."
            ),
            seeds=2,
            overrides={
                "dataset.train_limit": 500,
                "dataset.val_fraction": 0.02,
                "epochs": 1,
                "batch_size": 32,
            },
            cell_overrides={
                "source": {
                    "model.width": 16,
                    "precision": "float32",
                    "optimizer.learning_rate": 0.05,
                },
                "scratch": {"model.width": 16},
                "scratch-0.1": {"model.width": 16},
            },
            cost_cpu="2 minutes (measured)",
            cost_gpu="about a minute (estimate)",
        ),
        "full": Scale(
            description="All images, 60 epochs, one source network and 3 seeds of every strategy.",
            seeds=3,
            cost_cpu="about 3 weeks: up to 17 minutes an epoch (measured)",
            cost_gpu="about 1.5 hours: 2 to 3 minutes a run (estimate)",
        ),
    },
    pictures=("factor", "curves", "differences"),
    notes=(
        "All strategies start from one source, so the intervals are of this source's descendants.",
    ),
)
