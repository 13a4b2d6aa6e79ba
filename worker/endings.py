"""How an attempt ends."""

import traceback
from dataclasses import dataclass

from lab_models.common.errors import LabError
from lab_models.training.protocol import Completed, Failed

TRACEBACK_TAIL = 4000


@dataclass(frozen=True)
class Cancelled:
    """It was asked for, and the trainer is dead."""


@dataclass(frozen=True)
class Crashed:
    """The trainer ended without a last word, or was ended because it stood still."""

    message: str


@dataclass(frozen=True)
class Left:
    """The trainer has saved itself and left, as it was asked to, or has had its time for that."""


@dataclass(frozen=True)
class BeginsAnew:
    """The trainer is dead, and what it has trained is to be forgotten: it was too little to mix two numbers of threads
    for.
    """


Ending = Completed | Failed | Cancelled | Crashed | Left | BeginsAnew


def failed_by(error: Exception) -> Failed:
    """How the run fails by an error on the worker's side, which is being handled."""
    if isinstance(error, LabError):
        return Failed(code=error.code, message=str(error), hint=error.hint, traceback="")
    return Failed(
        code="internal",
        message=f"{type(error).__name__}: {error}",
        traceback=traceback.format_exc()[-TRACEBACK_TAIL:],
    )
