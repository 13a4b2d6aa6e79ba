"""What each owner's experiments have come to, of those that some filters let through: by as many statements, however
many there are, of which each answers with a few rows per owner.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Float, Numeric, Select, Text, case, cast, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.experiments.filtering import Filters, conditions
from app.services.quotas import first_day
from app.storage.dialects import microseconds
from app.storage.states import RunStatus
from app.storage.tables import Attempt, Experiment, Run, utc_now

MICROSECONDS_AN_HOUR: Final = 3_600_000_000
UNLIKE_SUCCESS: Final = tuple(status for status in RunStatus if status is not RunStatus.SUCCEEDED)
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
    for owner, count, *newest in session.execute(_made(filters)):
        owners[owner] = OwnersWork(count, newest=NamedExperiment(*newest))
    for owner, status, count in session.execute(_runs(filters)):
        owners[owner].runs[RunStatus(status)] = count
    for owner, count in session.execute(_done_since(filters, _midnight(now))):
        owners[owner].done_today = count
    for owner, device, hours in session.execute(_hours(filters, now)):
        if device == OF_A_CPU:
            owners[owner].cpu_hours = float(hours)
        else:
            owners[owner].gpu_hours = float(hours)
    for owner, code, *where in session.execute(_errors(filters)):
        owners[owner].last_error = LastError(code or "failed", *where)
    for owner, value, accuracy, count, *named in (
        session.execute(_best(filters, key)) if key else ()
    ):
        owners[owner].best[value] = BestOfLabel(NamedExperiment(*named), accuracy, count)
    keys: Counter[str] = Counter()
    for labels, count in session.execute(_labels(filters)):
        keys.update(dict.fromkeys(json.loads(labels), count))
    return WorkByOwner(dict(sorted(owners.items())), keys)


def _made(filters: Filters) -> Any:
    """How many experiments each owner has, and the newest."""
    owner = col(Experiment.owner)
    newest_first = (col(Experiment.created_at).desc(), col(Experiment.id).desc())
    places = (
        select_columns(
            col(Experiment.id).label("id"),
            func.count().over(partition_by=owner).label("count"),
            func.row_number().over(partition_by=owner, order_by=newest_first).label("place"),
        )
        .where(*conditions(filters))
        .subquery()
    )
    return (
        select_columns(col(Experiment.owner), places.c["count"], *_named())
        .join_from(places, Experiment, col(Experiment.id) == places.c.id)
        .where(places.c.place == 1)
    )


def _labels(filters: Filters) -> Any:
    """Each object of labels as its JSON, which many share, and how many do."""
    labels = cast(col(Experiment.labels), Text)
    return select_columns(labels, func.count()).where(*conditions(filters)).group_by(labels)


def _runs(filters: Filters) -> Any:
    keys = (col(Run.owner), col(Run.status))
    return _of(filters, select_columns(*keys, func.count()).select_from(Run).group_by(*keys))


def _done_since(filters: Filters, since: datetime) -> Any:
    done = (col(Run.status) == RunStatus.SUCCEEDED, col(Run.finished_at) >= since)
    owner = col(Run.owner)
    chosen = select_columns(owner, func.count()).select_from(Run).where(*done).group_by(owner)
    return _of(filters, chosen)


def _best(filters: Filters, key: str) -> Any:
    """Of each owner and value of the label the experiment with the highest mean over its succeeded runs; of equal ones
    the newest.
    """
    value = col(Experiment.labels)[key].as_string()
    with_key = (
        select_columns(
            *(col(getattr(Experiment, name)).label(name) for name in ("id", "owner", "created_at")),
            value.label("value"),
        )
        .where(*conditions(filters), value.is_not(None))
        .subquery()
    )
    accuracy = cast(col(Run.test)["accuracy"].as_string(), Numeric)
    # not by the bare id: for its order SQLite would walk an index of all runs, and by a status another
    its = cast(with_key.c.id, Text)
    means = (
        select_columns(
            its.label("id"),
            cast(func.avg(accuracy), Float).label("mean"),
            func.count().label("count"),
        )
        .join(with_key, col(Run.experiment_id) == with_key.c.id)
        .where(col(Run.status).not_in(UNLIKE_SUCCESS))
        .group_by(its)
        .subquery()
    )
    best_first = (means.c.mean.desc(), with_key.c.created_at.desc(), with_key.c.id.desc())
    place = func.row_number().over(
        partition_by=(with_key.c.owner, with_key.c.value), order_by=best_first
    )
    ranked = (
        select_columns(with_key.c.value, means, place.label("place"))
        .join_from(means, with_key, with_key.c.id == means.c.id)
        .where(means.c.mean.is_not(None))
        .subquery()
    )
    return (
        select_columns(
            col(Experiment.owner), ranked.c.value, ranked.c.mean, ranked.c["count"], *_named()
        )
        .join_from(ranked, Experiment, col(Experiment.id) == ranked.c.id)
        .where(ranked.c.place == 1)
    )


def _named() -> tuple[Any, ...]:
    """As `NamedExperiment` takes them."""
    return col(Experiment.id), col(Experiment.name), col(Experiment.created_at)


def _of(filters: Filters, runs: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Those runs whose experiments the filters let through."""
    if filters == Filters():
        return runs
    ids = select_columns(col(Experiment.id)).where(*conditions(filters))
    return runs.where(col(Run.experiment_id).in_(ids))


def _hours(filters: Filters, now: datetime) -> Any:
    since = datetime.fromisoformat(first_day(now)).replace(tzinfo=UTC)
    name = func.coalesce(col(Run.environment)["device"].as_string(), OF_A_CPU)
    device = case((name.startswith(OF_A_CPU), OF_A_CPU), else_="gpu")
    lasted = microseconds(col(Attempt.finished_at)) - microseconds(col(Attempt.started_at))
    chosen = (
        select_columns(
            col(Run.owner).label("owner"), device.label("device"), lasted.label("lasted")
        )
        .select_from(Attempt)
        .join(Run, col(Run.id) == col(Attempt.run_id))
        .where(col(Attempt.finished_at) >= since)
    )
    ended = _of(filters, chosen).subquery()
    hours = cast(func.sum(ended.c.lasted), Float) / MICROSECONDS_AN_HOUR
    return select_columns(ended.c.owner, ended.c.device, hours).group_by(
        ended.c.owner, ended.c.device
    )


def _errors(filters: Filters) -> Any:
    """The last of each owner, in the order of `LastError`."""
    newest_first = func.row_number().over(
        partition_by=col(Run.owner), order_by=(col(Run.finished_at).desc(), col(Run.id))
    )
    chosen = (
        select_columns(col(Run.id).label("id"), newest_first.label("place"))
        .select_from(Run)
        .where(col(Run.status) == RunStatus.FAILED)
    )
    failed = _of(filters, chosen).subquery()
    return (
        select_columns(
            col(Run.owner),
            col(Run.error)["code"].as_string(),
            col(Run.id),
            col(Run.experiment_id),
            col(Run.finished_at),
        )
        .join(failed, failed.c.id == col(Run.id))
        .where(failed.c.place == 1)
    )


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
