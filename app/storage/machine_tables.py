"""The rows of what trains and serves: workers, and the API's installation."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from app.storage.column_types import UTCDateTime


class Worker(SQLModel, table=True):
    """A worker process that has shown itself; `seen_at` is for people, never for expiring leases. `torch` is the
    version that it trains with. A run of convolutions gets `threads`, and up to `cores` where it is alone; each run as
    many where they are set (`LAB_THREADS`). One with a `trouble` cannot train; one with a `caution` does.
    """

    __tablename__ = "worker"

    id: str = Field(primary_key=True)
    host: str
    pid: int
    device: str
    threads: int
    memory_bytes: int | None = Field(default=None, sa_type=BigInteger)
    torch: str | None = None
    threads_are_set: bool | None = None
    cores: int | None = None
    trouble: str | None = None
    caution: str | None = None
    started_at: datetime = Field(sa_type=UTCDateTime)
    seen_at: datetime = Field(sa_type=UTCDateTime)


class Installation(SQLModel, table=True):
    """One row: what the API that uses this database was last started with, and where the runs' files lie, in a home or,
    where it names one, in a bucket. There is none where the database lies in that home itself.
    """

    __tablename__ = "installation"

    id: int = Field(primary_key=True)
    home_id: str
    home: str
    host: str
    store: str = ""
    version: str | None = None
    results_version: int
    started_at: datetime = Field(sa_type=UTCDateTime)
