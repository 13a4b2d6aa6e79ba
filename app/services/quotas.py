"""How much each owner may have and has had: what is said of themselves, else of their role, else by the settings.

An owner's limit is one column of two rows, so that a claim can ask for it in SQL; 0 is no bound.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Final, Literal, assert_never

from sqlalchemy import ColumnElement, Select, bindparam, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.roles import Role
from app.settings import Settings
from app.storage.dialects import insert_into
from app.storage.tables import Owner, QuotaColumns, RoleQuota, TrainingDay, utc_now

WEEK: Final = 7
"""Days whose training counts: today in UTC, and those before."""

HOUR: Final = 3600


class QuotaKind(StrEnum):
    """What there is a bound of: runs that wait, runs at a time, training within a week, files on the disk."""

    QUEUED = "queued"
    RUNNING = "running"
    HOURS = "hours"
    DISK = "disk"

    @property
    def column(self) -> str:
        """Where it stands in the rows of owners and roles."""
        match self:
            case QuotaKind.QUEUED:
                return "max_queued"
            case QuotaKind.RUNNING:
                return "max_running"
            case QuotaKind.HOURS:
                return "max_week_seconds"
            case QuotaKind.DISK:
                return "max_bytes"
            case _:
                assert_never(self)

    def default(self, settings: Settings) -> int:
        """What holds where nobody has said anything; in runs, seconds or bytes."""
        match self:
            case QuotaKind.QUEUED:
                return settings.max_queued_per_owner
            case QuotaKind.RUNNING:
                return settings.max_running_per_owner
            case QuotaKind.HOURS | QuotaKind.DISK:
                return 0
            case _:
                assert_never(self)


@dataclass(frozen=True)
class Quota:
    """A bound, in runs, seconds or bytes, None for none; and who has set it."""

    kind: QuotaKind
    limit: int | float | None
    set_for: Literal["owner", "role", "all"]

    def source(self, owner: str, role: Role | None) -> str:
        """Whose bound it is and how it is changed, for a refusal."""
        match self.set_for:
            case "owner":
                return f"that {owner} may have; an admin changes it: `lab keys quota {owner} --{self.kind} …`"
            case "role":
                return (
                    f"that each owner with the role '{role}' may have; an admin changes it: `lab keys quota {owner}"
                    f" --{self.kind} …`"
                )
            case "all":
                return f"of this service (LAB_MAX_{self.kind.upper()}_PER_OWNER)"
            case _:
                assert_never(self.set_for)


@dataclass(frozen=True)
class Quotas:
    """All bounds of an owner; `role` is that of their mightiest key."""

    owner: str
    role: Role | None
    of: Mapping[QuotaKind, Quota]


@dataclass(frozen=True)
class HoursUsedUp:
    """An owner who has trained as long as they may; their runs wait, at least until the day `until`."""

    seconds: float
    limit: float
    until: date


def quotas_of(owner: Owner, role: QuotaColumns | None, settings: Settings) -> Quotas:
    """From the rows of an owner and of their role."""
    return Quotas(
        owner.name, owner.role, {kind: _quota(kind, owner, role, settings) for kind in QuotaKind}
    )


def held_quotas(session: Session, name: str, settings: Settings) -> Quotas:
    """The quotas of an owner, whose row is held until the transaction ends: others who ask for a part of them wait."""
    row = session.execute(
        select_columns(Owner)
        .where(col(Owner.name) == name)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).scalar_one_or_none() or Owner(name=name)
    return quotas_of(row, None if row.role is None else session.get(RoleQuota, row.role), settings)


def _quota(kind: QuotaKind, owner: Owner, role: QuotaColumns | None, settings: Settings) -> Quota:
    own = getattr(owner, kind.column)
    if own is not None:
        return Quota(kind, own or None, "owner")
    shared = None if role is None else getattr(role, kind.column)
    if shared is not None:
        return Quota(kind, shared or None, "role")
    return Quota(kind, kind.default(settings) or None, "all")


def limit_of(kind: QuotaKind, default: int = 0) -> ColumnElement[Any]:
    """The limit in a statement that joins an owner with their role's row; 0 is none."""
    column = kind.column
    return func.coalesce(getattr(Owner, column), getattr(RoleQuota, column), default)


def of_their_role() -> ColumnElement[bool]:
    """How a role's row is joined with an owner's."""
    return col(RoleQuota.role) == col(Owner.role)


def count_training(session: Session, owner: str, seconds: float, at: datetime) -> None:
    """An attempt of the owner has ended that lasted so long."""
    row = insert_into(TrainingDay, session.get_bind().dialect.name).values(
        owner=owner, day=day_of(at), seconds=max(0.0, seconds)
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=["owner", "day"],
            set_={"seconds": col(TrainingDay.seconds) + row.excluded.seconds},
        )
    )


def day_of(moment: datetime) -> str:
    """The day in UTC, as it stands in a row."""
    return moment.astimezone(UTC).date().isoformat()


def first_day(now: datetime | None = None) -> str:
    """The first of the days that count today."""
    return day_of((now or utc_now()) - timedelta(days=WEEK - 1))


@cache
def owners_out_of_hours() -> Select[str, float, float]:
    """Owners who have trained as long as they may, with seconds and limit; parameter `first_day`. Asked per owner with
    a limit, by the key of the days: without limits it costs a look at the owners.
    """
    limit = limit_of(QuotaKind.HOURS)
    trained = (
        select_columns(func.coalesce(func.sum(col(TrainingDay.seconds)), 0.0))
        .where(
            col(TrainingDay.owner) == col(Owner.name),
            col(TrainingDay.day) >= bindparam("first_day"),
        )
        .correlate(Owner)
        .scalar_subquery()
    )
    return (
        select_columns(col(Owner.name), trained, limit)
        .outerjoin(RoleQuota, of_their_role())
        .where(limit > 0, trained >= limit)
    )


def out_of_hours(session: Session) -> dict[str, HoursUsedUp]:
    """Owners whose runs wait because they have trained as long as they may, and until when at least."""
    since = first_day()
    found = {
        name: (seconds, limit)
        for name, seconds, limit in session.execute(owners_out_of_hours(), {"first_day": since})
    }
    if not found:
        return {}
    days = _days_of(session, found, since)
    return {
        name: HoursUsedUp(seconds, limit, _free_on(days[name], seconds, limit))
        for name, (seconds, limit) in found.items()
    }


def _days_of(
    session: Session, owners: Collection[str], since: str
) -> dict[str, list[tuple[date, float]]]:
    days: dict[str, list[tuple[date, float]]] = defaultdict(list)
    rows = select_columns(
        col(TrainingDay.owner), col(TrainingDay.day), col(TrainingDay.seconds)
    ).where(col(TrainingDay.owner).in_(owners), col(TrainingDay.day) >= since)
    for owner, day, seconds in session.execute(rows.order_by(col(TrainingDay.day))):
        days[owner].append((date.fromisoformat(day), seconds))
    return days


def _free_on(days: list[tuple[date, float]], seconds: float, limit: float) -> date:
    """The day on which so many of the oldest days count no more that less than the limit is left."""
    left = seconds
    for day, spent in days:
        left -= spent
        if left < limit:
            return day + timedelta(days=WEEK)
    return days[-1][0] + timedelta(days=WEEK)
