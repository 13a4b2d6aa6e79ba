"""Quotas set, of one owner or of all who have a role."""

from collections.abc import Mapping

from sqlmodel import Session, col, select

from app.errors import NotFound
from app.roles import Role
from app.services.quotas import QuotaKind
from app.storage.tables import Owner, QuotaColumns, RoleQuota
from lab_models.common.validation import did_you_mean


def grant(session: Session, owner: str, changes: Mapping[QuotaKind, float | None]) -> None:
    """Give an owner other quotas, in runs, seconds or bytes: 0 is no bound, None leaves it to their role and the
    settings. What is not among the changes stays. Raises NotFound.
    """
    row = session.exec(select(Owner).where(col(Owner.name) == owner).with_for_update()).first()
    if row is None:
        hint = did_you_mean(owner, list(session.exec(select(Owner.name))))
        raise NotFound(
            f"there is no owner {owner!r}; " + (hint or f"`lab keys create {owner}` makes one")
        )
    _set(session, row, changes)


def grant_role(session: Session, role: Role, changes: Mapping[QuotaKind, float | None]) -> None:
    """The same of everybody whose mightiest key has this role, now and later."""
    _set(session, session.get(RoleQuota, role) or RoleQuota(role=role), changes)


def role_quotas(session: Session) -> list[RoleQuota]:
    """What is set for roles."""
    return list(session.exec(select(RoleQuota).order_by(col(RoleQuota.role))))


def _set(session: Session, row: QuotaColumns, changes: Mapping[QuotaKind, float | None]) -> None:
    for kind, limit in changes.items():
        setattr(row, kind.column, limit)
    session.add(row)
    session.flush()
