"""From a valid request to experiments and queued runs: one for a network, up to three where another is built on, in one transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services import datasets, experiments, teachers
from app.services.estimates import estimate, refusals
from app.services.experiments import Draft, Place
from app.services.keys import ANYONE, Caller
from app.services.teachers import Teacher
from app.services.workers import largest_memory
from app.settings import Settings
from app.states import RunStatus
from app.tables import LOCAL, Experiment, Run
from lab_models.architectures.misfits import misfits
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.specs import AnySpec, DistillRequest, DistillSpec, Request, TrainSpec, TransferRequest, TransferSpec
from lab_models.validation import FieldError, did_you_mean, explain


@dataclass(frozen=True)
class Words:
    """What the network that is built on, and the control beside it, are called."""

    role: str
    control: str
    work: str


WORDS = {"distill": Words("teacher", "baseline", "student"), "transfer": Words("source", "from_scratch", "transfer")}


@dataclass(frozen=True)
class Plan:
    """What a request comes to: the effective spec, and the run's network that it builds on, with its data set; published weights need no run."""

    spec: AnySpec
    built_on: Teacher | None = None
    its_data: DatasetInfo | None = None


@dataclass(frozen=True)
class Prepared:
    """A request that can be carried out, with what it comes to; `submitted` is the document it was read from."""

    request: Request
    submitted: dict[str, Any]
    plan: Plan
    info: DatasetInfo
    owner: str = LOCAL


def prepare(session: Session, request: Request, submitted: dict[str, Any], settings: Settings, caller: Caller = ANYONE) -> Prepared:
    """Find what is needed; raises InvalidRequest for what is not there, not allowed or not possible."""
    catalog = datasets.catalog(settings)
    info = _dataset(request, submitted, catalog)
    planned = plan(session, request, submitted, catalog, caller)
    refused = _refusals(request, planned, info, settings, largest_memory(session))
    if refused:
        raise InvalidRequest("; ".join(error.message for error in refused), refused)
    return Prepared(request, submitted, planned, info, caller.owner)


def plan(session: Session, request: Request, submitted: dict[str, Any], catalog: Catalog, caller: Caller = ANYONE) -> Plan:
    """Find what is built on, if it is a run; raises InvalidRequest where there is nothing, or where the two do not fit together."""
    if not isinstance(request, DistillRequest | TransferRequest):
        return Plan(request.spec)
    if isinstance(request, TransferRequest) and request.published is not None:
        return Plan(_checked(request, submitted, partial(request.spec_with, request.published)))
    role = WORDS[request.kind].role
    found = teachers.find(session, request.reference, role, catalog, caller)
    its_data = catalog.get(found.trained.spec.dataset.name)
    if its_data is None:
        message = f"the {role} has learned {found.trained.spec.dataset.name!r}, which is no data set here"
        raise InvalidRequest(message, [FieldError(f"/{role}", message)])
    return Plan(_checked(request, submitted, partial(request.spec_with, found.trained)), found, its_data)


def submit(session: Session, prepared: Prepared, idempotency_key: str | None = None, place: Place | None = None) -> Experiment:
    """Write what the request asks for: a network that must be trained first, a control that is wanted, and the experiment itself."""
    request, planned, info = prepared.request, prepared.plan, prepared.info
    related: dict[str, Any] = {}
    needs: Run | None = None
    if isinstance(request, DistillRequest | TransferRequest):
        words = WORDS[request.kind]
        if planned.built_on is not None and planned.its_data is not None:
            found = teachers.hold_still(session, planned.built_on, words.role)
            needs = found.run or _first_run(session, _write(session, prepared, found.trained.spec, (found.trained.seed,), planned.its_data, words.role))
            related = {f"{words.role}_run": needs.id, f"{words.role}_experiment": needs.experiment_id}
        control = request.control_spec(planned.spec.network)
        related[words.control] = None if control is None else _write(session, prepared, control, request.seeds, info, words.control).id
    draft = Draft(
        spec=planned.spec,
        cost=estimate(planned.spec, info),
        seeds=request.seeds,
        submitted=prepared.submitted,
        name=request.name,
        labels=request.labels,
        priority=request.priority,
        needs=None if needs is None else needs.id,
        is_ready=needs is None or needs.status == RunStatus.SUCCEEDED,
        related=related,
        place=place,
        owner=prepared.owner,
    )
    return experiments.create(session, draft, idempotency_key)


def _checked(request: DistillRequest | TransferRequest, submitted: dict[str, Any], spec: Callable[[], AnySpec]) -> AnySpec:
    try:
        return spec()
    except ValidationError as error:
        model = DistillSpec if isinstance(request, DistillRequest) else TransferSpec
        faults = [FieldError(f"/{WORDS[request.kind].role}", fault.message, fault.hint) for fault in explain(error, model, submitted)]
        raise InvalidRequest("; ".join(fault.message for fault in faults), faults) from error


def _write(session: Session, prepared: Prepared, spec: TrainSpec, seeds: tuple[int, ...], info: DatasetInfo, called: str) -> Experiment:
    """An experiment that goes with the one that was asked for, under its labels and priority."""
    request = prepared.request
    draft = Draft(
        spec=spec,
        cost=estimate(spec, info),
        seeds=seeds,
        submitted={**spec.model_dump(mode="json"), "seeds": list(seeds)},
        name=f"{called.replace('_', ' ')} of {request.name or 'a ' + WORDS[request.kind].work}"[:200],
        labels=request.labels,
        priority=request.priority,
        owner=prepared.owner,
    )
    return experiments.create(session, draft)


def _first_run(session: Session, experiment: Experiment) -> Run:
    return experiments.runs_of(session, [experiment.id])[experiment.id][0]


def _dataset(request: Request, submitted: dict[str, Any], catalog: Catalog) -> DatasetInfo:
    name = request.dataset.name
    info = catalog.get(name)
    if info is None:
        place = "/dataset" if isinstance(submitted.get("dataset"), str) else "/dataset/name"
        error = FieldError(place, f"there is no data set {name!r}", did_you_mean(name, [known.name for known in catalog.all()]))
        raise InvalidRequest(error.message, [error])
    return info


def _refusals(request: Request, planned: Plan, info: DatasetInfo, settings: Settings, memory: int | None) -> list[FieldError]:
    refused: list[FieldError] = []
    if planned.built_on is not None and planned.its_data is not None and planned.built_on.run is None:  # it would be trained first, so it is looked at first
        found = refusals(planned.built_on.trained.spec, 1, planned.its_data, settings, memory)
        refused = [FieldError(f"/{WORDS[request.kind].role}/spec{error.pointer}", error.message, error.hint) for error in found]
    refused = refused or misfits(planned.spec, planned.its_data or info, info)
    return refused or refusals(planned.spec, len(request.seeds), info, settings, memory)
