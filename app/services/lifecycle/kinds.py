"""On which kind of device a run is trained: that which its request names, or one for all runs that are compared."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.lifecycle.workers import kinds_of_devices
from app.storage.states import RunStatus, TrainsOn
from app.storage.tables import Experiment, Run

LONG_ON_A_CPU: Final = 120.0
"""Seconds of a run, as estimated for two cores, above which a CPU leaves it to GPUs that are online."""
UNDECIDED: Final = (TrainsOn.FIRST.value, TrainsOn.GPU_FIRST.value)
WRITTEN_TOGETHER: Final = timedelta(milliseconds=20)
"""What one request writes is each a microsecond younger than the one before."""
UNFINISHED: Final = [status for status in RunStatus if not status.is_terminal]


def trains_on(device: str, seconds: float | None) -> TrainsOn:
    """What a request's `device` means for a run that takes two cores so long."""
    if device == "auto":
        return TrainsOn.GPU_FIRST if (seconds or 0.0) > LONG_ON_A_CPU else TrainsOn.FIRST
    return TrainsOn(device)


def for_kind(session: Session, kind: str) -> ColumnElement[bool]:
    """The runs that a worker on such a device may take now."""
    if kind == TrainsOn.CPU and TrainsOn.CUDA in kinds_of_devices(session):
        return col(Run.trains_on).not_in((TrainsOn.CUDA.value, TrainsOn.GPU_FIRST.value))
    return for_kinds((kind,))


def for_kinds(kinds: Collection[str]) -> ColumnElement[bool]:
    """The runs that workers on such devices may take sooner or later."""
    return or_(
        col(Run.trains_on).in_((TrainsOn.ANY.value, *UNDECIDED)),
        col(Run.trains_on).in_(list(kinds)),
    )


def decide(session: Session, experiment_id: str, kind: str) -> None:
    """The experiment's first run is taken by such a device: the others, those of its study, and those of its control
    and of what was written with it to build on, are left to the same kind. Rows that another transaction holds are
    passed over and decided by their own claim: whoever holds one may wait for the run that is being claimed.
    """
    kin = _kin(session, experiment_id)
    together = select_columns(col(Experiment.id)).where(
        or_(col(Experiment.id).in_(kin), col(Experiment.study_id).in_(kin))
    )
    undecided = (
        select_columns(col(Run.id))
        .where(
            col(Run.experiment_id).in_(together),
            col(Run.trains_on).in_(UNDECIDED),
            col(Run.status).in_(UNFINISHED),
        )
        .with_for_update(skip_locked=True, of=Run)
    )
    session.execute(
        update(Run).where(col(Run.id).in_(session.scalars(undecided).all())).values(trains_on=kind)
    )


def _kin(session: Session, experiment_id: str) -> set[str]:
    """Ids of the experiment, of those that the same request has written to be compared with it or built on, and of
    their study.
    """
    own = session.get_one(Experiment, experiment_id)
    since, until = own.created_at - WRITTEN_TOGETHER, own.created_at + WRITTEN_TOGETHER
    rows = session.execute(
        select_columns(col(Experiment.id), col(Experiment.study_id), col(Experiment.related)).where(
            col(Experiment.owner) == own.owner, col(Experiment.created_at).between(since, until)
        )
    ).all()
    near = {row.id for row in rows}
    families = [
        {row.id, *filter(None, [row.study_id]), *near.intersection(map(str, row.related.values()))}
        for row in rows
    ]
    kin, known = {experiment_id}, 0
    while len(kin) > known:
        known = len(kin)
        kin.update(*(family for family in families if family & kin))
    return kin


def trains_on_too(device: str, seconds: float | None, others: Sequence[str]) -> TrainsOn:
    """As `trains_on`, where `others` say which kind may take the experiment's other runs: with `auto` the same."""
    wanted = trains_on(device, seconds)
    if wanted not in UNDECIDED:
        return wanted
    decided = [other for other in others if TrainsOn(other).is_decided]
    undecided = [other for other in others if other in UNDECIDED]
    return TrainsOn([*decided, *undecided, wanted][0])


def send_to(session: Session, experiment: Experiment, device: str) -> bool:
    """Let what an experiment has still to train be trained elsewhere, also what is retried later, and what of its
    owner's it waits for; False where nothing is unfinished. With `auto` it goes where others of its runs were begun by
    that rule.
    """
    its = col(Run.experiment_id) == experiment.id
    unfinished = col(Run.status).in_(UNFINISHED)
    if not session.scalars(select_columns(col(Run.id)).where(its, unfinished).limit(1)).first():
        return False
    begun = session.scalars(select_columns(col(Run.trains_on)).where(its, col(Run.attempt) > 0))
    wanted = trains_on_too(device, experiment.nominal_seconds, begun.all())
    left = col(Run.status) != RunStatus.SUCCEEDED
    session.execute(update(Run).where(its, left).values(trains_on=wanted.value))
    experiment.device = device
    for below in _waited_for(session, experiment):
        send_to(session, below, device)
    return True


def _waited_for(session: Session, experiment: Experiment) -> Sequence[Experiment]:
    needed = select_columns(col(Run.needs)).where(col(Run.experiment_id) == experiment.id)
    theirs = select_columns(col(Run.experiment_id)).where(
        col(Run.id).in_(needed), col(Run.status).in_(UNFINISHED)
    )
    return session.scalars(
        select_columns(Experiment).where(
            col(Experiment.id).in_(theirs), col(Experiment.owner) == experiment.owner
        )
    ).all()
