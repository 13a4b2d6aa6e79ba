"""Experiments deleted with all that hangs on them: rows in one transaction, the runs' files after its commit."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, func, or_
from sqlalchemy import delete as delete_rows
from sqlmodel import Session, col, select

from app.errors import Conflict, HasDependents, NotFinished, NotFound
from app.services import lifecycle
from app.services.experiments import tombstones
from app.storage.files.store import FileStore
from app.storage.states import RunStatus
from app.storage.tables import Artifact, Checkpoint, Experiment, Run, Tombstone
from lab_models.specs import CONTROLS

MOST_NAMED = 5


def delete(session: Session, experiment: Experiment) -> list[str]:
    """Delete an experiment; returns the ids of its runs, whose files go after the commit (`remove_files`).

    Raises NotFinished while a run is queued, paused or running; HasDependents while a run of another experiment needs
    one of its runs, another experiment has it as its control, or a study has it as a cell; NotFound when it has just
    been deleted. A teacher, source or control that was made for it stays.
    """
    if experiment.study_id is not None:
        raise HasDependents(
            f"experiment {experiment.id} is a cell of study {experiment.study_id}, whose table needs it; delete the"
            " study"
        )
    return delete_together(session, [experiment])


def delete_together(session: Session, experiments: Sequence[Experiment]) -> list[str]:
    """As `delete`, for several at once, all or none. What depends on one of them and is deleted with it is no
    hindrance.

    The order loses nothing: rows first, in one transaction, and files after its commit. A crash in between leaves
    folders that no row points to, which cost only space; the other order would leave rows that promise files that are
    gone.
    """
    ids = [experiment.id for experiment in experiments]
    run_ids = [run.id for run in _locked_runs(session, ids)]
    refused = _refusals(session, ids)
    if refused:
        raise type(refused[0])("; ".join(map(str, refused)))
    # all in one statement: they may need each other; the rest cascades
    session.execute(delete_rows(Run).where(col(Run.id).in_(run_ids)))
    deleted = session.execute(
        delete_rows(Experiment)
        .where(col(Experiment.id).in_(ids))
        .returning(col(Experiment.id), col(Experiment.owner), col(Experiment.study_id))
    ).all()
    if len(deleted) < len(set(ids)):
        raise NotFound(
            f"{_listed(sorted(set(ids) - {row.id for row in deleted}))} has just been deleted"
        )
    tombstones.leave(
        session,
        [
            Tombstone(id=row.id, kind="experiment", owner=row.owner, study_id=row.study_id)
            for row in deleted
        ],
    )
    return run_ids


def refusals(session: Session, experiments: Sequence[Experiment]) -> list[str]:
    """Why these experiments cannot be deleted together, a sentence each; empty when they can."""
    ids = [experiment.id for experiment in experiments]
    _locked_runs(session, ids)
    return [str(error) for error in _refusals(session, ids)]


def remove_files(files: FileStore, run_ids: Iterable[str]) -> None:
    """Remove the files of deleted runs; never raises. To be called after the commit.

    A zombie, frozen since before its run ended, may wake later and make its folder anew. It finds no row for its lease,
    stops, and leaves at most a few files that nothing points to: run ids are random and never come again.
    """
    files.remove_runs(run_ids)


def size_of_run() -> ColumnElement[int]:
    """Bytes of a run's published artifacts and kept checkpoints, asked of the database beside the run: about what
    deleting it sets free.
    """
    sizes = [
        select(func.coalesce(func.sum(table.size_bytes), 0))
        .where(col(table.run_id) == col(Run.id))
        .correlate(Run)
        .scalar_subquery()
        for table in (Artifact, Checkpoint)
    ]
    return sizes[0] + sizes[1]


def _locked_runs(session: Session, experiment_ids: Sequence[str]) -> list[Run]:
    """Their runs, locked until the transaction ends: nobody builds on one, or retries one, unseen while it is deleted.

    SQLite has the whole database locked for writing by then; PostgreSQL locks the rows, as `foundations.hold_still`
    does.
    """
    runs = select(Run).where(col(Run.experiment_id).in_(experiment_ids))
    runs = runs.order_by(*lifecycle.LOCK_ORDER)
    return list(session.exec(runs.with_for_update().execution_options(populate_existing=True)))


def _refusals(session: Session, ids: Sequence[str]) -> list[Conflict]:
    own = select(Run.id).where(col(Run.experiment_id).in_(ids))
    final = [status for status in RunStatus if status.is_terminal]
    under_way = select(Run.experiment_id).where(
        col(Run.experiment_id).in_(ids), col(Run.status).not_in(final)
    )
    builds_on = select(Run.experiment_id).where(
        col(Run.needs).in_(own), col(Run.experiment_id).not_in(ids)
    )
    is_control = or_(
        *(col(Experiment.related)[role].as_string().in_(ids) for role in (*CONTROLS, "verifies"))
    )
    compared = select(Experiment.id).where(is_control, col(Experiment.id).not_in(ids))
    unfinished, building, comparing = (
        sorted(set(session.exec(found))) for found in (under_way, builds_on, compared)
    )
    refused: list[Conflict] = []
    if unfinished:
        refused.append(
            NotFinished(
                f"{_listed(unfinished)} has runs that are not finished; cancel it first, or wait"
            )
        )
    if building:
        refused.append(
            HasDependents(
                f"{_listed(building)} builds on a run that would be deleted; delete that first"
            )
        )
    if comparing:
        refused.append(
            HasDependents(
                f"{_listed(comparing)} is compared with what would be deleted; delete that first"
            )
        )
    return refused


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return f"experiment {', '.join(ids[:MOST_NAMED])}{more}"
