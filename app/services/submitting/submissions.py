"""From a valid request to experiments and queued runs: one for a network, up to three where another is built on.

Two steps: `prepare` reads and does all that takes time; `store` writes, in one short transaction, and looks again at
what may have changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from app.errors import Conflict, InvalidRequest
from app.services.datasets import dataset_locks, datasets
from app.services.experiments.estimates import Estimate, estimate, refusals
from app.services.lifecycle.workers import largest_memory
from app.services.owners import limits
from app.services.owners.keys import ANYONE, Caller
from app.services.submitting import teachers
from app.services.submitting.drafts import Draft, Stored, create, draft, earlier
from app.services.submitting.teachers import HeldTeacher, Teacher
from app.settings import Settings
from app.storage.tables import LOCAL
from lab_models.architectures.misfits import misfits
from lab_models.common.validation import FieldError, did_you_mean, explain
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.specs import (
    AnySpec,
    DistillRequest,
    DistillSpec,
    ModelSpec,
    Reference,
    Request,
    TrainSpec,
    TransferRequest,
    TransferSpec,
)


@dataclass(frozen=True)
class Words:
    """What the network that is built on, and the control beside it, are called."""

    role: str
    control: str
    work: str


WORDS = {
    "distill": Words("teacher", "baseline", "student"),
    "transfer": Words("source", "from_scratch", "transfer"),
}


@dataclass(frozen=True)
class Plan:
    """What a request comes to: the effective spec, and the run's network that it builds on, with its data set;
    published weights need no run.
    """

    spec: AnySpec
    built_on: Teacher | None = None
    its_data: DatasetInfo | None = None


@dataclass(frozen=True)
class Prepared:
    """A request that can be carried out, with all that is to be written: `submitted` is the document it was read from.

    `first` is the experiment that trains what is built on, should nothing equal be there when it is written; `control`
    the one that is compared with it, where it is wanted. No row, no session: it may be kept while nothing of the
    database is.
    """

    request: Request
    submitted: dict[str, Any]
    plan: Plan
    info: DatasetInfo
    cost: Estimate
    own: Draft
    first: Draft | None = None
    control: Draft | None = None
    owner: str = LOCAL

    @property
    def datasets(self) -> dict[str, DatasetInfo]:
        """The data sets that it needs, as it was priced with."""
        its_data = self.plan.its_data
        return {self.info.name: self.info} | ({} if its_data is None else {its_data.name: its_data})

    @property
    def layers(self) -> dict[tuple[ModelSpec, str], int]:
        """How many layers were priced for it: by network and data set."""
        drafts = (one for one in (self.first, self.control, self.own) if one is not None)
        return {
            (one.cost.size.model, one.spec["dataset"]["name"]): len(one.cost.size.layers)
            for one in drafts
        }


class Lookups:
    """What preparing reads, each thing once however many requests are prepared together."""

    def __init__(self, session: Session, catalog: Catalog, caller: Caller = ANYONE) -> None:
        self.catalog = catalog
        self.caller = caller
        self._session = session
        self._datasets: dict[str, DatasetInfo | None] = {}
        self._contents: dict[str, str | None] = {}
        self._teachers: dict[tuple[Reference, str], Teacher] = {}

    def dataset(self, name: str) -> DatasetInfo | None:
        """The data set, if there is one."""
        if name not in self._datasets:
            self._datasets[name] = self.catalog.get(name)
        return self._datasets[name]

    def sha256(self, name: str) -> str | None:
        """Names the data set's content, as `Catalog.sha256`."""
        if name not in self._contents:
            self._contents[name] = self.catalog.sha256(name)
        return self._contents[name]

    def teacher(self, reference: Reference, role: str) -> Teacher:
        """As `teachers.find`."""
        if (reference, role) not in self._teachers:
            self._teachers[reference, role] = teachers.find(
                self._session, reference, role, self.catalog, self.caller
            )
        return self._teachers[reference, role]

    @cached_property
    def largest_memory(self) -> int | None:
        """As `workers.largest_memory`."""
        return largest_memory(self._session)


