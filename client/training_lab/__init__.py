"""A training-lab service from Python: `Lab`, and `AsyncLab` for who awaits.

from training_lab import Lab
lab = Lab()                                       # LAB_URL and LAB_API_KEY, else http://127.0.0.1:8000
experiment = lab.submit(model="mlp", dataset="digits", seeds=3).wait()
experiment.results["test"]["accuracy"]            # 0.974 ± 0.004 (n = 3)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from training_lab.version import VERSION

if TYPE_CHECKING:
    from training_lab.errors import (
        Conflict,
        FieldFault,
        LabError,
        NotFound,
        Refused,
        RunFailed,
        TimedOut,
        TooMany,
        Unreachable,
        Unusable,
    )
    from training_lab.events import Event
    from training_lab.experiment import AsyncExperiment, Experiment
    from training_lab.lab import AsyncLab, Lab
    from training_lab.metrics import Metrics
    from training_lab.pictures import Picture
    from training_lab.records import (
        Artifact,
        Dataset,
        DryRun,
        Prediction,
        Recipe,
        StudyDryRun,
        WaitingRun,
        Worker,
    )
    from training_lab.run import AsyncRun, Run
    from training_lab.study import AsyncStudy, Study
    from training_lab.summaries import Progress, Summary
    from training_lab.tables import Comparison, Table, Verdicts

__version__ = VERSION

__all__ = [
    "Artifact",
    "AsyncExperiment",
    "AsyncLab",
    "AsyncRun",
    "AsyncStudy",
    "Comparison",
    "Conflict",
    "Dataset",
    "DryRun",
    "Event",
    "Experiment",
    "FieldFault",
    "Lab",
    "LabError",
    "Metrics",
    "NotFound",
    "Picture",
    "Prediction",
    "Progress",
    "Recipe",
    "Refused",
    "Run",
    "RunFailed",
    "Study",
    "StudyDryRun",
    "Summary",
    "Table",
    "TimedOut",
    "TooMany",
    "Unreachable",
    "Unusable",
    "Verdicts",
    "WaitingRun",
    "Worker",
    "__version__",
]

PLACES: Final = {
    "errors": "Conflict FieldFault LabError NotFound Refused RunFailed TimedOut TooMany Unreachable Unusable",
    "events": "Event",
    "experiment": "AsyncExperiment Experiment",
    "lab": "AsyncLab Lab",
    "metrics": "Metrics",
    "pictures": "Picture",
    "records": "Artifact Dataset DryRun Prediction Recipe StudyDryRun WaitingRun Worker",
    "run": "AsyncRun Run",
    "study": "AsyncStudy Study",
    "summaries": "Progress Summary",
    "tables": "Comparison Table Verdicts",
}
"""Where each name is defined, by module: it is loaded with the first use, as `lab --version` needs none of them."""


def __getattr__(name: str) -> Any:
    for module, names in PLACES.items():
        if name in names.split():
            return getattr(import_module(f"training_lab.{module}"), name)
    raise AttributeError(f"module 'training_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
