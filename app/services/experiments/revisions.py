"""What an answer about runs depends on, in one short text: as long as it is the same, so is the answer. Read from the
runs' rows alone.

Everything that changes a run's results changes its row in the same transaction: an epoch `epochs_done`, a new attempt
`fence`, an ending the status. What is measured before the first step has an epoch of its own, 0, which is looked up at
the numbers' end. What experiments are never changes.
"""

import hashlib
from collections.abc import Sequence
from enum import Enum, auto
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from app.storage.tables import Experiment, Metric, Run, Study
from lab_models.common.revision import package_version


def of_experiments(
    session: Session, experiment_ids: Sequence[str], run_ids: Sequence[str] = ()
) -> str:
    """Of experiments with all their runs, and of some runs more."""
    if not run_ids:
        return _revision(session, _Of.EXPERIMENTS, {"experiments": list(experiment_ids)})
    return _revision(
        session,
        _Of.EXPERIMENTS_AND_RUNS,
        {"experiments": list(experiment_ids), "runs": list(run_ids)},
    )


def of_study(session: Session, study: Study) -> str:
    """Of a study with all its cells."""
    return _revision(
        session,
        _Of.STUDY,
        {"study": study.id},
        study.id,
        study.name,
        study.design["seeds"],
        study.design["looks"],
        study.design.get("final", False),
    )


class _Of(Enum):
    """Whose runs."""

    EXPERIMENTS = auto()
    EXPERIMENTS_AND_RUNS = auto()
    STUDY = auto()


def _revision(session: Session, of: _Of, named: dict[str, object], *more: object) -> str:
    digest = hashlib.sha256(repr((package_version(), more)).encode())
    for row in session.execute(_facts(of), named):
        digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()[:32]


@cache
def _facts(of: _Of) -> Select[Any]:
    """The query, made once: to make it takes longer than to ask it, and whoever has the picture already waits for
    nothing else.
    """
    last_epoch = (
        select_columns(func.max(Metric.epoch))
        .where(col(Metric.run_id) == col(Run.id))
        .correlate(Run)
        .scalar_subquery()
    )
    giver = aliased(Run)
    # whose results were taken over says which look at them this is, as long as it is there
    is_remembered = (
        select_columns(func.count(col(giver.id)))
        .where(col(giver.id) == col(Run.reused_from))
        .correlate(Run)
        .scalar_subquery()
    )
    facts = (
        *(
            col(column)
            for column in (
                Run.id,
                Run.experiment_id,
                Experiment.name,
                Run.status,
                Run.status_reason,
                Run.attempt,
                Run.fence,
            )
        ),
        *(
            col(column)
            for column in (Run.epochs_done, Run.reused_from, Run.stop_reason, Run.finished_at)
        ),
        col(Run.best)["epoch"].as_string(),
        last_epoch,
        is_remembered,
    )
    wanted: ColumnElement[bool]
    match of:
        case _Of.EXPERIMENTS:
            wanted = col(Run.experiment_id).in_(bindparam("experiments", expanding=True))
        case _Of.EXPERIMENTS_AND_RUNS:
            wanted = col(Run.experiment_id).in_(bindparam("experiments", expanding=True)) | col(
                Run.id
            ).in_(bindparam("runs", expanding=True))
        case _Of.STUDY:
            wanted = col(Experiment.study_id) == bindparam("study")
    return (
        select_columns(*facts)
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(wanted)
        .order_by(col(Run.id))
    )