def prepare(
    session: Session,
    request: Request,
    submitted: dict[str, Any],
    settings: Settings,
    caller: Caller = ANYONE,
) -> Prepared:
    """Find what is needed, price it and make what is to be written, on a session that only reads.

    Raises InvalidRequest for what is not there, not allowed or not possible.
    """
    return prepare_with(
        Lookups(session, datasets.catalog(settings), caller), request, submitted, settings
    )


def prepare_with(
    lookups: Lookups, request: Request, submitted: dict[str, Any], settings: Settings
) -> Prepared:
    """As `prepare`, one of several."""
    info = _dataset(request, submitted, lookups)
    planned = plan(lookups, request, submitted)
    refused = _refusals(request, planned, info, settings, lookups.largest_memory)
    if refused:
        raise InvalidRequest("; ".join(error.message for error in refused), refused)
    return drafted(request, submitted, planned, info, lookups.caller.owner)


def plan(lookups: Lookups, request: Request, submitted: dict[str, Any]) -> Plan:
    """Find what is built on, if it is a run; raises InvalidRequest where there is nothing, or where the two do not fit
    together.
    """
    if not isinstance(request, DistillRequest | TransferRequest):
        return Plan(request.spec)
    if isinstance(request, TransferRequest) and request.published is not None:
        return Plan(_checked(request, submitted, partial(request.spec_with, request.published)))
    role = WORDS[request.kind].role
    found = lookups.teacher(request.reference, role)
    its_data = lookups.dataset(found.trained.spec.dataset.name)
    if its_data is None:
        message = (
            f"the {role} has learned {found.trained.spec.dataset.name!r}, which is no data set here"
        )
        raise InvalidRequest(message, [FieldError(f"/{role}", message)])
    return Plan(
        _checked(request, submitted, partial(request.spec_with, found.trained)), found, its_data
    )


def drafted(
    request: Request,
    submitted: dict[str, Any],
    planned: Plan,
    info: DatasetInfo,
    owner: str = LOCAL,
) -> Prepared:
    """The request with what it costs and all that may have to be written for it."""
    cost = estimate(planned.spec, info)
    asked = {"labels": request.labels, "priority": request.priority, "owner": owner}
    own = draft(planned.spec, cost, request.seeds, submitted, name=request.name, **asked)
    first = control = None
    if isinstance(request, DistillRequest | TransferRequest):
        words = WORDS[request.kind]
        called = f" of {request.name or 'a ' + words.work}"
        if (
            planned.built_on is not None
            and planned.its_data is not None
            and not planned.built_on.is_named
        ):
            trained = planned.built_on.trained
            first = _beside(
                trained.spec, (trained.seed,), planned.its_data, words.role + called, asked
            )
        wanted = request.control_spec(planned.spec.network)
        control = (
            None
            if wanted is None
            else _beside(
                wanted, request.seeds, info, words.control.replace("_", " ") + called, asked
            )
        )
    return Prepared(request, submitted, planned, info, cost, own, first, control, owner)


def store(
    session: Session, prepared: Prepared, settings: Settings, idempotency_key: str | None = None
) -> Stored:
    """Write what was prepared, in one short transaction: a network that must be trained first, a control that is
    wanted, and the experiment itself.

    What has changed since is looked at again: an earlier request with the key is answered by what that has made; an
    equal network that is there by now is built on. Raises InvalidRequest where the teacher that was named or the data
    set is gone, TooManyRuns, IdempotencyConflict.
    """
    found = (
        earlier(session, idempotency_key, prepared.submitted, prepared.owner)
        if idempotency_key is not None
        else None
    )
    if found is not None:
        return Stored(found.id, 0, is_new=False)
    require_datasets(session, [prepared], settings)
    drafts = built(
        session, [replace(prepared, own=replace(prepared.own, idempotency_key=idempotency_key))]
    )
    create(session, drafts)
    limits.refuse_full_queue(session, prepared.owner, settings)
    return Stored(prepared.own.id, sum(len(one.seeds) for one in drafts))


def require_datasets(session: Session, prepared: Iterable[Prepared], settings: Settings) -> None:
    """None of the data sets is removed until the transaction ends; raises Conflict where one is gone since, or another
    has its name.
    """
    needed = {name: info for one in prepared for name, info in one.datasets.items()}
    dataset_locks.share(session, needed)
    catalog = datasets.catalog(settings)
    for name, info in needed.items():
        there = catalog.get(name)
        if there is None or (info.imported and there != info):
            raise Conflict(
                f"data set {name!r} has just been {'removed' if there is None else 'replaced by another'}; nothing was"
                " stored"
            )


