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
from app.services.submitting.foundations import HeldFoundation
from app.services.submitting.idempotency import earlier
from app.services.submitting.planning import Lookups, Plan, dataset_of, plan, refuse
from app.settings import Settings
from app.storage.tables import LOCAL, Experiment
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import AnySpec, ModelSpec, Request


@dataclass(frozen=True)
class Prepared:
    """A request that can be carried out, with all that is to be written: `submitted` is the document it was read from.

    `foundation` is the experiment that trains it first, should nothing equal be there when it is written; `control` the
    one that is compared with it, where it is wanted. `sent` is the body, where that is not the document but changes
    another, and `changed` what it changes. No row, no session: it may be kept while nothing of the database is.
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
        needed = (self.info,) if foundation is None else (self.info, foundation.info)
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
    asked = {"labels": request.labels, "priority": request.priority, "owner": owner}
    own = draft(planned.spec, cost, request.seeds, submitted, name=request.name, **asked)
    called = f" of {request.name or 'a ' + request.work}"
    first = control = None
    foundation, wanted = planned.foundation, request.control_spec(planned.spec.network)
    if foundation is not None and not foundation.is_named:
        trained = foundation.trained
        first = _beside(
            trained.spec, (trained.seed,), foundation.info, f"{request.role}{called}", asked
        )
    if wanted is not None:
        plain = str(request.control).replace("_", " ")
        control = _beside(wanted, request.seeds, info, plain + called, asked)
    return Prepared(request, submitted, planned, info, cost, own, first, control, owner)


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
    own_runs: Mapping[str, HeldFoundation] = MappingProxyType({}),
) -> list[Draft]:
    """All drafts in the order in which they can be written, each with its foundation's run, which is held until the
    transaction ends.

    `own_runs` has the foundations that are written with what builds on them, by the ids of those drafts.
    """
    to_hold = [
        foundation
        for one in prepared
        if one.own.id not in own_runs
        for foundation in one.plan.foundations
    ]
    held = foundations.hold_still(session, to_hold, prepared[0].owner) if to_hold else {}
    drafts: list[Draft] = []
    for one in prepared:
        if one.plan.origins:
            drafts.append(_gone_on_with(held, one))
            continue
        foundation, run = one.plan.foundation, own_runs.get(one.own.id)
        if foundation is not None and run is None:
            if foundation.key not in held and one.foundation is not None:
                drafts.append(one.foundation)
                held[foundation.key] = HeldFoundation(
                    one.foundation.run_of(foundation.trained.seed),
                    one.foundation.id,
                    is_trained=False,
                )
            run = held[foundation.key]
        if one.control is not None:
            drafts.append(one.control)
        drafts.append(_built_on(run, one))
    return drafts


def _built_on(foundation: HeldFoundation | None, prepared: Prepared) -> Draft:
    """What was asked for, on its foundation, and beside its control."""
    role, control = prepared.request.role, prepared.request.control
    if role is None or control is None:
        return prepared.own
    beside: dict[str, Any] = {control: None if prepared.control is None else prepared.control.id}
    if foundation is None:
        return replace(prepared.own, related=beside)
    below = {f"{role}_run": foundation.run_id, f"{role}_experiment": foundation.experiment_id}
    needed = Needed(foundation.run_id, foundation.is_trained)
    return replace(
        prepared.own,
        needs=dict.fromkeys(prepared.own.seeds, needed),
        related={**below, **beside},
    )


def _gone_on_with(held: Mapping[str, HeldFoundation], prepared: Prepared) -> Draft:
    """What was asked for, each of its runs on that of its origin."""
    runs = {seed: held[origin.key] for seed, origin in prepared.plan.origins.items()}
    (experiment_id,) = {run.experiment_id for run in runs.values()}
    return replace(
        prepared.own,
        needs={seed: Needed(run.run_id, run.is_trained) for seed, run in runs.items()},
        related={f"{prepared.request.role}_experiment": experiment_id},
    )


def _beside(
    spec: AnySpec,
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
