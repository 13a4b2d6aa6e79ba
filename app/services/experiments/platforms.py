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
    """Where a worker trains. `threads` are what a run of convolutions gets, `cores` what one that is alone may take;
    where `threads_are_set`, what each run gets.
    """

    kind: str
    torch: str | None
    threads: int
    threads_are_set: bool | None
    cores: int | None = None

    def platforms(self, spec: AnySpec, *, by_itself: bool) -> frozenset[Platform]:
        """Those of a run of the spec there; where it may be `by_itself`, also that of one that has all
        cores.
        """
        threads: set[int | None]
        if self.threads_are_set is None:  # a worker of an older version does not say
            threads = {None}
        elif self.threads_are_set:
            threads = {self.threads}
        else:
            threads = {useful_threads(spec, self.threads)}
            if by_itself and self.cores is not None:
                threads.add(useful_threads(spec, self.cores))
        return frozenset(Platform.of(self.kind, self.torch, number) for number in threads)


@dataclass(frozen=True)
class Workplaces:
    """Where the workers online train."""

    found: frozenset[Workplace]

    def platforms(self, spec: AnySpec, *, by_itself: bool = False) -> frozenset[Platform]:
        """Those on which a run of the spec may be trained. While no worker is online nothing is known of them but the
        torch that is installed here, if one is.
        """
        if not self.found:
            return frozenset({Platform.of(None, torch_version(), None)})
        return frozenset[Platform]().union(
            *(place.platforms(spec, by_itself=by_itself) for place in self.found)
        )


def places_now(session: Session) -> Workplaces:
    """Of the workers that can train."""
    return Workplaces(
        frozenset(
            Workplace(
                workers.kind_of_device(worker.device),
                worker.torch,
                worker.threads,
                worker.threads_are_set,
                worker.cores,
            )
            for worker in workers.fit(session)
        )
    )
