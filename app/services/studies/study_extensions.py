"""More seeds for a study that is there: prepared on a session that only reads, added in one short transaction."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from sqlmodel import Session, col, select

from app.services.datasets import datasets
from app.services.experiments import deletion, replicates, taking_over
from app.services.experiments.equal_runs import Likeness
from app.services.experiments.taking_over import TakingOver
from app.services.owners import limits
from app.services.studies import study_bounds
from app.services.studies.studies import lock
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.tables import Experiment, Study, new_id
from lab_models.studies.design import read_design


@dataclass(frozen=True)
class PreparedExtension(TakingOver):
    """More seeds for a study, and the ids that new runs get by experiment and seed."""

    study_id: str
    num_seeds: int
    run_ids: dict[tuple[str, int], str]


def prepare_extension(
    session: Session, study: Study, num_seeds: int, settings: Settings
) -> PreparedExtension:
    """Find what can be taken over by the replicates that `extend` would add now, on a session that only reads; raises
    as it does.
    """
    extended = study_bounds.with_next_seeds(read_design(study.design), num_seeds, settings)
    cells = {cell.key: cell for cell in extended.cells}
    written = session.exec(
        select(Experiment.id, Experiment.cell, Experiment.fingerprint, Experiment.spec).where(
            col(Experiment.study_id) == study.id
        )
    ).all()
    new = extended.seeds[-num_seeds:]
    run_ids = {
        (experiment_id, seed): new_id("run")
        for experiment_id, cell, _, _ in written
        for seed in new
        if seed in extended.seeds_of(cells[str(cell)])
    }
    if not study.reuse:
        return PreparedExtension(study.id, num_seeds, run_ids)
    sha256 = cache(datasets.catalog(settings).sha256)
    wanted: dict[Likeness, list[str]] = defaultdict(list)
    for experiment_id, _, fingerprint, spec in written:
        for seed in new:
            if (experiment_id, seed) in run_ids:
                likeness = Likeness(fingerprint, seed, sha256(spec["dataset"]["name"]))
                wanted[likeness].append(run_ids[experiment_id, seed])
    equal = taking_over.find_equal(session, wanted, study.owner)
    return PreparedExtension(study.id, num_seeds, run_ids, equal=equal)


def extend(session: Session, study: Study, prepared: PreparedExtension, settings: Settings) -> int:
    """Add replicates to every cell that takes the study's seeds, under the next seeds that the study has not; returns
    how many runs are new.

    Where another has extended it since that was prepared, the seeds are other ones, and what was found for those is
    trained anew.
    """
    taking_over.remove_unless_committed(session, prepared.taken, file_store(settings))
    lock(session, study)
    extended = study_bounds.with_next_seeds(read_design(study.design), prepared.num_seeds, settings)
    cells = {cell.key: cell for cell in extended.cells}
    in_order = (
        select(Experiment.id, Experiment.cell)
        .where(col(Experiment.study_id) == study.id)
        .order_by(col(Experiment.created_at), col(Experiment.id))
    )
    written = session.exec(in_order).all()
    seeds = {experiment_id: extended.seeds_of(cells[str(cell)]) for experiment_id, cell in written}
    added = replicates.add_seeds(session, seeds, prepared.run_ids)
    deletion.remove_files(file_store(settings), set(prepared.taken) - set(added))
    taking_over.take_over(
        session,
        {run_id: prepared.taken[run_id] for run_id in added if run_id in prepared.taken},
        file_store(settings),
    )
    study.design = extended.model_dump(mode="json")
    session.add(study)
    limits.refuse_full_queue(session, study.owner, settings)
    session.expire_all()
    return len(added)
