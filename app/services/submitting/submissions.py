"""From a valid request to experiments and queued runs: one for a network, up to three where it has a foundation.

Two steps: `prepare` reads and does all that takes time; `store` writes, in one short transaction, and looks again at
what may have changed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sqlmodel import Session

from app.errors import Conflict
from app.services.datasets import dataset_locks, datasets
from app.services.experiments.estimates import Estimate, estimate
from app.services.experiments.origins import Changed
from app.services.owners import limits
from app.services.owners.keys import ANYONE, Caller
from app.services.submitting import foundations
from app.services.submitting.drafts import Draft, Needed, Stored, create, draft
from app.services.submitting.foundations import Foundation, HeldFoundation
from app.services.submitting.idempotency import earlier
from app.services.submitting.planning import Lookups, Plan, dataset_of, plan, refuse
from app.settings import Settings
from app.storage.tables import LOCAL, Experiment
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import AnySpec, ModelSpec, Request


@dataclass(frozen=True)
class Prepared:
    """A request that can be carried out, with all that is to be written: `submitted` is the document it was read from.

    `foundation` is the experiment that trains first what it builds on, as far as nothing equal is there when it is
    written; `control` the one that is compared with it, where it is wanted. `sent` is the body, where that is not the
    document but changes another, and `changed` what it changes. No row, no session: it may be kept while nothing of the
    database is.
    """

    request: Request
    submitted: dict[str, Any]
    plan: Plan
    info: DatasetInfo
    cost: Estimate
    own: Draft
    foundation: Draft | None = None
    control: Draft | None = None
    owner: str = LOCAL
    sent: dict[str, Any] | None = None
    changed: Changed | None = None

    @property
    def datasets(self) -> dict[str, DatasetInfo]:
        """The data sets that it needs, as it was priced with."""
        foundation = self.plan.foundation
        if foundation is None or foundation.has_kept:
            return {self.info.name: self.info}
        needed = (self.info, foundation.info)
        return {info.name: info for info in needed}

    @property
    def layers(self) -> dict[tuple[ModelSpec, str], int]:
        """How many layers were priced for it: by network and data set."""
        drafts = (one for one in (self.foundation, self.control, self.own) if one is not None)
        return {
            (one.cost.size.model, one.spec["dataset"]["name"]): len(one.cost.size.layers)
            for one in drafts
        }


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
    info = dataset_of(lookups, request, submitted)
    planned = plan(lookups, request, submitted)
    refuse(lookups, request, planned, info, settings)
    return drafted(request, submitted, planned, info, lookups.caller.owner)


def drafted(
    request: Request,
    submitted: dict[str, Any],
    planned: Plan,
    info: DatasetInfo,
    owner: str = LOCAL,
) -> Prepared:
    """The request with what it costs and all that may have to be written for it."""
    cost = estimate(planned.spec, info)
    asked = {
        "labels": request.labels,
        "priority": request.priority,
        "device": request.device,
        "owner": owner,
    }
    own = draft(planned.spec, cost, request.seeds, submitted, name=request.name, **asked)
    called = _called(request)
    control = None
    first = foundation_draft(request, planned.foundations, asked)
    wanted = request.control_spec(planned.spec.network)
    if wanted is not None:
        plain = str(request.control).replace("_", " ")
        control = _beside(wanted, request.seeds, info, plain + called, asked)
    return Prepared(request, submitted, planned, info, cost, own, first, control, owner)


def foundation_draft(
    request: Request, found: Mapping[int, Foundation], asked: Mapping[str, Any]
) -> Draft | None:
    """The experiment that trains what a request builds on, with all seeds that may have to be; None where that is a run
    that was named, or nothing.
    """
    foundation = next(iter(found.values()), None)
    if foundation is None or foundation.is_named:
        return None
    seeds = tuple(dict.fromkeys(one.seed for one in found.values()))
    called = f"{request.role}{_called(request)}"
    return _beside(foundation.trained.spec, seeds, foundation.info, called, asked)


def _called(request: Request) -> str:
    return f" of {request.name or 'a ' + request.work}"


def store(
    session: Session, prepared: Prepared, settings: Settings, idempotency_key: str | None = None
) -> Stored:
    """Write what was prepared, in one short transaction: a network that must be trained first, a control that is
    wanted, and the experiment itself.

    What has changed since is looked at again: an earlier request with the key is answered by what that has made; an
    equal network that is there by now is built on. Raises InvalidRequest where the foundation that was named or the
    data set is gone, TooManyRuns, IdempotencyConflict.
    """
    sent = prepared.submitted if prepared.sent is None else prepared.sent
    found = earlier(session, Experiment, idempotency_key, sent, prepared.owner)
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
    """As `hold_datasets`, of all that is to be written."""
    needed = {name: info for one in prepared for name, info in one.datasets.items()}
    hold_datasets(session, needed, settings)


def hold_datasets(session: Session, needed: Mapping[str, DatasetInfo], settings: Settings) -> None:
    """None of the data sets is removed until the transaction ends; raises Conflict where one is gone since, or another
    has its name.
    """
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
    own_runs: Mapping[str, Mapping[int, HeldFoundation]] = MappingProxyType({}),
) -> list[Draft]:
    """All drafts in the order in which they can be written, each with its foundations' runs, which are held until the
    transaction ends.

    `own_runs` has by seed the foundations that are written with what builds on them, by the ids of those drafts.
    """
    to_hold = [
        foundation
        for one in prepared
        if one.own.id not in own_runs
        for foundation in one.plan.foundations.values()
    ]
    held = foundations.hold_still(session, to_hold, prepared[0].owner) if to_hold else {}
    drafts: list[Draft] = []
    for one in prepared:
        runs = own_runs.get(one.own.id)
        if runs is None:
            first = trained_first(held, one.plan.foundations.values(), one.foundation)
            if first is not None:
                drafts.append(first)
                held |= written_with(first, one.plan.foundations.values())
            runs = {seed: held[below.key] for seed, below in one.plan.foundations.items()}
        if one.control is not None:
            drafts.append(one.control)
        drafts.append(_built_on(runs, one))
    return drafts


def trained_first(
    held: Mapping[str, HeldFoundation], wanted: Iterable[Foundation], draft: Draft | None
) -> Draft | None:
    """Of the experiment that would train all foundations the part that trains those that are not there; None where all
    are.
    """
    missing = tuple(dict.fromkeys(below.seed for below in wanted if below.key not in held))
    return draft.with_seeds(missing) if missing and draft is not None else None


def written_with(first: Draft, wanted: Iterable[Foundation]) -> dict[str, HeldFoundation]:
    """The runs of an experiment that is written with what builds on it, by the keys of the foundations."""
    return {
        below.key: HeldFoundation(first.run_of(below.seed), first.id, is_trained=False)
        for below in wanted
        if below.seed in first.seeds
    }


def _built_on(runs: Mapping[int, HeldFoundation], prepared: Prepared) -> Draft:
    """What was asked for, each of its runs on that of its foundation, and beside its control.

    A foundation that all share is named by its run; each seed's own by their experiment, where they have one.
    """
    role, control = prepared.request.role, prepared.request.control
    beside: dict[str, Any] = {}
    if control is not None:
        beside[control] = None if prepared.control is None else prepared.control.id
    below: dict[str, Any] = {}
    if runs and not prepared.plan.spec.has_own_foundations:
        below[f"{role}_run"] = next(iter(runs.values())).run_id
    if len(experiments := {run.experiment_id for run in runs.values()}) == 1:
        below[f"{role}_experiment"] = experiments.pop()
    return replace(
        prepared.own,
        needs={seed: Needed(run.run_id, run.is_trained) for seed, run in runs.items()},
        related={**below, **beside},
    )


def _beside(
    spec: AnySpec,
    seeds: tuple[int, ...],
    info: DatasetInfo,
    called: str,
    asked: Mapping[str, Any],
) -> Draft:
    """An experiment that goes with the one that was asked for, under its labels, priority and device."""
    return draft(
        spec,
        estimate(spec, info),
        seeds,
        {**spec.model_dump(mode="json"), "seeds": list(seeds)},
        name=called[:200],
        **asked,
    )
