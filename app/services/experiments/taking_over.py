"""Results taken over from equal runs that have finished.

Taking over has three steps, so that nothing of it but the moves of rows is done under a lock: `find_equal` reads,
`take_files` gives the files a second name with no session at all, `take_over` moves those runs whose source is still
there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sqlalchemy import bindparam, event, insert
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from app.services import lifecycle
from app.services.experiments.deletion import remove_files
from app.services.experiments.equal_runs import Likeness, equal_runs
from app.storage.files.store import FileStore
from app.storage.tables import Artifact, metadata


@dataclass(frozen=True)
class FinishedRun:
    """A run that has succeeded, and its files: each one's path within the run's folder, and size."""

    run_id: str
    files: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Equal:
    """A run that is to be written and those that are equal to it, the best first."""

    run_id: str
    sources: tuple[FinishedRun, ...]


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
    session: Session, wanted: Mapping[Likeness, Sequence[str]], owner: str
) -> tuple[Equal, ...]:
    """For the runs that are to be written, by their likeness, the owner's equal ones that have succeeded, where there
    are any.
    """
    found = equal_runs(session, wanted, owner)
    published = _files_of(session, [run.id for runs in found.values() for run in runs])
    return tuple(
        Equal(
            run_id,
            tuple(
                FinishedRun(run.id, published[run.id])
                for run in found[likeness]
                if run.id in published
            ),
        )
        for likeness, run_ids in wanted.items()
        if likeness in found
        for run_id in run_ids
    )


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

    A source that is gone by now leaves its run queued, without files.
    """
    if not sources:
        return []
    moved = lifecycle.take_over(session, sources)
    if moved:
        pairs = [{"taker": run_id, "giver": sources[run_id]} for run_id in moved]
        for table in ("artifact", "metric"):
            session.connection().execute(_copying(table), pairs)
    remove_files(files, set(sources) - set(moved))
    return moved


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


def _files_of(session: Session, run_ids: Sequence[str]) -> dict[str, tuple[tuple[str, int], ...]]:
    """What the runs have published, by run."""
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    if run_ids:
        for artifact in session.exec(
            select(Artifact.run_id, Artifact.path, Artifact.size_bytes).where(
                col(Artifact.run_id).in_(run_ids)
            )
        ):
            found[artifact[0]].append((artifact[1], artifact[2]))
    return {run_id: tuple(files) for run_id, files in found.items()}


def _files_taken(source: FinishedRun, files: FileStore, run_id: str) -> bool:
    """False, with what was made removed, if one is not there whole."""
    try:
        files.copy_run(source.run_id, source.files, run_id)
    # gone or damaged, or no room for a copy: the run is trained anew, or its own worker says what is wrong
    except OSError:
        remove_files(files, [run_id])
        return False
    return True
