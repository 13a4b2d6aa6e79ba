"""Which runs are by themselves: held against no other, so that they may be computed on more cores than their share.
See `docs/decisions/0047-cores-are-dealt-out.md`.
"""

from sqlalchemy import func, or_
from sqlmodel import Session, col, select

from app.services.lifecycle.kinds import WRITTEN_TOGETHER
from app.storage.tables import Experiment, Run
from lab_models.specs import CONTROLS, read_spec


def is_by_itself(session: Session, run: Run, experiment: Experiment) -> bool:
    """Whether nothing is compared with the run as it stands: neither another seed, nor a cell of a study, a control, a
    run that it repeats, or the foundations of the other seeds of what builds on it.
    """
    return (
        experiment.study_id is None
        and "verifies" not in experiment.related
        and _num_runs(session, experiment.id) == 1
        and not _has_or_is_a_control(session, experiment)
        and not _is_one_of_own_foundations(session, run)
    )


def _num_runs(session: Session, experiment_id: str) -> int:
    counted = select(func.count()).select_from(Run).where(col(Run.experiment_id) == experiment_id)
    return session.exec(counted).one()


def _has_or_is_a_control(session: Session, experiment: Experiment) -> bool:
    """A control is named by what it stands beside, which the same request has written."""
    if any(experiment.related.get(role) for role in CONTROLS):
        return True
    beside = or_(*(col(Experiment.related)[role].as_string() == experiment.id for role in CONTROLS))
    since, until = (experiment.created_at + sign * WRITTEN_TOGETHER for sign in (-1, 1))
    asked = select(Experiment.id).where(
        col(Experiment.owner) == experiment.owner,
        col(Experiment.created_at).between(since, until),
        beside,
    )
    return session.exec(asked.limit(1)).first() is not None


def _is_one_of_own_foundations(session: Session, run: Run) -> bool:
    """Where each seed has a foundation of its own, each of these may have been written at another time."""
    building = select(Experiment.spec).where(
        col(Experiment.id).in_(select(Run.experiment_id).where(col(Run.needs) == run.id))
    )
    return any(read_spec(spec).has_own_foundations for spec in session.exec(building))
