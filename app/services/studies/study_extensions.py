"""More seeds for a study that is there: prepared on a session that only reads, added in one short transaction."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from sqlmodel import Session, col, select

from app.errors import Conflict
from app.services.datasets import datasets
from app.services.experiments import deletion, replicates, taking_over
from app.services.experiments.artifacts import weights_of
from app.services.experiments.equal_runs import platforms_of
from app.services.experiments.experiments import runs_of
from app.services.experiments.likeness import Likeness
from app.services.experiments.platforms import places_now
from app.services.experiments.replicates import Below
from app.services.experiments.taking_over import Equal, TakingOver, WantedRun
from app.services.owners import limits
from app.services.studies import study_bounds, study_foundations
from app.services.studies.studies import lock
from app.services.studies.study_foundations import OutsideFoundations
from app.settings import Settings
from app.storage.files.places import file_store
from app.storage.tables import Experiment, Run, Study, new_id
from lab_models.common.validation import FieldError
from lab_models.specs import read_spec
from lab_models.studies.design import Design, read_design

Place = tuple[str, int]
"""A run's, by its experiment and seed."""


@dataclass(frozen=True)
class PreparedExtension(TakingOver):
    """More seeds for a study, the ids that new runs get by experiment and seed, and by experiment the foundations of
    new seeds that are no cell of the study.
    """

    study_id: str
    num_seeds: int
    run_ids: dict[Place, str]
    new_seeds: tuple[int, ...] = ()
    outside: dict[str, OutsideFoundations] = field(default_factory=dict)


def prepare_extension(
    session: Session, study: Study, num_seeds: int, settings: Settings
) -> PreparedExtension:
    """Find what can be taken over by the replicates that `extend` would add now, and what they are built on, on a
    session that only reads; raises as it does, and Conflict for a final study.
    """
    extended = study_bounds.with_next_seeds(_extensible(study), num_seeds, settings)
    cells = {cell.key: cell for cell in extended.cells}
    written = _written(session, study)
    new = extended.seeds[-num_seeds:]
    run_ids = {
        (experiment.id, seed): new_id("run")
        for experiment in written
        for seed in new
        if seed in extended.seeds_of(cells[str(experiment.cell)])
    }
    outside = study_foundations.outside(session, study, extended, written, new, settings)
    prepared = PreparedExtension(study.id, num_seeds, run_ids, new, outside)
    if not study.reuse:
        return prepared
    equal = _equal(session, study, extended, written, prepared, settings)
    return replace(prepared, equal=equal)


def extend(session: Session, study: Study, prepared: PreparedExtension, settings: Settings) -> int:
    """Add replicates to every cell that takes the study's seeds, under the next seeds that the study has not; returns
    how many runs are new, with those of foundations that only the new seeds need.

    Where another has extended it since that was prepared, the seeds are other ones, and what was found for those is
    trained anew; raises Conflict where they would need foundations that are no cells.
    """
    taking_over.remove_unless_committed(session, prepared.taken, file_store(settings))
    lock(session, study)
    extended = study_bounds.with_next_seeds(_extensible(study), prepared.num_seeds, settings)
    if prepared.outside and extended.seeds[-prepared.num_seeds :] != prepared.new_seeds:
        raise Conflict("the study has just been extended by another request; send this one again")
    cells = {cell.key: cell for cell in extended.cells}
    written = _written(session, study)
    seeds = {
        experiment.id: extended.seeds_of(cells[str(experiment.cell)]) for experiment in written
    }
    first = study_foundations.store_outside(session, prepared.outside, study.owner, settings)
    below = Below(study_foundations.inside(extended, written), first.runs)
    added = replicates.add_seeds(session, seeds, prepared.run_ids, below)
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
    return len(added) + first.num_queued


def _written(session: Session, study: Study) -> list[Experiment]:
    """The study's experiments, in the order in which they were made."""
    in_order = (
        select(Experiment)
        .where(col(Experiment.study_id) == study.id)
        .order_by(col(Experiment.created_at), col(Experiment.id))
    )
    return list(session.exec(in_order))


def _equal(
    session: Session,
    study: Study,
    extended: Design,
    written: list[Experiment],
    prepared: PreparedExtension,
    settings: Settings,
) -> tuple[Equal, ...]:
    """What can be taken over: first by runs on foundations that are there, then by those on new runs of the study."""
    ids = [experiment.id for experiment in written]
    runs = runs_of(session, ids)
    needs = _needs(study_foundations.inside(extended, written), runs, prepared)
    weights = weights_of(session, {needed for needed in needs.values() if needed is not None})
    platforms = platforms_of(session, ids)
    alike = _likenesses(session, written, settings)

    def find(found_so_far: Mapping[str, str], among: Iterable[Place]) -> tuple[Equal, ...]:
        wanted = [
            WantedRun(
                prepared.run_ids[place], place[0], alike(*place, found_so_far.get(str(needed)))
            )
            for place in among
            if (needed := needs[place]) is None or needed in found_so_far
        ]
        return taking_over.find_equal(session, wanted, study.owner, platforms)

    new = set(prepared.run_ids.values())
    found = find(weights, [place for place, needed in needs.items() if needed not in new])
    weights |= {one.run_id: one.weights for one in found if one.weights is not None}
    then = find(weights, [place for place, needed in needs.items() if needed in new])
    return *found, *then


def _needs(
    inside: Mapping[str, str], runs: Mapping[str, list[Run]], prepared: PreparedExtension
) -> dict[Place, str | None]:
    """What each new run will be built on; "" for what is not written yet."""
    there = {(run.experiment_id, run.seed): run.id for each in runs.values() for run in each}
    every = there | prepared.run_ids
    needs: dict[Place, str | None] = {}
    for experiment_id, seed in prepared.run_ids:
        if experiment_id in inside:
            needed: str | None = every[inside[experiment_id], seed]
        elif experiment_id in prepared.outside:
            needed = prepared.outside[experiment_id].foundations[seed].run_id or ""
        else:
            needed = runs[experiment_id][0].needs
        needs[experiment_id, seed] = needed
    return needs


def _likenesses(
    session: Session, written: list[Experiment], settings: Settings
) -> Callable[[str, int, str | None], Likeness]:
    """What is wanted of an experiment with a seed, built on weights with a SHA-256."""
    sha256, places = cache(datasets.catalog(settings).sha256), places_now(session)
    prints = {experiment.id: experiment.fingerprint for experiment in written}
    specs = {experiment.id: read_spec(experiment.spec) for experiment in written}

    def likeness(experiment_id: str, seed: int, built_on: str | None) -> Likeness:
        spec = specs[experiment_id]
        return Likeness(
            prints[experiment_id],
            seed,
            sha256(spec.dataset.name),
            built_on,
            places.platforms(spec),
        )

    return likeness


def _extensible(study: Study) -> Design:
    """The study's design; raises Conflict where it takes no more seeds."""
    design = read_design(study.design)
    if design.final:
        raise Conflict(
            f"study {study.id} is final: its one look has the whole 5 %, which more seeds would break",
            [
                FieldError(
                    "/seeds",
                    "a final study takes no more seeds",
                    "start a new study with seeds that it has not, such as"
                    f' "seeds": [{max(design.seeds) + 1}, {max(design.seeds) + 2}, …]',
                )
            ],
        )
    return design
