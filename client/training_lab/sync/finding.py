"""Which trackers there are: those of this package, and others by an entry point."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Final

from training_lab.errors import Unusable
from training_lab.sync import mlflow, packaged, tensorboard
from training_lab.sync.sink import SinkOptions, Tracker

GROUP: Final = "lab.sinks"
"""Of entry points."""
Make = Callable[[SinkOptions], Tracker]
OWN: Final[Mapping[str, Make]] = {
    "wandb": packaged.wandb_tracker,
    "mlflow": mlflow.tracker,
    "tensorboard": tensorboard.tracker,
    "trackio": packaged.trackio_tracker,
}


def names() -> list[str]:
    """All that can be named here."""
    return [*OWN, *sorted({one.name for one in entry_points(group=GROUP)} - set(OWN))]


def find(name: str, options: SinkOptions) -> Tracker:
    """The tracker of this name. Raises Unusable where there is none, or what it needs is missing."""
    if name in OWN:
        return OWN[name](options)
    for one in entry_points(group=GROUP, name=name):
        try:
            make: Make = one.load()
        except Exception as error:
            raise Unusable(
                f"the tracker {name!r} ({one.value}) cannot be loaded: {error}"
            ) from error
        return make(options)
    raise Unusable(f"there is no tracker {name!r}; there are {', '.join(names())}")


def usual() -> tuple[str, str]:
    """The tracker that is meant where nobody names one, and a sentence that says which and why."""
    if find_spec("wandb") is not None:
        return "wandb", "logging to Weights & Biases, since wandb is installed here"
    return (
        "tensorboard",
        f"logging for TensorBoard into {tensorboard.USUAL_FOLDER}/, since wandb is not installed here",
    )
