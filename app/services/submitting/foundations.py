"""Which run is a foundation, a student's teacher or a transfer's source: one that is named, an equal one that there is,
or one that is made first.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from app.errors import InvalidRequest, NotFound
from app.services.experiments import experiments
from app.services.experiments.equal_runs import equal_runs
from app.services.experiments.likeness import Likeness, has_learned_others
from app.services.experiments.platforms import Workplaces
from app.services.experiments.visibility import visible_experiment, visible_run
from app.services.owners.keys import ANYONE, Caller
from app.storage.states import RunStatus
from app.storage.tables import Run
from lab_models.common.validation import FieldError
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.datasets.facts import facts_kept
from lab_models.specs import (
    MOST_TIMES,
    ContinueSpec,
    FoundationRole,
    Reference,
    Trained,
    TrainSpec,
    fingerprint,
    read_spec,
)

USABLE = (RunStatus.SUCCEEDED, RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.PAUSED)
"""Statuses of a run that is or can still become a foundation; the first is preferred to the others, then the oldest."""


@dataclass(frozen=True)
class Foundation:
    """What a reference in the field `role` stands for: the run that it names, or any that has the `likeness`.

    `run_id` is None where nothing equal has been trained or is under way. `info` is the data set that it has learned,
    which need not be there where the run has kept it.
    """

    trained: Trained
    role: FoundationRole
    info: DatasetInfo
    run_id: str | None
    likeness: Likeness | None = None
    has_kept: bool = False

    @property
    def seed(self) -> int:
        """Its run's seed."""
        return self.trained.seed_for(0)

    @property
    def is_named(self) -> bool:
        """Whether only this run will do."""
        return self.likeness is None

    @property
    def key(self) -> str:
        """The same for two references that stand for the same."""
        wanted = self.likeness
        return str(self.run_id) if wanted is None else f"{wanted.fingerprint} {wanted.seed}"


@dataclass(frozen=True)
class HeldFoundation:
    """A run that stays as it is until the transaction ends."""

    run_id: str
    experiment_id: str
    is_trained: bool


def find(
    session: Session,
    reference: Reference,
    role: FoundationRole,
    catalog: Catalog,
    places: Workplaces,
    caller: Caller = ANYONE,
    seeds: Sequence[int] = (0,),
) -> dict[int, Foundation]:
    """The trained networks that are meant by the field `role`, by the seed of the run that is built on each: one and
    the same for all `seeds`, or, where the reference says so, each seed's own.

    Raises InvalidRequest where there is none, or where it can never be one. A named one must be one that the caller may
    see; an equal one is looked for among the caller's own, trained where one would be now: in one of `places`.
    """
    wanted = reference.trained
    if wanted is None:
        meant = {seed: reference.of_seed(seed) for seed in seeds}
        named = {
            one: _named(session, one, role, catalog, caller)
            for one in dict.fromkeys(meant.values())
        }
        return {seed: named[one] for seed, one in meant.items()}
    info = _learned(wanted.spec, role, catalog)
    like = {
        seed: Likeness(
            fingerprint(wanted.spec),
            wanted.seed_for(seed),
            catalog.sha256(info.name),
            # of several, one for each seed, none is by itself
            platforms=places.platforms(wanted.spec, by_itself=not reference.is_own),
        )
        for seed in seeds
    }
    equal = equal_runs(session, set(like.values()), caller.owner, USABLE)
    return {
        seed: Foundation(
            Trained(spec=wanted.spec, seed=likeness.seed),
            role,
            info,
            equal[likeness][0].id if likeness in equal else None,
            likeness,
        )
        for seed, likeness in like.items()
    }


def _named(
    session: Session, reference: Reference, role: FoundationRole, catalog: Catalog, caller: Caller
) -> Foundation:
    run = _named_run(session, reference, role, caller)
    experiment = experiments.get(session, run.experiment_id)
    spec = read_spec(experiment.spec)
    if not isinstance(spec, TrainSpec | ContinueSpec):
        raise _refused(
            role,
            "run" if reference.run else "experiment",
            f"run {run.id} is itself built on another: a {role} is of kind 'train' or 'continue'",
        )
    if run.status not in USABLE:
        raise _refused(
            role,
            "run" if reference.run else "experiment",
            f"run {run.id} has {run.status} and has no weights",
            "name a run that has succeeded",
        )
    trained = Trained(spec=spec, seed=run.seed)
    kept = _kept_by(run) if role == "source" else None
    info = _learned(spec, role, catalog) if kept is None else kept
    return Foundation(trained, role, info, run.id, has_kept=kept is not None)


