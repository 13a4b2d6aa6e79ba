"""Which run is a foundation, a student's teacher or a transfer's source: one that is named, an equal one that there is,
or one that is made first.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sqlmodel import Session, col, select

from app.errors import InvalidRequest, NotFound
from app.services.experiments import experiments
from app.services.experiments.visibility import visible_experiment, visible_run
from app.services.owners.keys import ANYONE, Caller
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.common.validation import FieldError
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.specs import FoundationRole, Reference, Trained, TrainSpec, fingerprint, read_spec

USABLE = (RunStatus.SUCCEEDED, RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.PAUSED)
"""Statuses of a run that is or can still become a foundation; the first is preferred to the others, then the oldest."""


@dataclass(frozen=True)
class Foundation:
    """What a reference in the field `role` stands for: the run that it names, or any equal one.

    `run_id` is None where nothing equal has been trained or is under way. `info` is the data set that it has learned,
    and `images` the SHA-256 of the images that an equal one has learned; None where any will do.
    """

    trained: Trained
    role: FoundationRole
    run_id: str | None
    is_named: bool
    fingerprint: str
    info: DatasetInfo
    images: str | None

    @property
    def key(self) -> str:
        """The same for two references that stand for the same."""
        return str(self.run_id) if self.is_named else f"{self.fingerprint} {self.trained.seed}"


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
    caller: Caller = ANYONE,
) -> Foundation:
    """The trained network that is meant by the field `role`; raises InvalidRequest where there is none, or where it can
    never be one.

    A named one must be one that the caller may see; an equal one is looked for among the caller's own.
    """
    trained = reference.trained
    if trained is None:
        return _named(session, reference, role, catalog, caller)
    wanted = Foundation(
        trained,
        role,
        None,
        False,
        fingerprint(trained.spec),
        _learned(trained, role, catalog),
        catalog.sha256(trained.spec.dataset.name),
    )
    equal = _equal_runs(session, [wanted], caller.owner).get(wanted.key)
    return replace(wanted, run_id=None if equal is None else equal.id)


def _named(
    session: Session, reference: Reference, role: FoundationRole, catalog: Catalog, caller: Caller
) -> Foundation:
    run = _named_run(session, reference, role, caller)
    experiment = experiments.get(session, run.experiment_id)
    spec = read_spec(experiment.spec)
    if not isinstance(spec, TrainSpec):
        raise _refused(
            role,
            "run" if reference.run else "experiment",
            f"run {run.id} is itself built on another: a {role} is of kind 'train'",
        )
    if run.status not in USABLE:
        raise _refused(
            role,
            "run" if reference.run else "experiment",
            f"run {run.id} has {run.status} and has no weights",
            "name a run that has succeeded",
        )
    trained = Trained(spec=spec, seed=run.seed)
    info = _learned(trained, role, catalog)
    return Foundation(trained, role, run.id, True, experiment.fingerprint, info, None)


def hold_still(
    session: Session, foundations: Iterable[Foundation], owner: str
) -> dict[str, HeldFoundation]:
    """The foundations' runs by their keys, locked until the transaction ends: none can fail unseen while what builds on
    it is written.

    Raises InvalidRequest where a named one has just failed, was cancelled or deleted. Of the others those that have an
    equal run by now are there, whether it is the one that was found or another.
    """
    wanted = {foundation.key: foundation for foundation in foundations}
    found = {
        run.id: run
        for run in _locked(
            session,
            [one.run_id for one in wanted.values() if one.run_id is not None],
        )
    }
    held: dict[str, Run] = {}
    for key, foundation in wanted.items():
        run = found.get(foundation.run_id or "")
        if run is not None and run.status in USABLE:
            held[key] = run
        elif foundation.is_named:
            ended = (
                f"run {foundation.run_id} has just been deleted"
                if run is None
                else f"run {run.id} has just {run.status} and has no weights"
            )
            raise _refused(foundation.role, "run", ended, "name a run that has succeeded")
    others = [one for key, one in wanted.items() if key not in held]
    equal = _equal_runs(session, others, owner)
    kept = {run.id: run for run in _locked(session, [run.id for run in equal.values()])}
    held |= {
        key: kept[run.id]
        for key, run in equal.items()
        if run.id in kept and kept[run.id].status in USABLE
    }
    return {
        key: HeldFoundation(run.id, run.experiment_id, run.status == RunStatus.SUCCEEDED)
        for key, run in held.items()
    }


def _learned(trained: Trained, role: FoundationRole, catalog: Catalog) -> DatasetInfo:
    name = trained.spec.dataset.name
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
        runs = experiments.runs_of(
            session, [visible_experiment(session, caller, reference.experiment).id]
        )[reference.experiment]
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


def _locked(session: Session, run_ids: Sequence[str]) -> Sequence[Run]:
    if not run_ids:
        return []
    runs = select(Run).where(col(Run.id).in_(run_ids)).order_by(col(Run.id))
    return session.exec(runs.with_for_update().execution_options(populate_existing=True)).all()


def _equal_runs(session: Session, foundations: Sequence[Foundation], owner: str) -> dict[str, Run]:
    """By the foundations' keys a run of the owner's of an equal spec with the same seed, on the same images, that has
    succeeded or still can.
    """
    if not foundations:
        return {}
    wanted = (
        col(Experiment.fingerprint).in_({one.fingerprint for one in foundations}),
        col(Run.seed).in_({one.trained.seed for one in foundations}),
        col(Run.owner) == owner,
        col(Run.status).in_(USABLE),
    )
    joined = (
        select(Experiment.fingerprint, Run)
        .join(Run, col(Experiment.id) == col(Run.experiment_id))
        .where(*wanted)
    )
    candidates: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for named, run in session.exec(joined.order_by(col(Run.created_at))):
        candidates[named, run.seed].append(run)
    found = {}
    for foundation in foundations:
        there = candidates[foundation.fingerprint, foundation.trained.seed]
        same = [
            run
            for run in there
            if foundation.images is None
            or run.environment is None
            or run.environment["dataset_sha256"] == foundation.images
        ]
        if same:
            found[foundation.key] = min(same, key=lambda run: USABLE.index(run.status))
    return found


def _refused(
    role: FoundationRole, field: str, message: str, hint: str | None = None
) -> InvalidRequest:
    return InvalidRequest(message, [FieldError(f"/{role}/{field}", message, hint)])
