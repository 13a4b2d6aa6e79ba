"""Studies that are there: found, seen as a whole, held while they change, and deleted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from app.errors import NotFound
from app.services.experiments import deletion, tombstones
from app.services.experiments.experiments import runs_of
from app.services.studies import study_progress
from app.services.studies.study_lists import StudyOutline
from app.storage.states import RunStatus, experiment_status
from app.storage.tables import Experiment, Run, Study, Tombstone
from lab_models.recipes.recipe import Cell
from lab_models.studies.design import Design, read_design


@dataclass(frozen=True)
class StudyCell:
    """A cell with its experiment and that one's runs, in the order of the seeds. Both are those of the cell called
    `same_as` where the two train the same.
    """

    cell: Cell
    experiment: Experiment
    runs: list[Run]
    same_as: str | None = None

    @property
    def status(self) -> RunStatus:
        """The experiment's status."""
        return experiment_status(run.status for run in self.runs)


@dataclass(frozen=True)
class WholeStudy:
    """A study with everything that its record shows. `fraction` is of the work, cells weighed by their cost."""

    study: Study
    design: Design
    cells: list[StudyCell]
    status: RunStatus
    fraction: float
    estimated_finish_at: datetime | None

    @property
    def own_cells(self) -> list[StudyCell]:
        """The cells with an experiment of their own: each experiment once."""
        return [cell for cell in self.cells if cell.same_as is None]

    @property
    def runs(self) -> list[Run]:
        """All runs, each once."""
        return [run for cell in self.own_cells for run in cell.runs]

    def titles_of(self, cell: StudyCell) -> str:
        """The cell's title, and those of the cells that are the same."""
        same = [other.cell.title for other in self.cells if other.same_as == cell.cell.key]
        return " = ".join([cell.cell.title, *same])

    @property
    def counts(self) -> Counter[RunStatus]:
        """Runs by status."""
        return Counter(run.status for run in self.runs)

    @property
    def outline(self) -> StudyOutline:
        """The study as a list shows it."""
        reused = sum(run.reused_from is not None for run in self.runs)
        return StudyOutline(
            self.study, len(self.cells), self.design.pictures, self.counts, reused, self.fraction
        )


def get(session: Session, study_id: str) -> Study:
    """The study, or NotFound."""
    study = session.get(Study, study_id)
    if study is None:
        raise NotFound(f"there is no study {study_id!r}; GET /studies lists them")
    return study


def whole(session: Session, study: Study) -> WholeStudy:
    """Everything that the study's record shows; raises NotFound when it has just been deleted."""
    design = read_design(study.design)
    by_key = {experiment.cell: experiment for experiment in _experiments(session, study)}
    if not by_key:
        raise NotFound(f"study {study.id} has just been deleted")
    runs = runs_of(session, [experiment.id for experiment in by_key.values()])
    cells = []
    for cell in design.cells:
        experiment = by_key[design.trained(cell.key)]
        same_as = design.same_as.get(cell.key)
        cells.append(StudyCell(cell, experiment, runs[experiment.id], same_as))
    own = [cell for cell in cells if cell.same_as is None]
    status = experiment_status(run.status for cell in own for run in cell.runs)
    weights = study.nominal_seconds
    weighed = [(weights[cell.cell.key], run) for cell in own for run in cell.runs]
    return WholeStudy(
        study,
        design,
        cells,
        status,
        study_progress.fraction(weighed),
        study_progress.estimated_finish(session, weighed, status),
    )


def lock(session: Session, study: Study) -> None:
    """Hold the study's row until the transaction ends, and read it again: one change at a time. Raises NotFound when it
    has just been deleted.

    SQLite has the whole database locked for writing by then.
    """
    held = (
        select(Study)
        .where(col(Study.id) == study.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if session.exec(held).one_or_none() is None:
        raise NotFound(f"study {study.id} has just been deleted")


def delete(session: Session, study: Study) -> list[str]:
    """Remove the study, its experiments and runs; returns the runs whose folders go after the commit. Raises as
    `deletion.delete_together` does.
    """
    lock(session, study)
    removed = deletion.delete_together(session, _experiments(session, study))
    session.delete(study)
    session.flush()
    tombstones.leave(session, [Tombstone(id=study.id, kind="study", owner=study.owner)])
    return removed


def _experiments(session: Session, study: Study) -> Sequence[Experiment]:
    return session.exec(select(Experiment).where(col(Experiment.study_id) == study.id)).all()
