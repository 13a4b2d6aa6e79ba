"""What runs have shown, over HTTP: tables, verdicts, pictures, explanations, predictions, and doing an experiment
again.
"""

from app.api.analyses import (
    answers,
    bundles,
    comparisons,
    confusion,
    curves,
    distillation,
    explanations,
    gradient_flow,
    latex,
    layer_gradient,
    model_folders,
    notebooks,
    predict,
    reproduction,
    studies,
    tensorboard,
)

ROUTERS = (
    latex.router,  # before the pictures, of whose addresses its own look like one more format
    answers.router,
    bundles.router,
    comparisons.router,
    confusion.router,
    curves.router,
    distillation.router,
    explanations.router,
    gradient_flow.router,
    layer_gradient.router,
    model_folders.router,
    notebooks.router,
    predict.router,
    reproduction.router,
    tensorboard.router,
    *studies.ROUTERS,
)