def find_origins(
    session: Session,
    experiment_id: str,
    seeds: Sequence[int],
    catalog: Catalog,
    caller: Caller = ANYONE,
) -> dict[int, Foundation]:
    """By seed the run of an experiment that a run with that seed begins with; raises InvalidRequest where there is no
    such experiment that the caller may see, or where not each of the seeds has a run that has or can get weights.
    """
    try:
        experiment = visible_experiment(session, caller, experiment_id)
    except NotFound as error:
        raise _refused("origin", "experiment", str(error)) from error
    spec = read_spec(experiment.spec)
    if not isinstance(spec, TrainSpec | ContinueSpec):
        message = f"experiment {experiment.id} is of kind {spec.kind!r}: what goes on is of kind 'train' or 'continue'"
        raise _refused("origin", "experiment", message)
    if isinstance(spec, ContinueSpec) and spec.times >= MOST_TIMES:
        message = f"experiment {experiment.id} has gone on {MOST_TIMES} times; more are not kept"
        raise _refused("origin", "experiment", message)
    runs = {run.seed: run for run in experiments.its_runs(session, experiment.id)}
    usable = [seed for seed, run in runs.items() if run.status in USABLE]
    missing = [seed for seed in seeds if seed not in usable]
    if missing:
        raise _without_weights(experiment.id, runs.get(missing[0]), missing[0], usable)
    info = _learned(spec, "origin", catalog)
    begun_with = (runs[seed].environment for seed in seeds)
    if has_learned_others(begun_with, catalog.sha256(info.name)):
        message = f"data set {info.name!r} has other images by now than experiment {experiment.id} was trained on"
        hint = "import the same images under that name, or train with this network as `source`"
        raise _refused("origin", "experiment", message, hint)
    return {
        seed: Foundation(Trained(spec=spec, seed=seed), "origin", info, runs[seed].id)
        for seed in seeds
    }


def _without_weights(
    experiment_id: str, run: Run | None, seed: int, usable: list[int]
) -> InvalidRequest:
    message = (
        f"experiment {experiment_id} has no run with seed {seed} to go on with"
        if run is None
        else f"run {run.id}, of seed {seed}, has {run.status} and has no weights to go on with"
    )
    hint = f'go on with those that have: "seeds": {usable}' if usable else "retry it first"
    return InvalidRequest(message, [FieldError("/seeds", message, hint)])


def hold_still(
    session: Session, foundations: Iterable[Foundation], owner: str
) -> dict[str, HeldFoundation]:
    """The foundations' runs by their keys, locked until the transaction ends: none can fail unseen while what builds on
    it is written.

    Raises InvalidRequest where a named one has just failed, was cancelled or deleted. Of the others those that have an
    equal run by now are there, whether it is the one that was found or another.
    """
    wanted = {foundation.key: foundation for foundation in foundations}
    keys = {one.likeness: key for key, one in wanted.items() if one.likeness is not None}
    chosen = {key: str(one.run_id) for key, one in wanted.items() if one.is_named}
    chosen |= {
        keys[likeness]: equal[0].id
        for likeness, equal in equal_runs(session, keys, owner, USABLE).items()
    }
    locked = {run.id: run for run in _locked(session, chosen.values())}
    held: dict[str, HeldFoundation] = {}
    for key, run_id in chosen.items():
        run = locked.get(run_id)
        if run is not None and run.status in USABLE:
            is_trained = run.status == RunStatus.SUCCEEDED
            held[key] = HeldFoundation(run.id, run.experiment_id, is_trained)
        elif wanted[key].is_named:
            ended = (
                f"run {run_id} has just been deleted"
                if run is None
                else f"run {run.id} has just {run.status} and has no weights"
            )
            field = "experiment" if wanted[key].role == "origin" else "run"
            raise _refused(wanted[key].role, field, ended, "name a run that has succeeded")
    return held


def _kept_by(run: Run) -> DatasetInfo | None:
    """The data set of a run that has its weights: what else begins with these needs its shape and classes alone."""
    if run.status != RunStatus.SUCCEEDED:
        return None
    return facts_kept((run.environment or {}).get("dataset"))


def _learned(spec: TrainSpec | ContinueSpec, role: FoundationRole, catalog: Catalog) -> DatasetInfo:
    name = spec.dataset.name
    info = catalog.get(name)
    if info is None:
        message = f"the {role} has learned {name!r}, which is no data set here"
        raise InvalidRequest(message, [FieldError(f"/{role}", message)])
    return info


def _named_run(session: Session, reference: Reference, role: FoundationRole, caller: Caller) -> Run:
    try:
        if reference.run is not None:
            return visible_run(session, caller, reference.run)
        assert reference.experiment is not None
        named = visible_experiment(session, caller, reference.experiment)
        runs = experiments.its_runs(session, named.id)
    except NotFound as error:
        raise _refused(role, "run" if reference.run else "experiment", str(error)) from error
    chosen = [run for run in runs if reference.seed in (None, run.seed)]
    if not chosen:
        raise _refused(
            role,
            "seed",
            f"experiment {reference.experiment} has no run with seed {reference.seed}",
            f"it has {', '.join(str(run.seed) for run in runs)}",
        )
    return chosen[0]


def _locked(session: Session, run_ids: Collection[str]) -> Sequence[Run]:
    if not run_ids:
        return []
    runs = select(Run).where(col(Run.id).in_(run_ids)).order_by(col(Run.id))
    return session.exec(runs.with_for_update().execution_options(populate_existing=True)).all()


def _refused(
    role: FoundationRole, field: str, message: str, hint: str | None = None
) -> InvalidRequest:
    return InvalidRequest(message, [FieldError(f"/{role}/{field}", message, hint)])
