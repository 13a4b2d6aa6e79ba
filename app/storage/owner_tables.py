"""The rows of owners: their keys, what browsers hold in place of one, their quotas, and how long they have trained."""

from datetime import datetime

from sqlalchemy import BigInteger, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.roles import Role
from app.storage.column_types import RoleText, UTCDateTime
from app.storage.rows import new_id


class QuotaColumns(SQLModel):
    """How much an owner may have; None leaves it to what is less particular, 0 is no bound."""

    max_queued: int | None = None
    max_running: int | None = None
    max_week_seconds: float | None = None
    max_bytes: int | None = Field(default=None, sa_type=BigInteger)


class Owner(QuotaColumns, table=True):
    """Somebody who submits, with the role of their mightiest key. `turn` grows with every claim of a run of theirs:
    whoever was served longest ago comes next.
    """

    __tablename__ = "owner"

    name: str = Field(primary_key=True)
    turn: int = Field(default=0, sa_type=BigInteger)
    role: Role | None = Field(default=None, sa_type=RoleText)


class RoleQuota(QuotaColumns, table=True):
    """How much an owner with this role may have of whom nothing is said."""

    __tablename__ = "role_quota"

    role: Role = Field(primary_key=True, sa_type=RoleText)


class TrainingDay(SQLModel, table=True):
    """How long an owner's attempts took that ended on a day in UTC, `2026-11-29`; runs that are deleted count too."""

    __tablename__ = "training_day"

    owner: str = Field(primary_key=True)
    day: str = Field(primary_key=True)
    seconds: float


class ApiKey(SQLModel, table=True):
    """A key to the API, of which only the SHA-256 is kept; `hint` is its beginning, by which people tell keys apart."""

    __tablename__ = "api_key"
    __table_args__ = (UniqueConstraint("sha256"),)

    id: str = Field(primary_key=True, default_factory=lambda: new_id("key"))
    owner: str = Field(index=True)
    role: Role = Field(sa_type=RoleText)
    sha256: str
    hint: str
    created_at: datetime = Field(sa_type=UTCDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class BrowserSession(SQLModel, table=True):
    """What a browser's cookie stands for: the key that it was begun with. Only the secret's SHA-256 is kept."""

    __tablename__ = "browser_session"

    sha256: str = Field(primary_key=True)
    key_id: str = Field(foreign_key="api_key.id", index=True)
    created_at: datetime = Field(sa_type=UTCDateTime)
    seen_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime = Field(sa_type=UTCDateTime)


class LoginCode(SQLModel, table=True):
    """What begins one browser session in the place of a key, once and soon; only its SHA-256 is kept."""

    __tablename__ = "login_code"

    sha256: str = Field(primary_key=True)
    key_id: str = Field(foreign_key="api_key.id")
    expires_at: datetime = Field(sa_type=UTCDateTime)
