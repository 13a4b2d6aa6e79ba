"""Which look at some seeds a comparison is: the one that was planned, or another."""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from app.services.analyses.sides import Side
from app.storage.tables import Experiment, Run, Study
from lab_models.statistics.looks import Look


class Looks:
    """What is known of how the given runs came to be: a seed has been seen when all that is compared of it had finished
    before it was asked for, and was taken over.

    What is remembered are rows. Where the run that another took over is gone, nothing says with how many others it was
    seen, and the look counts as a further one.
    """

    def __init__(self, session: Session, runs: Iterable[Run]) -> None:
        self._session = session
        self._trained: dict[str, Run | None] = {}
        self._planned: dict[str, frozenset[int]] = {}
        self._final: dict[str, bool] = {}
        self._follow({run.reused_from for run in runs if run.reused_from is not None})

    def of(self, sides: Sequence[Side], seeds: Iterable[int]) -> Look:
        """Which look the given seeds of these sides are, which are those that have a number on all of them."""
        there = set(seeds)
        studies = {side.experiment.study_id for side in sides}
        # what a design says of one cell alone, such as fewer seeds of a teacher, is fixed beforehand too
        wanted = frozenset.intersection(*(side.planned for side in sides))
        is_planned = (len(studies) == 1 and None not in studies) or len(
            {side.planned for side in sides}
        ) == 1
        is_final = is_planned and all(self._is_final(side.experiment) for side in sides)
        seen = {seed for seed in there if all(self._was_taken_over(side, seed) for side in sides)}
        is_whole = is_planned and there <= wanted and all(wanted <= side.settled for side in sides)
        if not seen:
            if is_whole:
                return Look.FINAL if is_final else Look.PLANNED
            if is_final:
                return Look.EARLY
            is_partial = is_planned and there < wanted
            return Look.PARTIAL if is_partial else Look.FURTHER
        origins = [self._origins(side, seen) for side in sides]
        was_final = any(self._is_final(origin) for found in origins for origin in found or ())
        is_same = (
            is_whole
            and seen == there
            and all(
                found is not None and len(found) == 1 and self._seeds_of(found[0]) == side.planned
                for side, found in zip(sides, origins, strict=True)
            )
        )
        if is_same:
            return Look.FINAL if is_final and was_final else Look.PLANNED
        return Look.SPENT if was_final else Look.FURTHER

    def _was_taken_over(self, side: Side, seed: int) -> bool:
        return any(run.seed == seed and run.reused_from is not None for run in side.runs)

    def _origins(self, side: Side, seeds: set[int]) -> list[Experiment] | None:
        """The experiments in which these seeds were trained; None where one is gone."""
        found: dict[str, Experiment] = {}
        for run in side.runs:
            if run.seed not in seeds or run.reused_from is None:
                continue
            trained = self._trained.get(run.reused_from)
            if trained is None:
                return None
            experiment = self._session.get(Experiment, trained.experiment_id)
            if experiment is None:
                return None
            found[experiment.id] = experiment
        return list(found.values())

    def _follow(self, run_ids: set[str]) -> None:
        """Find the runs that were trained in the end: who was taken over may have taken over itself."""
        found: dict[str, Run] = {}
        missing = set(run_ids)
        while missing:
            rows = self._session.exec(select(Run).where(col(Run.id).in_(missing))).all()
            found |= {run.id: run for run in rows}
            missing = {run.reused_from for run in rows if run.reused_from is not None} - set(found)
        for run_id in run_ids:
            run = found.get(run_id)
            while run is not None and run.reused_from is not None:
                run = found.get(run.reused_from)
            self._trained[run_id] = run

    def _seeds_of(self, experiment: Experiment) -> frozenset[int]:
        """The seeds that an experiment was first sent with."""
        if experiment.id not in self._planned:
            runs = self._session.exec(select(Run).where(col(Run.experiment_id) == experiment.id))
            self._planned[experiment.id] = Side(experiment, runs.all(), "").planned
        return self._planned[experiment.id]

    def _is_final(self, experiment: Experiment) -> bool:
        study_id = experiment.study_id
        if study_id is None:
            return False
        if study_id not in self._final:
            study = self._session.get(Study, study_id)
            self._final[study_id] = study is not None and bool(study.design.get("final"))
        return self._final[study_id]
