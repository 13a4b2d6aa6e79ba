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
    layer_gradient,
    predict,
    reproduction,
    studies,
)

ROUTERS = (
    answers.router,
    bundles.router,
    comparisons.router,
    confusion.router,
    curves.router,
    distillation.router,
    explanations.router,
    gradient_flow.router,
    layer_gradient.router,
    predict.router,
    reproduction.router,
    *studies.ROUTERS,
)
