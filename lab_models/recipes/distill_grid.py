"""Exercise 2.2 as a heat map: the student of distill.py over temperature and weight of the soft loss, at 30 epochs.

No source has such a table. What is known of the pair, and what its training costs, stands in distill.py.
"""

from lab_models.recipes.distill import STUDENT_GAINS, TABLE
from lab_models.recipes.procedures import CIFAR_FAST
from lab_models.recipes.recipe import Better, Cell, Contrast, Expected, Recipe, Scale

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
ALPHAS = (0.1, 0.5, 0.7, 0.9, 1.0)
STUDENTS = {
    f"t-{temperature:g}-alpha-{alpha:g}": (temperature, alpha)
    for temperature in TEMPERATURES
    for alpha in ALPHAS
}
"""Temperature and alpha of each student, by the key of its cell."""

VIEWS = {
    **CIFAR_FAST["dataset"],
    "augmentation": {"crop_padding": 4, "horizontal_flip": True, "cutout": 8, "views": 8},
}
"""Eight fixed views of each image, so that the teacher's logits of each can be stored. The baseline sees the same."""

RECIPE = Recipe(
    name="distill-grid",
    title_template="Distillation on {dataset} by temperature and weight of the soft loss",
    question_template="Which temperature and which weight of the soft loss help the student most?",
    reproduces="no table: exercise 2.2's two networks over T and alpha, at 30 epochs",
    factors=("temperature", "alpha"),
    cells=(
        Cell(
            key="teacher",
            title="teacher",
            request={**CIFAR_FAST, "model": "teacher"},
            factors={"temperature": None, "alpha": None},
            num_seeds=1,
            expected=Expected(low=0.938, high=0.948, source="estimate, to be confirmed"),
        ),
        Cell(
            key="baseline",
            title="student without a teacher",
            request={**CIFAR_FAST, "dataset": VIEWS, "model": "student"},
            factors={"temperature": None, "alpha": 0.0},
            expected=Expected(
                low=0.910,
                high=0.928,
                source="estimate, to be confirmed: 91.5 to 92.8 % with new views in each epoch",
            ),
        ),
        *(
            Cell(
                key=key,
                title=f"T = {temperature:g}, alpha = {alpha:g}",
                request={
                    "kind": "distill",
                    **CIFAR_FAST,
                    "dataset": VIEWS,
                    "student": "student",
                    "teacher": {"cell": "teacher"},
                    "temperature": temperature,
                    "alpha": alpha,
                    "teacher_outputs": "stored",
                },
                factors={"temperature": temperature, "alpha": alpha},
            )
            for key, (temperature, alpha) in STUDENTS.items()
        ),
    ),
    contrasts=tuple(
        Contrast(treatment=key, control="baseline", factor="teacher") for key in STUDENTS
    ),
    claims=(
        STUDENT_GAINS.model_copy(
            update={
                "test": Better(contrasts=tuple((key, "baseline") for key in STUDENTS)),
                "note": (
                    "Over the whole grid. At 30 epochs gains of 0.5 to 3 points are to be expected (estimate); they"
                    " shrink with training."
                ),
            }
        ),
    ),
    margin_points=0.5,
    scales={
        "smoke": Scale(
            description=(
                "500 training images in batches of 32, 1 epoch, learning rate 0.05, one view each, a quarter of the"
                " width, 2 seeds; a fiftieth as val."
            ),
            seeds=2,
            overrides={
                "dataset.train_limit": 500,
                "dataset.val_fraction": 0.02,
                "batch_size": 32,
                "epochs": 1,
                "precision": "float32",
                "optimizer.learning_rate": 0.05,
            },
            cell_overrides={
                "teacher": {"model.width": 16},
                "baseline": {"model.width": 8, "dataset.augmentation.views": 1},
                **{key: {"student.width": 8, "dataset.augmentation.views": 1} for key in STUDENTS},
            },
            cost_cpu="4 minutes (measured)",
            cost_gpu="about 2 minutes (estimate)",
        ),
        "full": Scale(
            description="All images, 30 epochs, one teacher, 5 seeds of each of 25 students and of the baseline.",
            seeds=5,
            cost_cpu="about 10 days: student 3.7 minutes an epoch (measured)",
            cost_gpu="about 1.5 hours: 40 seconds a run (estimate)",
        ),
    },
    pictures=("heat_map", "distillation", "curves"),
    published_tables=(TABLE,),
    notes=(
        (
            "The teacher's logits are stored once for eight views of each image; every student, the baseline too, sees"
            " these views in turn."
        ),
    ),
)
