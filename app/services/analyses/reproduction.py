"""Doing an experiment again: what it takes, and whether the second time gave the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from app.errors import Conflict, NotFound
from app.services.datasets import dataset_locks, datasets
from app.services.experiments import experiments, likeness
from app.services.experiments.artifacts import weights_of
from app.services.experiments.estimates import estimate
from app.services.experiments.experiments import its_runs, runs_of
from app.services.owners import limits
from app.services.submitting.drafts import Draft, Needed, Stored, create, draft
from app.settings import Settings
from app.storage.states import RETRYABLE, RunStatus
from app.storage.tables import LOCAL, Experiment, Run
from lab_models.specs import OWN, AnySpec, ContinueSpec, Trained, read_spec
from lab_models.statistics.summary import prediction_interval, summarise

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


class Agreement(StrEnum):
    """How a run done again stands to the first one."""

    BIT_EQUAL = "bit_equal"
    WITHIN_INTERVAL = "within_interval"
    DIFFERENT = "different"
    WAITING = "waiting"
    NOT_REPEATED = "not_repeated"


@dataclass(frozen=True)
class Repeated:
    """One seed done twice; `differs` names what of the environment was another, as (first, second)."""

    seed: int
    first: Run
    second: Run
    agreement: Agreement
    difference: float | None
    interval: tuple[float, float] | None
    differs: dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Verification:
    """All seeds done twice, and the least agreement among them."""

    original: Experiment
    again: Experiment
    runs: tuple[Repeated, ...]

    @property
    def agreement(self) -> Agreement:
        """Waiting while any run is; else the worst."""
        found = [run.agreement for run in self.runs]
        order = (
            Agreement.WAITING,
            Agreement.NOT_REPEATED,
            Agreement.DIFFERENT,
            Agreement.WITHIN_INTERVAL,
        )
        return next((agreement for agreement in order if agreement in found), Agreement.BIT_EQUAL)


def named_foundation(session: Session, spec: AnySpec, run: Run) -> dict[str, Any]:
    """The field of a request that names the run's foundation, where a spec cannot stand for that: it has gone on, so it
    cannot be trained in one step. Else nothing.
    """
    foundation = spec.built_on
    has_gone_on = isinstance(foundation, Trained) and isinstance(foundation.spec, ContinueSpec)
    if run.needs is None or not (has_gone_on or isinstance(spec, ContinueSpec)):
        return {}
    if not spec.has_own_foundations:
        return {str(spec.role): {"run": run.needs}}
    below = experiments.get_run(session, run.needs).experiment_id
    if isinstance(spec, ContinueSpec):
        return {"origin": {"experiment": below, "weights": spec.origin.weights}}
    return {str(spec.role): {"experiment": below, "seed": OWN}}


def request_of(session: Session, experiment: Experiment, runs: Sequence[Run]) -> dict[str, Any]:
    """The body of POST /experiments that makes it once more, every default written out. `runs`: all of its own."""
    spec = read_spec(experiment.spec)
    named = named_foundation(session, spec, runs[0])
    seeds = [run.seed for run in runs]
    return {**spec.model_dump(mode="json"), **named, "seeds": seeds, "name": experiment.name}


def prepare_verification(
    session: Session, original: Experiment, settings: Settings, owner: str = LOCAL
) -> Draft:
    """The succeeded seeds of an experiment once more, to be trained anew, for `owner`; on a session that only reads.

    Raises Conflict where none has succeeded, or the data set is gone or another.
    """
    succeeded = [run for run in its_runs(session, original.id) if run.status == RunStatus.SUCCEEDED]
    if not succeeded:
        raise Conflict(
            f"no run of experiment {original.id} has succeeded, so there is nothing to verify"
        )
    spec = read_spec(original.spec)
    info = datasets.catalog(settings).get(spec.dataset.name)
    if info is None:
        raise Conflict(
            f"data set {spec.dataset.name!r} is not here any more, so the experiment cannot be done again"
        )
    images = datasets.catalog(settings).sha256(info.name)
    if likeness.has_learned_others((run.environment for run in succeeded), images):
        raise Conflict(
            f"data set {spec.dataset.name!r} has other images by now than when experiment {original.id} was trained,"
            " so it cannot be done again: import the same images under that name first"
        )
    return draft(
        spec,
        estimate(spec, info),
        tuple(run.seed for run in succeeded),
        original.submitted,
        name=f"verification of {original.name or original.id}"[:200],
        labels=original.labels,
        priority=original.priority,
        owner=owner,
        # whether they are trained is looked at again when it is stored
        needs={run.seed: Needed(run.needs, False) for run in succeeded if run.needs is not None},
        related={"verifies": original.id},
    )


def store_verification(session: Session, prepared: Draft, settings: Settings) -> Stored:
    """Write what was prepared, in one short transaction; raises Conflict where the data set or what is built on is gone
    since, and TooManyRuns.
    """
    name = prepared.spec["dataset"]["name"]
    dataset_locks.share(session, [name])
    if datasets.catalog(settings).get(name) is None:
        raise Conflict(f"data set {name!r} has just been removed; nothing was stored")
    needed = sorted({one.run_id for one in prepared.needs.values()})
    trained = {run_id: _is_trained(session, run_id) for run_id in needed}
    needs = {
        seed: replace(one, is_trained=trained[one.run_id]) for seed, one in prepared.needs.items()
    }
    create(session, [replace(prepared, needs=needs)])
    limits.refuse_full_queue(session, prepared.owner, settings)
    return Stored(prepared.id, len(prepared.seeds))


def _is_trained(session: Session, needed: str) -> bool:
    """Whether the run that is built on has weights; raises Conflict where it never will. It need not have: who is built
    on it may have been taken over.
    """
    status = session.exec(
        select(Run.status).where(col(Run.id) == needed).with_for_update()
    ).one_or_none()
    if status is None or status in RETRYABLE:
        ended = "has just been deleted" if status is None else f"has {status}: retry it first"
        raise Conflict(f"run {needed}, which the experiment builds on, {ended}")
    return status == RunStatus.SUCCEEDED


def verification_of(session: Session, again: Experiment, settings: Settings) -> Verification:
    """How far an experiment that verifies another agrees with it; raises NotFound where it verifies none, or that one
    is gone.
    """
    original_id = again.related.get("verifies")
    if original_id is None:
        raise NotFound(
            f"experiment {again.id} verifies no other; POST /experiments/{again.id}/verify runs it again and says where"
            " the answer lies"
        )
    original = experiments.get(session, original_id)
    runs = runs_of(session, [original.id, again.id])
    firsts = {run.seed: run for run in runs[original.id] if run.status == RunStatus.SUCCEEDED}
    accuracies = [accuracy for run in firsts.values() if (accuracy := accuracy_of(run)) is not None]
    info = datasets.catalog(settings).get(original.spec["dataset"]["name"])
    interval = _interval(accuracies, None if info is None else info.num_test)
    weights = weights_of(session, [run.id for run in (*firsts.values(), *runs[again.id])])
    repeated = (
        _repeated(firsts[run.seed], run, interval, weights)
        for run in runs[again.id]
        if run.seed in firsts
    )
    return Verification(original, again, tuple(repeated))


def accuracy_of(run: Run) -> float | None:
    """Its test accuracy; None before there is a finite one."""
    accuracy = (run.test or {}).get("accuracy")
    return accuracy if accuracy is not None and math.isfinite(accuracy) else None


def _repeated(
    first: Run, second: Run, interval: tuple[float, float] | None, weights: dict[str, str]
) -> Repeated:
    differs = (
        {}
        if second.environment is None
        else likeness.differences(first.environment or {}, second.environment)
    )
    before, after = accuracy_of(first), accuracy_of(second)
    if second.status != RunStatus.SUCCEEDED or before is None or after is None:
        agreement = Agreement.NOT_REPEATED if second.status.is_terminal else Agreement.WAITING
        return Repeated(first.seed, first, second, agreement, None, None, differs)
    if second.test == first.test and weights.get(first.id) == weights.get(second.id):
        agreement = Agreement.BIT_EQUAL
    elif interval is not None and interval[0] <= after <= interval[1]:
        agreement = Agreement.WITHIN_INTERVAL
    else:
        agreement = Agreement.DIFFERENT
    return Repeated(first.seed, first, second, agreement, after - before, interval, differs)


def _interval(accuracies: Sequence[float], num_test: int | None) -> tuple[float, float] | None:
    """Where one more run would lie with 95 %: from the spread of several runs; of a single one, from the sampling of
    `num_test` images.

    Two networks that are right with the same probability p differ by less than 1.96 · sqrt(2 p (1 - p) / n) in 95 % of
    cases.
    """
    if len(accuracies) > 1:
        return prediction_interval(summarise(accuracies))
    if not accuracies or not num_test:
        return None
    half_width = Z_95 * math.sqrt(2 * accuracies[0] * (1 - accuracies[0]) / num_test)
    return accuracies[0] - half_width, accuracies[0] + half_width