def built(
    session: Session,
    prepared: Sequence[Prepared],
    own_runs: Mapping[str, HeldTeacher] = MappingProxyType({}),
) -> list[Draft]:
    """All drafts in the order in which they can be written, each with the run that it needs, which is held until the
    transaction ends.

    `own_runs` has those that build on a run which is written with them, by the ids of their drafts.
    """
    built_on = [
        one.plan.built_on
        for one in prepared
        if one.plan.built_on is not None and one.own.id not in own_runs
    ]
    held = teachers.hold_still(session, built_on, prepared[0].owner) if built_on else {}
    drafts: list[Draft] = []
    for one in prepared:
        teacher, needed = one.plan.built_on, own_runs.get(one.own.id)
        if teacher is not None and needed is None:
            if teacher.key not in held and one.first is not None:
                drafts.append(one.first)
                held[teacher.key] = HeldTeacher(
                    one.first.run_of(teacher.trained.seed), one.first.id, is_trained=False
                )
            needed = held[teacher.key]
        if one.control is not None:
            drafts.append(one.control)
        drafts.append(_on(one, needed))
    return drafts


def _on(prepared: Prepared, needed: HeldTeacher | None) -> Draft:
    """What was asked for, with the run that it builds on, and beside its control."""
    if not isinstance(prepared.request, DistillRequest | TransferRequest):
        return prepared.own
    words = WORDS[prepared.request.kind]
    related: dict[str, Any] = {}
    if needed is not None:
        related = {
            f"{words.role}_run": needed.run_id,
            f"{words.role}_experiment": needed.experiment_id,
        }
    related[words.control] = None if prepared.control is None else prepared.control.id
    waits_for = None if needed is None else needed.run_id
    return replace(
        prepared.own, needs=waits_for, is_ready=needed is None or needed.is_trained, related=related
    )


def _checked(
    request: DistillRequest | TransferRequest,
    submitted: dict[str, Any],
    spec: Callable[[], AnySpec],
) -> AnySpec:
    try:
        return spec()
    except ValidationError as error:
        model = DistillSpec if isinstance(request, DistillRequest) else TransferSpec
        faults = [
            FieldError(f"/{WORDS[request.kind].role}", fault.message, fault.hint)
            for fault in explain(error, model, submitted)
        ]
        raise InvalidRequest("; ".join(fault.message for fault in faults), faults) from error


def _beside(
    spec: TrainSpec,
    seeds: tuple[int, ...],
    info: DatasetInfo,
    called: str,
    asked: Mapping[str, Any],
) -> Draft:
    """An experiment that goes with the one that was asked for, under its labels and priority."""
    return draft(
        spec,
        estimate(spec, info),
        seeds,
        {**spec.model_dump(mode="json"), "seeds": list(seeds)},
        name=called[:200],
        **asked,
    )


def _dataset(request: Request, submitted: dict[str, Any], lookups: Lookups) -> DatasetInfo:
    name = request.dataset.name
    info = lookups.dataset(name)
    if info is None:
        place = "/dataset" if isinstance(submitted.get("dataset"), str) else "/dataset/name"
        error = FieldError(
            place,
            f"there is no data set {name!r}",
            did_you_mean(name, [known.name for known in lookups.catalog.all()]),
        )
        raise InvalidRequest(error.message, [error])
    return info


def _refusals(
    request: Request, planned: Plan, info: DatasetInfo, settings: Settings, memory: int | None
) -> list[FieldError]:
    refused: list[FieldError] = []
    if (
        planned.built_on is not None
        and planned.its_data is not None
        and planned.built_on.run_id is None
    ):  # it would be trained first, so it is looked at first
        found = refusals(planned.built_on.trained.spec, 1, planned.its_data, settings, memory)
        refused = [
            FieldError(
                f"/{WORDS[request.kind].role}/spec{error.pointer}", error.message, error.hint
            )
            for error in found
        ]
    refused = refused or misfits(planned.spec, planned.its_data or info, info)
    return refused or refusals(planned.spec, len(request.seeds), info, settings, memory)
