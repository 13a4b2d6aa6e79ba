"""Lists of experiments by what their runs have reached, and that for each row, asked of the database."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    and_,
    or_,
    tuple_,
)
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.errors import InvalidRequest
from app.services.experiments import experiments
from app.services.experiments.experiments import Listed
from app.services.experiments.filtering import Filters, beyond_summaries, summarized
from app.services.experiments.paging import read_moment
from app.storage.tables import Experiment, ExperimentSummary
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
    summary, value = ExperimentSummary, _value(order.key)
    ranked = select_columns(col(summary.experiment_id), value.label("value")).where(
        *summarized(filters)
    )
    others = beyond_summaries(filters)
    if others:
        own = col(Experiment.id) == col(summary.experiment_id)
        ranked = ranked.join(Experiment, own).where(*others)
    if cursor is not None:
        ranked = ranked.where(_after(value, order, _read_place(cursor, order)))
    newest_first = (col(summary.created_at).desc(), col(summary.experiment_id).desc())
    best_first = (value.desc() if order.descending else value.asc()).nulls_last()
    # the rows that are shown are read once it is known which
    chosen = ranked.order_by(best_first, *newest_first).limit(limit + 1).subquery()
    best_first = chosen.c.value.desc() if order.descending else chosen.c.value.asc()
    statement = (
        select_columns(*experiments.listed(), chosen.c.value)
        .join(chosen, chosen.c.experiment_id == col(Experiment.id))
        .order_by(
            best_first.nulls_last(), col(Experiment.created_at).desc(), col(Experiment.id).desc()
        )
    )
    rows = [(Listed(*shown), value) for *shown, value in session.execute(statement)]
    found = [experiment for experiment, _ in rows[:limit]]
    return found, _write_place(*rows[limit - 1], order) if len(rows) > limit else None


def _value(key: SortKey) -> Any:
    """What is kept of an experiment's runs together."""
    return {
        SortKey.CREATED_AT: col(ExperimentSummary.created_at),
        SortKey.FINISHED_AT: col(ExperimentSummary.finished_at),
        SortKey.DURATION: col(ExperimentSummary.lasted),
        SortKey.TEST_ACCURACY: col(ExperimentSummary.test_accuracy),
        SortKey.TEST_LOSS: col(ExperimentSummary.test_loss),
        SortKey.VAL_ACCURACY: col(ExperimentSummary.val_accuracy),
        SortKey.VAL_LOSS: col(ExperimentSummary.val_loss),
    }[key]


@dataclass(frozen=True)
class _Place:
    """The row that a page ended with."""

    value: Any
    created_at: datetime
    id: str


def _after(value: Any, order: SortOrder, place: _Place) -> ColumnElement[bool]:
    own = tuple_(col(ExperimentSummary.created_at), col(ExperimentSummary.experiment_id))
    among_equals = own < (place.created_at, place.id)
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
