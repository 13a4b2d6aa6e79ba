"""Lists of experiments by what their runs have reached, and that for each row, asked of the database."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, assert_never

from sqlalchemy import (
    CTE,
    ColumnElement,
    Float,
    Numeric,
    and_,
    case,
    cast,
    func,
    or_,
    tuple_,
)
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import InvalidRequest
from app.services.experiments import experiments
from app.services.experiments.experiments import Listed
from app.services.experiments.filtering import Filters, conditions
from app.services.experiments.paging import read_moment
from app.storage.dialects import microseconds
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Run
from lab_models.common.validation import FieldError


class SortKey(StrEnum):
    """What a list can be sorted by."""

    CREATED_AT = "created_at"
    FINISHED_AT = "finished_at"
    DURATION = "duration"
    TEST_ACCURACY = "test.accuracy"
    TEST_LOSS = "test.loss"
    VAL_ACCURACY = "val.accuracy"
    VAL_LOSS = "val.loss"


RunKey = Literal[
    SortKey.FINISHED_AT,
    SortKey.DURATION,
    SortKey.TEST_ACCURACY,
    SortKey.TEST_LOSS,
    SortKey.VAL_ACCURACY,
    SortKey.VAL_LOSS,
]
LONGEST_DURATION = 2**63 - 1
"""Microseconds that a database can hold."""
SCORES: tuple[RunKey, ...] = (
    SortKey.TEST_ACCURACY,
    SortKey.TEST_LOSS,
    SortKey.VAL_ACCURACY,
    SortKey.VAL_LOSS,
)
"""Those that are means over the succeeded runs; val scores are those of the best epoch."""


@dataclass(frozen=True)
class SortOrder:
    """How a list is sorted: experiments that have no such value come last, equal ones the newest first."""

    key: SortKey = SortKey.CREATED_AT
    descending: bool = True

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.key}"


NEWEST_FIRST = SortOrder()


def read_order(text: str) -> SortOrder:
    """`-test.accuracy`: the highest first; raises ValueError for what is no key."""
    return SortOrder(SortKey(text.removeprefix("-")), text.startswith("-"))


def page(
    session: Session, filters: Filters, order: SortOrder, limit: int, cursor: str | None
) -> tuple[list[Listed], str | None]:
    """As `experiments.page`, in any order. What moves up or down between two pages may be missed or come twice."""
    if order == NEWEST_FIRST:
        return experiments.page(session, filters, limit, cursor)
    ranked = _ranked(filters, order.key)
    value = ranked.c.value
    statement = (
        select_columns(*experiments.listed(), value)
        .join(ranked, ranked.c.id == col(Experiment.id))
        .order_by(
            value.is_(None),
            value.desc() if order.descending else value.asc(),
            ranked.c.created_at.desc(),
            ranked.c.id.desc(),
        )
        .limit(limit + 1)
    )
    if cursor is not None:
        statement = statement.where(_after(ranked, order, _read_place(cursor, order)))
    rows = [(Listed(*shown), value) for *shown, value in session.execute(statement)]
    found = [experiment for experiment, _ in rows[:limit]]
    return found, _write_place(*rows[limit - 1], order) if len(rows) > limit else None


def _ranked(filters: Filters, key: SortKey) -> CTE:
    """What the filters let through, each with its value; worked out once, though sorted and compared by."""
    value = col(Experiment.created_at) if key is SortKey.CREATED_AT else _of_its_runs(key)
    ranked = select_columns(col(Experiment.id), col(Experiment.created_at), value.label("value"))
    named = ranked.where(*conditions(filters)).cte("ranked")
    return named.prefix_with("MATERIALIZED")


def _of_its_runs(key: RunKey) -> ColumnElement[Any]:
    own = col(Run.experiment_id) == col(Experiment.id)
    return select_columns(_value(key)).where(own).correlate(Experiment).scalar_subquery()


def _value(key: RunKey) -> ColumnElement[Any]:
    """Of an experiment's runs together."""
    match key:
        case SortKey.FINISHED_AT:
            return case((_have_ended(), func.max(col(Run.finished_at))))
        case SortKey.DURATION:
            lasted = microseconds(func.max(col(Run.finished_at))) - microseconds(
                func.min(col(Run.started_at))
            )
            return case((_have_ended(), lasted))
        case SortKey.TEST_ACCURACY | SortKey.TEST_LOSS:
            return _mean(col(Run.test)[key.partition(".")[2]].as_string())
        case SortKey.VAL_ACCURACY | SortKey.VAL_LOSS:
            return _mean(col(Run.best)[("val", key.partition(".")[2])].as_string())
        case _:
            assert_never(key)


def _have_ended() -> ColumnElement[bool]:
    return func.count(col(Run.finished_at)) == func.count(col(Run.id))


def _mean(number: ColumnElement[str]) -> ColumnElement[float]:
    """Over the succeeded runs. In decimal numbers, which PostgreSQL adds to the same sum in any order: a cursor
    compares it for equality.
    """
    succeeded = case((col(Run.status) == RunStatus.SUCCEEDED, cast(number, Numeric)))
    return cast(func.avg(succeeded), Float)


@dataclass(frozen=True)
class _Place:
    """The row that a page ended with."""

    value: Any
    created_at: datetime
    id: str


def _after(ranked: CTE, order: SortOrder, place: _Place) -> ColumnElement[bool]:
    value = ranked.c.value
    among_equals = tuple_(ranked.c.created_at, ranked.c.id) < (place.created_at, place.id)
    if place.value is None:
        return and_(value.is_(None), among_equals)
    further = value < place.value if order.descending else value > place.value
    return or_(further, and_(value == place.value, among_equals), value.is_(None))


def _write_place(experiment: Listed, value: Any, order: SortOrder) -> str:
    value = value.isoformat() if isinstance(value, datetime) else value
    place = [str(order), value, experiment.created_at.isoformat(), experiment.id]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _read_place(cursor: str, order: SortOrder) -> _Place:
    """Raises InvalidRequest for what is no cursor, or one of a list that was sorted in another way."""
    try:
        read = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        sort, value, created_at, row_id = json.loads(read)
        if sort != str(order) or not isinstance(row_id, str):
            raise ValueError("not a cursor of this list")
        if value is not None:
            value = _read_value(value, order.key)
        return _Place(value, read_moment(created_at), row_id)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequest(
            "the cursor is not one that this service gave out for this `sort`",
            [FieldError("/cursor", f"not a cursor from `next_cursor` with sort={order}")],
        ) from error


def _read_value(value: Any, key: SortKey) -> Any:
    if key in SCORES:
        return float(value)
    if key is not SortKey.DURATION:
        return read_moment(value)
    if abs(value) > LONGEST_DURATION:
        raise ValueError("longer than any duration")
    return int(value)
