"""What owners have: experiments, runs, hours of training, files; and how much of each they may."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.services.quotas import Quotas, first_day, of_their_role, quotas_of
from app.settings import Settings
from app.storage.states import RunStatus
from app.storage.tables import LOCAL, ApiKey, Experiment, Owner, RoleQuota, Run, TrainingDay
from lab_models.datasets.catalog import Catalog


@dataclass(frozen=True)
class DiskUsage:
    """Bytes of an owner's imported data sets and of what their runs have published."""

    datasets: int = 0
    artifacts: int = 0

    @property
    def total(self) -> int:
        """What the quota counts."""
        return self.datasets + self.artifacts


@dataclass(frozen=True)
class Usage:
    """What an owner has; seconds are those of attempts that have ended, in all and of the days that count today."""

    quotas: Quotas
    num_keys: int
    num_experiments: int
    runs: Mapping[RunStatus, int]
    training_seconds: float
    week_seconds: float
    disk: DiskUsage
    last_submitted_at: datetime | None


def disk_usage(session: Session, owner: str, settings: Settings) -> DiskUsage:
    """What one owner's files take."""
    artifacts = session.execute(
        select_columns(func.coalesce(func.sum(Run.artifact_bytes), 0)).where(
            col(Run.owner) == owner
        )
    ).scalar_one()
    return DiskUsage(dataset_bytes(settings, owner).get(owner, 0), int(artifacts))


def dataset_bytes(settings: Settings, only: str | None = None) -> dict[str, int]:
    """What imported data sets take, by owner; what was imported before owners were noted is `local`'s."""
    catalog = Catalog(settings.imported_folder)
    found: dict[str, int] = defaultdict(int)
    for info in catalog.imported():
        owner = info.owner or LOCAL
        if only is None or owner == only:
            found[owner] += catalog.disk_bytes(info.name)
    return found


def usage_of(session: Session, settings: Settings, only: str | None = None) -> list[Usage]:
    """What every owner has, by name, or one of them, who need not be known: sums over indexes, one statement a kind."""
    owners = session.execute(
        _of(select_columns(Owner, RoleQuota), Owner.name, only)
        .outerjoin(RoleQuota, of_their_role())
        .order_by(col(Owner.name))
    ).all()
    rows: Sequence[tuple[Owner, RoleQuota | None]] = [(row[0], row[1]) for row in owners]
    if only is not None and not rows:
        rows = [(Owner(name=only), None)]
    experiments = _experiments(session, only)
    runs, artifacts = _runs(session, only)
    seconds = _seconds(session, only)
    keys = _keys(session, only)
    datasets = dataset_bytes(settings, only)
    return [
        Usage(
            quotas=quotas_of(owner, role, settings),
            num_keys=keys.get(owner.name, 0),
            num_experiments=experiments.get(owner.name, (0, None))[0],
            runs=runs.get(owner.name, {}),
            training_seconds=seconds.get(owner.name, (0.0, 0.0))[0],
            week_seconds=seconds.get(owner.name, (0.0, 0.0))[1],
            disk=DiskUsage(datasets.get(owner.name, 0), artifacts.get(owner.name, 0)),
            last_submitted_at=experiments.get(owner.name, (0, None))[1],
        )
        for owner, role in rows
    ]


def _of(
    statement: Select[*tuple[Any, ...]], column: object, only: str | None
) -> Select[*tuple[Any, ...]]:
    return statement if only is None else statement.where(col(column) == only)


def _experiments(session: Session, only: str | None) -> dict[str, tuple[int, datetime]]:
    rows = select_columns(col(Experiment.owner), func.count(), func.max(Experiment.created_at))
    return {
        owner: (count, latest)
        for owner, count, latest in session.execute(
            _of(rows, Experiment.owner, only).group_by(col(Experiment.owner))
        )
    }


def _runs(
    session: Session, only: str | None
) -> tuple[dict[str, dict[RunStatus, int]], dict[str, int]]:
    counts: dict[str, dict[RunStatus, int]] = defaultdict(dict)
    artifacts: dict[str, int] = defaultdict(int)
    keys = (col(Run.owner), col(Run.status))
    rows = _of(select_columns(*keys, func.count(), func.sum(Run.artifact_bytes)), Run.owner, only)
    for owner, status, count, num_bytes in session.execute(rows.group_by(*keys)):
        counts[owner][status] = count
        artifacts[owner] += int(num_bytes)
    return counts, artifacts


def _seconds(session: Session, only: str | None) -> dict[str, tuple[float, float]]:
    lately = func.sum(
        case((col(TrainingDay.day) >= first_day(), col(TrainingDay.seconds)), else_=0.0)
    )
    rows = select_columns(col(TrainingDay.owner), func.sum(TrainingDay.seconds), lately)
    return {
        owner: (in_all, week)
        for owner, in_all, week in session.execute(
            _of(rows, TrainingDay.owner, only).group_by(col(TrainingDay.owner))
        )
    }


def _keys(session: Session, only: str | None) -> dict[str, int]:
    rows = select_columns(col(ApiKey.owner), func.count()).where(col(ApiKey.revoked_at).is_(None))
    found = session.execute(_of(rows, ApiKey.owner, only).group_by(col(ApiKey.owner)))
    return {row[0]: row[1] for row in found}
