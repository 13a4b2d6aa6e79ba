"""From a valid request to experiments and queued runs: one for a network, up to three for a student, in one transaction."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from app.errors import InvalidRequest
from app.services import experiments, teachers
from app.services.estimates import estimate
from app.services.experiments import Draft
from app.services.teachers import Teacher
from app.states import RunStatus
from app.tables import Experiment, Run
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import DistillRequest, DistillSpec, Request, TrainSpec
from lab_models.validation import FieldError, explain


@dataclass(frozen=True)
class Plan:
    """What a request comes to: the effective spec, and a student's teacher."""

    spec: TrainSpec | DistillSpec
    teacher: Teacher | None = None


def plan(session: Session, request: Request, submitted: dict[str, Any]) -> Plan:
    """Find a student's teacher; raises InvalidRequest where there is none, or where the two do not fit together."""
    if not isinstance(request, DistillRequest):
        return Plan(request.spec)
    teacher = teachers.find(session, request.teacher)
    try:
        return Plan(request.spec_with(teacher.trained), teacher)
    except ValidationError as error:
        faults = [FieldError("/teacher", fault.message, fault.hint) for fault in explain(error, DistillSpec, submitted)]
        raise InvalidRequest("; ".join(fault.message for fault in faults), faults) from error


def submit(session: Session, request: Request, planned: Plan, info: DatasetInfo, submitted: dict[str, Any], idempotency_key: str | None) -> Experiment:
    """Write what the request asks for: a teacher that must be trained first, a baseline that is wanted, and the experiment itself."""
    related: dict[str, Any] = {}
    needs: Run | None = None
    if isinstance(request, DistillRequest) and planned.teacher is not None:
        teacher = teachers.hold_still(session, planned.teacher)
        needs = teacher.run or _write_teacher(session, request, teacher, info)
        baseline = _write_baseline(session, request, info) if request.baseline else None
        related = {"teacher_run": needs.id, "teacher_experiment": needs.experiment_id, "baseline": None if baseline is None else baseline.id}
    draft = Draft(
        spec=planned.spec,
        cost=estimate(planned.spec, info),
        seeds=request.seeds,
        submitted=submitted,
        name=request.name,
        labels=request.labels,
        priority=request.priority,
        needs=None if needs is None else needs.id,
        is_ready=needs is None or needs.status == RunStatus.SUCCEEDED,
        related=related,
    )
    return experiments.create(session, draft, idempotency_key)


def _write_teacher(session: Session, request: DistillRequest, teacher: Teacher, info: DatasetInfo) -> Run:
    spec = teacher.trained.spec
    draft = Draft(
        spec=spec,
        cost=estimate(spec, info),
        seeds=(teacher.trained.seed,),
        submitted={**spec.model_dump(mode="json"), "seeds": [teacher.trained.seed]},
        name=_named("teacher", request),
        labels=request.labels,
        priority=request.priority,
    )
    experiment = experiments.create(session, draft)
    return experiments.runs_of(session, [experiment.id])[experiment.id][0]


def _write_baseline(session: Session, request: DistillRequest, info: DatasetInfo) -> Experiment:
    spec = request.baseline_spec
    draft = Draft(
        spec=spec,
        cost=estimate(spec, info),
        seeds=request.seeds,
        submitted={**spec.model_dump(mode="json"), "seeds": list(request.seeds)},
        name=_named("baseline", request),
        labels=request.labels,
        priority=request.priority,
    )
    return experiments.create(session, draft)


def _named(role: str, request: DistillRequest) -> str:
    return f"{role} of {request.name}"[:200] if request.name else f"{role} of a student"
