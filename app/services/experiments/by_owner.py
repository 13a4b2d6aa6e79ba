"""What each owner's experiments have come to, of those that some filters let through: by three statements, however many
there are.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Float, Numeric, Row, Select, and_, case, cast, func, null
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.filtering import Filters, conditions
from app.services.quotas import first_day
from app.storage.dialects import microseconds
from app.storage.states import RunStatus
from app.storage.tables import Attempt, Experiment, Run, utc_now

MICROSECONDS_AN_HOUR: Final = 3_600_000_000
OF_A_CPU: Final = "cpu"
"""How the name of a device begins that is no GPU."""


@dataclass(frozen=True)
class NamedExperiment:
    """As much of an experiment as a link needs."""

    id: str
    name: str | None
    created_at: datetime


@dataclass(frozen=True)
class BestOfLabel:
    """The highest mean of test accuracy over the succeeded runs of one experiment, among those with one value of a
    label.
    """

    experiment: NamedExperiment
    accuracy: float
    num_runs: int


@dataclass(frozen=True)
class LastError:
    """Of the run that has failed last."""

    code: str
    run_id: str
    experiment_id: str
    at: datetime


@dataclass
class OwnersWork:
    """Of one owner. `done_today` are runs that have succeeded today in UTC; hours are those of attempts that have ended
    today or in the six days before, of experiments that are there, by what they were trained on.
    """

    num_experiments: int = 0
    runs: Counter[RunStatus] = field(default_factory=Counter)
    done_today: int = 0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    last_error: LastError | None = None
    newest: NamedExperiment | None = None
    best: dict[str, BestOfLabel] = field(default_factory=dict)
    """By value of the label."""


@dataclass(frozen=True)
class WorkByOwner:
    """Owners with something by name, and how many of the experiments have each key of a label."""

    owners: dict[str, OwnersWork]
    label_keys: Counter[str]


def work_by_owner(
    session: Session, filters: Filters, key: str | None, now: datetime | None = None
) -> WorkByOwner:
    """What the filters let through, by owner; `key` is the label by whose values the best are told apart."""
    now = now or utc_now()
    owners: dict[str, OwnersWork] = {}
    keys: Counter[str] = Counter()
    for row in session.execute(_experiments(filters, key, now)):
        keys.update(row.labels.keys())
        _add(owners.setdefault(row.owner, OwnersWork()), row, key)
    for owner, device, hours in session.execute(_hours(filters, now)):
        work = owners.setdefault(owner, OwnersWork())
        if device == OF_A_CPU:
            work.cpu_hours = float(hours)
        else:
            work.gpu_hours = float(hours)
    for error in session.execute(_errors(filters)):
        owners.setdefault(error.owner, OwnersWork()).last_error = LastError(
            error.code or "failed", error.id, error.experiment_id, error.finished_at
        )
    return WorkByOwner(dict(sorted(owners.items())), keys)


def _add(work: OwnersWork, row: Row[Any], key: str | None) -> None:
    named = partial(NamedExperiment, row.id, row.name, row.created_at)
    work.num_experiments += 1
    for status in RunStatus:
        if count := getattr(row, status.value):
            work.runs[status] += count
    work.done_today += row.done_today
    if work.newest is None or work.newest.created_at < row.created_at:
        work.newest = named()
    value = None if key is None else row.labels.get(key)
    if value is None or row.accuracy is None:
        return
    best = work.best.get(value)
    if best is None or _rank(best.accuracy, best.experiment) < _rank(row.accuracy, row):
        work.best[value] = BestOfLabel(named(), row.accuracy, row.succeeded)


def _rank(accuracy: float, experiment: Any) -> tuple[float, datetime, str]:
    """Of equal ones the newest is named, whatever the order in which they are read."""
    return accuracy, experiment.created_at, experiment.id


def _experiments(filters: Filters, key: str | None, now: datetime) -> Any:
    """A row for each experiment, with what its runs are."""
    chosen: Select[*tuple[Any, ...]] = select_columns(
        *(
            col(getattr(Experiment, name)).label(name)
            for name in ("id", "owner", "name", "created_at", "labels")
        )
    ).where(*conditions(filters))
    value = null() if key is None else col(Experiment.labels)[key].as_string()
    with_key = chosen.add_columns(value.label("value")).subquery()
    stands = (
        select_columns(
            col(Run.experiment_id).label("experiment_id"),
            *(_how_many(col(Run.status) == status).label(status.value) for status in RunStatus),
            _how_many(
                and_(col(Run.status) == RunStatus.SUCCEEDED, col(Run.finished_at) >= _midnight(now))
            ).label("done_today"),
            _accuracy(with_key.c.value).label("accuracy"),
        )
        .join(with_key, with_key.c.id == col(Run.experiment_id))
        .group_by(col(Run.experiment_id))
        .subquery()
    )
    shown = [with_key.c[name] for name in ("id", "owner", "name", "created_at", "labels")]
    runs = [stands.c[name] for name in (*RunStatus, "done_today", "accuracy")]
    return select_columns(*shown, *runs).join(stands, stands.c.experiment_id == with_key.c.id)


def _accuracy(value: ColumnElement[Any]) -> ColumnElement[float]:
    """The mean over the succeeded runs, of what has the label alone: it is read from each run's scores."""
    number = cast(col(Run.test)["accuracy"].as_string(), Numeric)
    counts = and_(value.is_not(None), col(Run.status) == RunStatus.SUCCEEDED)
    return cast(func.avg(case((counts, number))), Float)


def _hours(filters: Filters, now: datetime) -> Any:
    since = datetime.fromisoformat(first_day(now)).replace(tzinfo=UTC)
    name = func.coalesce(col(Run.environment)["device"].as_string(), OF_A_CPU)
    device = case((name.startswith(OF_A_CPU), OF_A_CPU), else_="gpu")
    lasted = microseconds(col(Attempt.finished_at)) - microseconds(col(Attempt.started_at))
    ended = (
        select_columns(
            col(Experiment.owner).label("owner"), device.label("device"), lasted.label("lasted")
        )
        .select_from(Attempt)
        .join(Run, col(Run.id) == col(Attempt.run_id))
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Attempt.finished_at) >= since, *conditions(filters))
        .subquery()
    )
    hours = cast(func.sum(ended.c.lasted), Float) / MICROSECONDS_AN_HOUR
    return select_columns(ended.c.owner, ended.c.device, hours).group_by(
        ended.c.owner, ended.c.device
    )


def _errors(filters: Filters) -> Any:
    """The last of each owner, by what the runs' own owner says: that is the experiment's."""
    newest_first = func.row_number().over(
        partition_by=col(Run.owner), order_by=(col(Run.finished_at).desc(), col(Run.id))
    )
    failed = (
        select_columns(col(Run.id).label("id"), newest_first.label("place"))
        .join(Experiment, col(Experiment.id) == col(Run.experiment_id))
        .where(col(Run.status) == RunStatus.FAILED, *conditions(filters))
        .subquery()
    )
    return (
        select_columns(
            col(Run.id),
            col(Run.owner),
            col(Run.experiment_id),
            col(Run.finished_at),
            col(Run.error)["code"].as_string().label("code"),
        )
        .join(failed, failed.c.id == col(Run.id))
        .where(failed.c.place == 1)
    )


def _how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
