"""How an attempt ends."""

from dataclasses import dataclass

from lab_models.training.protocol import Completed, Failed


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
