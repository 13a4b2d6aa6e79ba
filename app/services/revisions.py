"""What an answer about runs depends on, in one short text: as long as it is the same, so is the answer. Read from the runs' rows alone.

Everything that changes a run's results changes its row in the same transaction: an epoch `epochs_done`, a new attempt `fence`, an ending the status.
What is measured before the first step has an epoch of its own, 0, which is looked up at the numbers' end. What experiments are never changes.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.tables import Experiment, Metric, Run, Study
from lab_models.revision import package_version


def of_experiments(session: Session, experiment_ids: Sequence[str], run_ids: Sequence[str] = ()) -> str:
    """Of experiments with all their runs, and of some runs more."""
    wanted = col(Run.experiment_id).in_(experiment_ids)
    return _revision(session, wanted | col(Run.id).in_(run_ids) if run_ids else wanted)


def of_study(session: Session, study: Study) -> str:
    """Of a study with all its cells."""
    return _revision(session, col(Experiment.study_id) == study.id, study.id, study.name, study.design["seeds"], study.design["looks"])


def _revision(session: Session, wanted: ColumnElement[bool], *more: object) -> str:
    last_epoch = select_columns(func.max(Metric.epoch)).where(col(Metric.run_id) == col(Run.id)).correlate(Run).scalar_subquery()
    facts = (
        *(col(column) for column in (Run.id, Run.experiment_id, Experiment.name, Run.status, Run.status_reason, Run.attempt, Run.fence)),
        *(col(column) for column in (Run.epochs_done, Run.reused_from, Run.stop_reason, Run.finished_at)),
        col(Run.best)["epoch"].as_string(),
        last_epoch,
    )
    joined = select_columns(*facts).join(Experiment, col(Experiment.id) == col(Run.experiment_id)).where(wanted).order_by(col(Run.id))
    digest = hashlib.sha256(repr((package_version(), more)).encode())
    for row in session.execute(joined):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()[:32]
