"""An experiment with its runs, as one side of a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.architectures.sameness import effect_of
from lab_models.specs import read_spec

DIVERGED = "diverged"


@dataclass(frozen=True)
class Side:
    """An experiment as one side of a comparison."""

    experiment: Experiment
    runs: Sequence[Run]
    title: str

    @cached_property
    def effect(self) -> str:
        """Names what is trained, as `effect_of`."""
        return effect_of(read_spec(self.experiment.spec))

    @cached_property
    def depends_on_seed(self) -> bool:
        """Whether another seed gives other numbers."""
        return read_spec(self.experiment.spec).depends_on_seed

    @property
    def succeeded(self) -> list[Run]:
        """Runs whose scores count."""
        return [run for run in self.runs if run.status == RunStatus.SUCCEEDED]

    @cached_property
    def planned(self) -> frozenset[int]:
        """The seeds that it was first sent with; those that were added are younger than the experiment."""
        made = self.experiment.created_at
        return frozenset(run.seed for run in self.runs if run.created_at <= made)

    @cached_property
    def settled(self) -> frozenset[int]:
        """The seeds of which nothing more is to come: those that have succeeded, and those that have diverged, which
        they would do again. What was cancelled or has failed otherwise can be retried once results have been seen.
        """
        return frozenset(
            run.seed
            for run in self.runs
            if run.status == RunStatus.SUCCEEDED
            or (run.status == RunStatus.FAILED and (run.error or {}).get("code") == DIVERGED)
        )
