"""What the least service costs: FastAPI, SQLModel and one table, written as their documentation does it; no owners, no
runs, no keys, no bounds.

On SQLite it has the same write-ahead log and the same durability as the service. uvicorn starts it in a process of its
own.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from sqlalchemy import JSON, create_engine, event, insert
from sqlmodel import Field, Session, SQLModel, col, select

DATABASE_VARIABLE = "YARDSTICK_DATABASE_URL"
ROWS_VARIABLE = "YARDSTICK_ROWS"
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL")

SPEC = {
    "dataset": {"name": "digits", "val_fraction": 0.2},
    "model": {"arch": "mlp", "hidden": [32]},
    "optimizer": {"name": "adam"},
    "epochs": 5,
}

router = APIRouter()


class Row(SQLModel, table=True):
    """The one table."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = "row"
    status: str = "queued"
    spec: dict[str, Any] = Field(sa_type=JSON, default_factory=dict)


def _session(request: Request) -> Iterator[Session]:
    with Session(request.app.state.engine) as session:
        yield session


Opened = Annotated[Session, Depends(_session)]


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ[DATABASE_VARIABLE]
    engine = app.state.engine = create_engine(
        url, connect_args={"check_same_thread": False} if url.startswith("sqlite") else {}
    )
    if engine.dialect.name == "sqlite":
        event.listen(
            engine,
            "connect",
            lambda connection, _: [connection.execute(f"PRAGMA {pragma}") for pragma in PRAGMAS],
        )
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        if session.exec(select(Row).limit(1)).first() is None:
            session.execute(
                insert(Row),
                [
                    {"name": f"row {number}", "status": "succeeded", "spec": SPEC}
                    for number in range(int(os.environ[ROWS_VARIABLE]))
                ],
            )
            session.commit()
    yield
    engine.dispose()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """For the prober."""
    return {"status": "ok"}


@router.post("/rows", status_code=201)
def create_row(row: Row, session: Opened) -> Row:
    """Store a row."""
    session.add(row)
    session.commit()
    session.refresh(row)
    return row


@router.get("/rows/{number}")
def read_row(number: int, session: Opened) -> Row:
    """One row."""
    row = session.get(Row, number)
    if row is None:
        raise HTTPException(404)
    return row


@router.get("/rows")
def list_rows(session: Opened, limit: int = 50) -> list[Row]:
    """Rows, the newest first."""
    return list(session.exec(select(Row).order_by(col(Row.id).desc()).limit(limit)))


app = FastAPI(lifespan=_lifespan)
app.include_router(router)
