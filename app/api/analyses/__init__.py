"""What runs have shown, over HTTP: tables, verdicts, pictures, explanations, predictions, and doing an experiment
again.
"""

from app.api.analyses import (
    comparisons,
    confusion,
    curves,
    distillation,
    explanations,
    gradient_flow,
    predict,
    reproduction,
    study_pictures,
    study_report,
    study_tables,
    study_verdicts,
)

ROUTERS = (
    comparisons.router,
    confusion.router,
    curves.router,
    distillation.router,
    explanations.router,
    gradient_flow.router,
    predict.router,
    reproduction.router,
    study_pictures.router,
    study_report.router,
    study_tables.router,
    study_verdicts.router,
)
