"""What a run's holder may say of it while it goes on: a closed set, and nothing else of the run's row."""

from dataclasses import dataclass
from typing import Any, assert_never

from sqlalchemy import null

from app.storage.states import StatusReason
from app.storage.tables import Run


@dataclass(frozen=True)
class Begun:
    """Data and model are in place; training goes on after so many epochs and steps."""

    environment: dict[str, Any]
    epochs_done: int = 0
    step: int = 0


@dataclass(frozen=True)
class Progressed:
    """So many whole epochs are done, and so many steps of the next."""

    epochs_done: int
    step: int = 0


@dataclass(frozen=True)
class EpochDone:
    """An epoch is done: the best so far, with its val scores, and whether training ends with it."""

    epoch: int
    best_epoch: int
    best_val: dict[str, float]
    is_last: bool = False


@dataclass(frozen=True)
class Halved:
    """Memory ran out: the next attempt computes each batch in so many parts."""

    micro_batches: int


@dataclass(frozen=True)
class Forgotten:
    """What was trained is not gone on from."""


@dataclass(frozen=True)
class Measured:
    """Numbers were written that belong to no epoch of training."""


Report = Begun | Progressed | EpochDone | Halved | Forgotten | Measured


def columns_of(report: Report | None) -> dict[str, Any]:
    """What of the run's row a report changes. A sign of life alone changes nothing, and is no change to watch."""
    match report:
        case None:
            return {"change": Run.change}
        case Measured():
            return {}
        case Begun(environment, epochs_done, step):
            return {
                "status_reason": StatusReason.TRAINING,
                "environment": environment,
                "epochs_done": epochs_done,
                "step": step,
            }
        case Progressed(epochs_done, step):
            return {"epochs_done": epochs_done, "step": step}
        case EpochDone(epoch, best_epoch, best_val, is_last):
            ending = {"status_reason": StatusReason.EVALUATING} if is_last else {}
            best = {"epoch": best_epoch, "val": best_val}
            return {"epochs_done": epoch, "step": 0, "best": best, **ending}
        case Halved(micro_batches):
            return {"micro_batches": micro_batches}
        case Forgotten():
            return {"environment": null(), "epochs_done": 0, "step": 0, "best": null()}
        case _:
            assert_never(report)
