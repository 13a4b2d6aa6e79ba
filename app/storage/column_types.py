"""What columns hold in Python that a database keeps as text or as a time: members of enumerations, aware times."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.types import TypeDecorator

from app.roles import Role
from app.storage.states import RunStatus, StatusReason

Member = TypeVar("Member", bound=StrEnum)


class _EnumText(TypeDecorator[Member], Generic[Member]):
    """A member of `members`, kept as its value in a column of plain text."""

    impl = String
    members: ClassVar[type[Any]]

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Members and other text go in as text."""
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Member | None:  # noqa: ARG002
        """Members alone come out; raises ValueError for what is none."""
        member: Member | None = None if value is None else self.members(value)
        return member


class StatusText(_EnumText[RunStatus]):
    """A run's status."""

    cache_ok = True
    members = RunStatus


class ReasonText(_EnumText[StatusReason]):
    """Why it has that status."""

    cache_ok = True
    members = StatusReason


class RoleText(_EnumText[Role]):
    """What a key allows."""

    cache_ok = True
    members = Role


class UTCDateTime(TypeDecorator[datetime]):
    """Aware UTC times in Python on every database; SQLite keeps them without their zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Only aware times go in."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Only aware times come out."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
