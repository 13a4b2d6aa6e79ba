"""Experiments before they are written: made whole while reading, written with their runs in a few statements."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session

from app.services import lifecycle
from app.services.experiments.estimates import Estimate
from app.services.lifecycle import NewRun
from app.services.submitting.idempotency import request_hash
from app.storage.tables import LOCAL, Experiment, new_id, utc_now
from lab_models.specs import AnySpec, fingerprint
from lab_models.specs.request import DeviceKind


@dataclass(frozen=True)
class CellPlace:
    """A cell of a study."""

    study_id: str
    cell: str


@dataclass(frozen=True)
class Needed:
    """A run that another waits for, unless it has succeeded (`is_trained`)."""

    run_id: str
    is_trained: bool


@dataclass(frozen=True)
class Draft:
    """An experiment that is ready to be written, its ids made and everything worked out that takes time; one draft is
    written once.

    `needs` is by seed the run that its run with that seed waits for.
    """

    spec: dict[str, Any]
    fingerprint: str
    cost: Estimate
    epochs: int
    seeds: tuple[int, ...]
    submitted: dict[str, Any]
    request_hash: str
    name: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    device: DeviceKind = "auto"
    needs: Mapping[int, Needed] = field(default_factory=dict)
    related: dict[str, Any] = field(default_factory=dict)
    place: CellPlace | None = None
    owner: str = LOCAL
    idempotency_key: str | None = None
    id: str = field(default_factory=lambda: new_id("exp"))
    run_ids: tuple[str, ...] = ()

    def run_of(self, seed: int) -> str:
        """The id of the run with that seed."""
        return self.run_ids[self.seeds.index(seed)]

    def with_seeds(self, seeds: tuple[int, ...]) -> "Draft":
        """The same with those of its seeds alone."""
        submitted = {**self.submitted, "seeds": list(seeds)}
        return replace(
            self,
            seeds=seeds,
            run_ids=tuple(self.run_of(seed) for seed in seeds),
            submitted=submitted,
            request_hash=request_hash(submitted),
        )


@dataclass(frozen=True)
class Stored:
    """What a request has made, or what an earlier one with its key had made (`is_new` is False); `num_queued` runs have
    been queued.
    """

    id: str
    num_queued: int
    is_new: bool = True


def draft(
    spec: AnySpec, cost: Estimate, seeds: tuple[int, ...], submitted: dict[str, Any], **said: Any
) -> Draft:
    """A draft of a spec; `said` are those of its fields that have a default."""
    return Draft(
        spec=spec.model_dump(mode="json"),
        fingerprint=fingerprint(spec),
        cost=cost,
        epochs=spec.planned_epochs,
        seeds=seeds,
        submitted=submitted,
        request_hash=request_hash(submitted),
        run_ids=tuple(new_id("run") for _ in seeds),
        **said,
    )


def create(session: Session, drafts: Sequence[Draft]) -> None:
    """Write experiments and their queued runs, needed ones first, in a handful of statements; each a microsecond
    younger, so that they are trained in order.
    """
    now = utc_now()
    timed = [(one, now + timedelta(microseconds=number)) for number, one in enumerate(drafts)]
    session.execute(insert(Experiment), [_row(one, created_at) for one, created_at in timed])
    together = _trained_on_one_kind(drafts)
    longest: dict[str, float] = {}
    for one in drafts:
        group = together[one.id]
        longest[group] = max(one.cost.seconds, longest.get(group, 0.0))
    lifecycle.enqueue(
        session,
        [
            run
            for one, created_at in timed
            for run in _new_runs(one, created_at, longest[together[one.id]])
        ],
    )


def _trained_on_one_kind(drafts: Sequence[Draft]) -> dict[str, str]:
    """By the id of each what tells those apart that are trained on one kind of device: a study with all that its cells
    are compared with or build on, or one experiment with that.
    """
    groups = {one.id: one.id if one.place is None else one.place.study_id for one in drafts}
    for one in drafts:
        groups |= {kin: groups[one.id] for kin in one.related.values() if kin in groups}
    return groups


def _row(one: Draft, created_at: datetime) -> dict[str, Any]:
    return {
        "id": one.id,
        "created_at": created_at,
        "owner": one.owner,
        "name": one.name,
        "labels": one.labels,
        "kind": one.spec["kind"],
        "fingerprint": one.fingerprint,
        "submitted": one.submitted,
        "spec": one.spec,
        "arch": one.cost.arch,
        "dataset": one.spec["dataset"]["name"],
        "priority": one.priority,
        "device": one.device,
        "parameters": one.cost.parameters,
        "trainable_parameters": one.cost.trainable_parameters,
        "macs_per_sample": one.cost.macs_per_sample,
        "memory_bytes": one.cost.memory_bytes,
        "nominal_seconds": one.cost.seconds,
        "related": one.related,
        "study_id": None if one.place is None else one.place.study_id,
        "cell": None if one.place is None else one.place.cell,
        "idempotency_key": one.idempotency_key,
        "request_hash": one.request_hash,
    }


def _new_runs(one: Draft, created_at: datetime, longest: float) -> Iterator[NewRun]:
    """`longest` are the seconds of the longest run of those that are trained on one kind of device."""
    for position, (run_id, seed) in enumerate(zip(one.run_ids, one.seeds, strict=True)):
        needed = one.needs.get(seed)
        yield NewRun(
            id=run_id,
            experiment_id=one.id,
            seed=seed,
            position=position,
            owner=one.owner,
            priority=one.priority,
            trains_on=lifecycle.trains_on(one.device, longest),
            created_at=created_at,
            epochs=one.epochs,
            num_steps=one.cost.steps // one.epochs,
            needs=None if needed is None else needed.run_id,
            is_ready=needed is None or needed.is_trained,
        )
