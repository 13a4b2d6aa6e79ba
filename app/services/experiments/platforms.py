"""On which platforms a run would be trained now: those of the workers online."""

from dataclasses import dataclass

from sqlmodel import Session

from app.services.experiments.likeness import Platform
from app.services.lifecycle import workers
from lab_models.common.revision import torch_version
from lab_models.running.threads import useful_threads
from lab_models.specs import AnySpec


@dataclass(frozen=True)
class Workplace:
    """Where a worker trains. `threads` are all that it may use, or, where `threads_are_set`, what each run gets."""

    kind: str
    torch: str | None
    threads: int
    threads_are_set: bool | None

    def platform(self, spec: AnySpec) -> Platform:
        """The platform of a run of the spec there."""
        if self.threads_are_set is None:  # a worker of an older version does not say
            threads = None
        else:
            threads = self.threads if self.threads_are_set else useful_threads(spec, self.threads)
        return Platform.of(self.kind, self.torch, threads)


@dataclass(frozen=True)
class Workplaces:
    """Where the workers online train."""

    found: frozenset[Workplace]

    def platforms(self, spec: AnySpec) -> frozenset[Platform]:
        """Those on which a run of the spec may be trained. While no worker is online nothing is known of them but the
        torch that is installed here, if one is.
        """
        if not self.found:
            return frozenset({Platform.of(None, torch_version(), None)})
        return frozenset(place.platform(spec) for place in self.found)


def places_now(session: Session) -> Workplaces:
    """Of the workers that can train."""
    return Workplaces(
        frozenset(
            Workplace(
                workers.kind_of_device(worker.device),
                worker.torch,
                worker.threads,
                worker.threads_are_set,
            )
            for worker in workers.fit(session)
        )
    )
