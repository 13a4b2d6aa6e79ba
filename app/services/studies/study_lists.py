"""Studies in a list: found page by page, and counted up in the database, without their runs being loaded."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, tuple_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.services.experiments.how_far import fraction_in_sql
from app.services.experiments.paging import read_cursor, write_cursor
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run, Study


@dataclass(frozen=True)
class StudyOutline:
    """A study as a list shows it: runs by status, and the `fraction` of the work that is done, cells weighed by their
    cost.
    """

    study: Study
    num_cells: int
    pictures: tuple[str, ...]
    counts: Counter[RunStatus]
    num_reused: int
    fraction: float

    @property
    def num_runs(self) -> int:
        """All runs."""
        return self.counts.total()

    @property
    def status(self) -> RunStatus:
        """As an experiment's, over all runs."""
        return experiment_status(self.counts)


@dataclass(frozen=True)
class _CellCount:
    """Runs of one cell that have one status, and how many runs' work they have done."""

    cell: str
    status: RunStatus
    num_runs: int
    num_reused: int
    done: float


def page(
    session: Session, recipe: str | None, owners: Sequence[str], place: tuple[int, str | None]
) -> tuple[list[Study], str | None]:
    """Studies that belong to all of `owners`, the newest first, and the cursor of the next page if there is one.

    `place` is how many at most, and the cursor of the page before.
    """
    limit, cursor = place
    statement = (
        select(Study).order_by(col(Study.created_at).desc(), col(Study.id).desc()).limit(limit + 1)
    )
    if cursor is not None:
        statement = statement.where(
            tuple_(col(Study.created_at), col(Study.id)) < read_cursor(cursor)
        )
    if recipe is not None:
        statement = statement.where(col(Study.recipe) == recipe)
    statement = statement.where(*(col(Study.owner) == owner for owner in owners))
    rows = list(session.exec(statement))
    return rows[:limit], write_cursor(rows[limit - 1].created_at, rows[limit - 1].id) if len(
        rows
    ) > limit else None


def outlines(session: Session, studies: Sequence[Study]) -> list[StudyOutline]:
    """What a list shows of the studies, in their order; one that has just been deleted is left out."""
    counted = _counted(session, [study.id for study in studies])
    return [_outline(study, counted[study.id]) for study in studies if study.id in counted]


def _outline(study: Study, counted: Sequence[_CellCount]) -> StudyOutline:
    by_status: Counter[RunStatus] = Counter()
    for count in counted:
        by_status[count.status] += count.num_runs
    weights = study.nominal_seconds
    total = sum(weights[count.cell] * count.num_runs for count in counted)
    done = sum(weights[count.cell] * count.done for count in counted)
    return StudyOutline(
        study=study,
        num_cells=len(study.design["cells"]),
        pictures=tuple(study.design["pictures"]),
        counts=by_status,
        num_reused=sum(count.num_reused for count in counted),
        fraction=done / total if total else 1.0,
    )


def _counted(session: Session, study_ids: Sequence[str]) -> dict[str, list[_CellCount]]:
    columns = (
        col(Experiment.study_id),
        col(Experiment.cell),
        col(Run.status),
        func.count(),
        func.count(col(Run.reused_from)),
        func.sum(fraction_in_sql()),
    )
    grouped = (
        select_columns(*columns)
        .join(Run, col(Run.experiment_id) == col(Experiment.id))
        .where(col(Experiment.study_id).in_(study_ids))
    )
    found: defaultdict[str, list[_CellCount]] = defaultdict(list)
    for study_id, *numbers in session.execute(grouped.group_by(*columns[:3])):
        found[study_id].append(_CellCount(*numbers))
    return dict(found)
