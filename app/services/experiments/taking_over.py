"""Results taken over from equal runs that have finished.

Taking over has three steps, so that nothing of it but the moves of rows is done under a lock: `find_equal` reads,
`take_files` gives the files a second name with no session at all, `take_over` moves those runs whose source is still
there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Self

from sqlalchemy import bindparam, event, insert
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.services import lifecycle
from app.services.experiments.artifacts import WEIGHTS_NAME, weights_of
from app.services.experiments.deletion import remove_files
from app.services.experiments.equal_runs import EqualRun, equal_runs
from app.services.experiments.likeness import Likeness, Platform
from app.storage.files.store import FileStore
from app.storage.tables import Artifact, Run, metadata


@dataclass(frozen=True)
class WantedRun:
    """A run that is to be written, of an experiment, and what a run must be like to stand in for it."""

    run_id: str
    experiment_id: str
    likeness: Likeness


@dataclass(frozen=True)
class FinishedRun:
    """A run that has succeeded, and its files: each one's path within the run's folder, and size; `weights` is the
    SHA-256 of its best ones, where it has any.
    """

    run_id: str
    files: tuple[tuple[str, int], ...]
    weights: str | None = None


@dataclass(frozen=True)
class Equal:
    """A run that is to be written and those that are equal to it, the best first."""

    run_id: str
    sources: tuple[FinishedRun, ...]

    @property
    def weights(self) -> str | None:
        """SHA-256 of the weights that it will have, should it be taken over from the best."""
        return self.sources[0].weights if self.sources else None


@dataclass(frozen=True, kw_only=True)
class TakingOver:
    """What of something that is to be written can be taken over: `equal` by its rows, `taken` with the files lying
    ready, by run the source whose files those are.
    """

    equal: tuple[Equal, ...] = ()
    taken: Mapping[str, str] = field(default_factory=dict)

    def with_files(self, files: FileStore) -> Self:
        """The same with the files in place; to be called once, with no session open, just before it is stored."""
        return replace(self, taken=take_files(self.equal, files))


def find_equal(
    session: Session,
    wanted: Sequence[WantedRun],
    owner: str,
    there: Mapping[str, Platform] = MappingProxyType({}),
) -> tuple[Equal, ...]:
    """For the runs that are to be written the owner's equal ones that have succeeded, where there are any.

    All that one experiment takes over was trained on one platform: that of the runs that it has (`there`, by
    experiment) while others can still be trained on it, else the one on which most are found.
    """
    found = equal_runs(session, {one.likeness for one in wanted}, owner)
    published = _published_by(session, [run.id for runs in found.values() for run in runs])
    whole = {
        likeness: [run for run in runs if run.id in published] for likeness, runs in found.items()
    }
    chosen = _one_platform_each(wanted, whole, there)
    equal = (
        Equal(
            one.run_id,
            tuple(
                published[run.id]
                for run in whole.get(one.likeness, ())
                if run.platform == chosen[one.experiment_id]
            ),
        )
        for one in wanted
    )
    return tuple(one for one in equal if one.sources)


def _one_platform_each(
    wanted: Iterable[WantedRun],
    found: Mapping[Likeness, Sequence[EqualRun]],
    there: Mapping[str, Platform],
) -> dict[str, Platform | None]:
    """By experiment the platform from which it takes over; of several that have as many runs, that of the best."""
    counts: dict[str, Counter[Platform | None]] = defaultdict(Counter)
    goes_on: dict[str, Platform] = {}
    for one in wanted:
        # each platform once for each run that is wanted, in the order of the runs found
        platforms = dict.fromkeys(run.platform for run in found.get(one.likeness, ()))
        counts[one.experiment_id].update(list(platforms))
        begun_on = there.get(one.experiment_id)
        if begun_on is not None and one.likeness.is_trained_on(begun_on):
            goes_on[one.experiment_id] = begun_on
    return {
        experiment_id: goes_on.get(experiment_id)
        or max(count, key=lambda platform: count[platform], default=None)
        for experiment_id, count in counts.items()
    }


def take_files(equal: Iterable[Equal], files: FileStore) -> dict[str, str]:
    """Give the sources' files a second name in the folders of the runs that are to be written, so that either can be
    deleted without the other.

    Returns for each of the runs the source whose files it has, all whole and durable; nothing for one whose sources'
    files are gone.
    """
    taken: dict[str, str] = {}
    for one in equal:
        source = next(
            (source for source in one.sources if _files_taken(source, files, one.run_id)),
            None,
        )
        if source is not None:
            taken[one.run_id] = source.run_id
    files.settle(taken)  # before the rows, which is when they begin to count
    return taken


def take_over(session: Session, sources: Mapping[str, str], files: FileStore) -> list[str]:
    """Let queued runs take over the results of the sources whose files they have; returns those that did.

    A source that is gone by now leaves its run queued, without files. So does one that was built on other weights than
    the run has below it now: those that others are built on are taken over first, and then it is looked at again.
    """
    moved: list[str] = []
    left = dict(sources)
    while left:
        needs = _needs_of(session, left)
        ready = {run_id for run_id, needed in needs.items() if needed not in left}
        pairs = {run_id: left.pop(run_id) for run_id in list(left) if run_id in ready or not ready}
        moved += _moved(session, _built_on_the_same(session, pairs, needs))
    remove_files(files, set(sources) - set(moved))
    return moved


def _moved(session: Session, sources: Mapping[str, str]) -> list[str]:
    """Those of the runs that have taken over what their sources have."""
    moved = lifecycle.take_over(session, sources)
    if moved:
        pairs = [{"taker": run_id, "giver": sources[run_id]} for run_id in moved]
        for table in ("artifact", "metric"):
            session.connection().execute(_copying(table), pairs)
    return moved


def _needs_of(session: Session, run_ids: Iterable[str]) -> dict[str, str | None]:
    """What each of the runs builds on; of one that is gone nothing is said."""
    asked = select(Run.id, Run.needs).where(col(Run.id).in_(list(run_ids)))
    return dict(session.exec(asked).all())


def _built_on_the_same(
    session: Session, pairs: Mapping[str, str], needs: Mapping[str, str | None]
) -> dict[str, str]:
    """Those of the pairs whose run has the weights below it that its source was built on."""
    below = {run_id: needed for run_id, needed in needs.items() if needed and run_id in pairs}
    if not below:
        return dict(pairs)
    weights = weights_of(session, set(below.values()))
    sources = {pairs[run_id] for run_id in below}
    asked = select(Run.id, Run.environment).where(col(Run.id).in_(sources))
    built_on = {
        run_id: ((environment or {}).get("built_on") or {}).get("weights_sha256")
        for run_id, environment in session.exec(asked)
    }
    return {
        run_id: source
        for run_id, source in pairs.items()
        if run_id not in below
        or weights.get(below[run_id], object()) == built_on.get(source, object())
    }


def remove_unless_committed(session: Session, run_ids: Iterable[str], files: FileStore) -> None:
    """Remove the folders of runs that are about to be written, should the transaction end in another way than by its
    commit.
    """
    folders = list(run_ids)

    def committed(_session: Session) -> None:
        folders.clear()

    def ended(_session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            remove_files(files, folders)
            folders.clear()

    event.listen(session, "after_commit", committed)
    event.listen(session, "after_transaction_end", ended)


def _copying(name: str) -> Any:
    """Rows of `giver` once more as rows of `taker`, for many pairs."""
    table = metadata().tables[name]
    columns = [column for column in table.columns if column.name != "run_id"]
    source = select_columns(bindparam("taker", type_=table.c.run_id.type), *columns).where(
        table.c.run_id == bindparam("giver")
    )
    return insert(table).from_select(["run_id", *(column.name for column in columns)], source)


def _published_by(session: Session, run_ids: Sequence[str]) -> dict[str, FinishedRun]:
    """Those of the runs that have published files, with these."""
    files: dict[str, list[tuple[str, int]]] = defaultdict(list)
    weights: dict[str, str] = {}
    if run_ids:
        columns = (
            Artifact.run_id,
            Artifact.name,
            Artifact.path,
            Artifact.size_bytes,
            Artifact.sha256,
        )
        asked = select_columns(*map(col, columns)).where(col(Artifact.run_id).in_(run_ids))
        for row in session.execute(asked):
            files[row.run_id].append((row.path, row.size_bytes))
            if row.name == WEIGHTS_NAME:
                weights[row.run_id] = row.sha256
    return {
        run_id: FinishedRun(run_id, tuple(found), weights.get(run_id))
        for run_id, found in files.items()
    }


def _files_taken(source: FinishedRun, files: FileStore, run_id: str) -> bool:
    """False, with what was made removed, if one is not there whole."""
    try:
        files.copy_run(source.run_id, source.files, run_id)
    # gone or damaged, or no room for a copy: the run is trained anew, or its own worker says what is wrong
    except OSError:
        remove_files(files, [run_id])
        return False
    return True
