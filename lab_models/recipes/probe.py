"""Exercise 2.1, first half: what a CIFAR-10 network's features are worth on CIFAR-100, by classical classifiers.

The source announces "transfer learning and fine-tuning of pre-trained residual CNNs for CIFAR-100, including feature
extraction with classical classifiers", and has neither section nor numbers. Other labs' published test accuracies for
the same exercise: linear SVM 17 to 36 %, k-NN 10 to 25 %, Gaussian naive Bayes 22 %.

Features are a stage's output averaged over its map; C and k are chosen on val. The source network is the teacher of
exercise 2.2.

Cost on 2 CPU cores: features 6 to 7 minutes, SVM 2 to 5 (estimate), and 8 hours for the source network. On a GPU 20
seconds and 1.1 minutes (estimate).
"""

from lab_models.recipes.procedures import CIFAR_FAST
from lab_models.recipes.recipe import Cell, Contrast, Expected, Recipe, Scale

STAGES = (0, 1, 2, 3)

RECIPE = Recipe(
    name="probe",
    title_template="A {source} network's features on {dataset}",
    question_template="How far do frozen features of {source} carry on {dataset}, and from which stage?",
    reproduces=(
        "README, key components: feature extraction with classical classifiers, which it announces without numbers"
    ),
    factors=("stage", "classifier"),
    cells=(
        Cell(
            key="source",
            title="source",
            request={**CIFAR_FAST, "model": "teacher"},
            factors={"stage": None, "classifier": None},
            num_seeds=1,
            expected=Expected(low=0.938, high=0.948, source="estimate, to be confirmed"),
        ),
        *(
            Cell(
                key=f"stage-{stage}",
                title=f"all six classifiers on stage {stage}",
                request={
                    "kind": "transfer",
                    "dataset": {"name": "cifar100", "val_fraction": 0.1},
                    "source": {"cell": "source"},
                    "strategy": "features",
                    "stage": f"stages.{stage}",
                },
                factors={"stage": stage, "classifier": "all six"},
                num_seeds=1,
            )
            for stage in STAGES
        ),
        *(
            Cell(
                key=classifier,
                title=f"{title} on the last stage",
                request={
                    "kind": "transfer",
                    "dataset": {"name": "cifar100", "val_fraction": 0.1},
                    "source": {"cell": "source"},
                    "strategy": "features",
                    "classifiers": [classifier],
                },
                factors={"stage": 3, "classifier": title},
                num_seeds=1,
                expected=Expected(
                    low=low,
                    high=high,
                    source="estimate, to be confirmed; other labs' numbers are lower or on val",
                ),
            )
            for classifier, title, low, high in (
                ("linear_svm", "linear SVM", 0.38, 0.46),
                ("logistic_regression", "logistic regression", 0.38, 0.46),
                ("lda", "LDA", 0.38, 0.44),
                ("knn", "k-NN by cosine", 0.28, 0.35),
                ("nearest_mean", "nearest class mean", 0.25, 0.32),
                ("gaussian_nb", "Gaussian naive Bayes", 0.22, 0.28),
            )
        ),
        Cell(
            key="linear-probe",
            title="a linear head, trained by steps",
            request={
                "kind": "transfer",
                "dataset": {"name": "cifar100", "val_fraction": 0.1},
                "source": {"cell": "source"},
                "strategy": "linear_probe",
                "optimizer": {"name": "adam", "learning_rate": 0.003},
                "schedule": {"name": "cosine"},
                "batch_size": 128,
                "epochs": 30,
            },
            factors={"stage": 3, "classifier": "linear head"},
            expected=Expected(low=0.36, high=0.44, source="estimate, to be confirmed"),
        ),
    ),
    contrasts=(
        *(
            Contrast(treatment=f"stage-{stage}", control="stage-3", factor="stage")
            for stage in STAGES[:-1]
        ),
        *(
            Contrast(
                treatment=classifier,
                control="linear_svm",
                factor="classifiers",
            )
            for classifier in ("logistic_regression", "lda", "knn", "nearest_mean", "gaussian_nb")
        ),
    ),
    margin_points=1.0,
    scales={
        "smoke": Scale(
            description=(
                "1,000 training images, 1 epoch in batches of 32, a source of a quarter of the width at learning rate"
                " 0.05; a fiftieth as val."
            ),
            seeds=2,
            overrides={
                "dataset.train_limit": 1000,
                "dataset.val_fraction": 0.02,
                "epochs": 1,
                "batch_size": 32,
            },
            cell_overrides={
                "source": {
                    "model.width": 16,
                    "precision": "float32",
                    "optimizer.learning_rate": 0.05,
                }
            },
            cost_cpu="1.5 minutes (measured)",
            cost_gpu="about a minute (estimate)",
        ),
        "full": Scale(
            description=(
                "All images; one source network, whose features do not depend on any further seed; 3 seeds of the"
                " trained head."
            ),
            seeds=3,
            cost_cpu=(
                "about 20 hours: the source 8.5 (measured per epoch), 10 minutes a cell of features, 2.8 hours a seed"
                " of the head (estimate)"
            ),
            cost_gpu=(
                "about 15 minutes: the source 1.1 minutes, 20 seconds for features, classifiers on the CPU (estimate)"
            ),
        ),
    },
    pictures=("factor",),
    notes=(
        (
            "Classical classifiers on one source's frozen features have nothing random in them: their cells have one"
            " run and no interval over seeds."
        ),
        (
            "For the difference of two such cells, the images of test are what varies: predictions are published with"
            " each run."
        ),
        (
            "A stage's cell reports the classifier that is best on val; each one's own number is"
            " test.<classifier>_accuracy."
        ),
    ),
)
