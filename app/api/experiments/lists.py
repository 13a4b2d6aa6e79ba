"""Experiments listed: filtered, sorted, page by page."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlmodel import Session

from app.api.experiments import records, schemas
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller, TheLocalWorkers, TheStanding
from app.services.experiments import experiments, ranking
from app.services.experiments.experiments import Listed
from app.services.experiments.outlines import outlines
from app.services.experiments.standing import LatestStanding
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners.keys import Caller
from app.storage.states import RunStatus
from lab_models.specs import Kind
from lab_models.specs.request import LABEL_KEY

router = passes.router(prefix="/experiments", tags=["experiments"])

Sort = Literal[
    "created_at",
    "-created_at",
    "finished_at",
    "-finished_at",
    "test.accuracy",
    "-test.accuracy",
    "test.loss",
    "-test.loss",
    "val.accuracy",
    "-val.accuracy",
    "val.loss",
    "-val.loss",
]
"""Every `ranking.SortKey`, both ways."""


class FilterQuery(BaseModel):
    """Which experiments."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    status: RunStatus | None = None
    """Only experiments with this status."""
    kind: Kind | None = None
    """Only experiments of this kind."""
    label: list[str] = Field(default=[], max_length=20)
    """`key:value`; may be given several times, all must match."""
    study: str | None = Field(default=None, max_length=100)
    """Only the cells of this study."""
    owner: str | None = Field(default=None, max_length=100)
    """Only what belongs to this owner."""

    @field_validator("label")
    @classmethod
    def _has_key_and_value(cls, value: list[str]) -> list[str]:
        if not all(":" in label for label in value):
            raise ValueError("a label filter is written key:value")
        for key, _, wanted in (label.partition(":") for label in value):
            if not LABEL_KEY.fullmatch(key):
                raise ValueError(
                    f"no label has the key {key[:60]!r}: keys are 1 to 60 of A-Z, a-z, 0-9, '_', '.' and '-'"
                )
            if "\0" in wanted:
                raise ValueError("no label holds the character U+0000")
        return value

    def filters(self, caller: Caller) -> experiments.Filters:
        """The same for the service; of a caller who sees only their own things another's name finds nothing."""
        labels = tuple(
            (key, value) for key, _, value in (label.partition(":") for label in self.label)
        )
        return experiments.Filters(
            self.status,
            self.kind,
            labels,
            self.study,
            self.owner,
            None if caller.sees_all else caller.owner,
        )


class ListQuery(FilterQuery):
    """Which experiments, page by page."""

    limit: int = Field(default=50, ge=1, le=500)
    """Most rows of one page."""
    cursor: str | None = Field(default=None, max_length=500)
    """`next_cursor` of the page before, with the same `sort`."""
    sort: Sort = "-created_at"
    """By what, with `-` the highest or latest first: mean score over the succeeded runs (`val.…` at the best epoch), or
    time, `finished_at` when the last run ended. What has no such value yet comes last.
    """


def rows_of(
    session: Session,
    listed: Sequence[Listed],
    standing: LatestStanding,
    local_workers: LocalWorkers,
) -> list[schemas.ExperimentRow]:
    """Experiments as a list has them, in their order."""
    return [
        records.experiment_row(outline, local_workers)
        for outline in outlines(session, listed, standing)
    ]


@router.get("")
def list_experiments(
    session: Reading,
    caller: TheCaller,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    query: Annotated[ListQuery, Query()],
) -> schemas.ExperimentPage:
    """Experiments, the newest first, or by what they have reached."""
    order = ranking.read_order(query.sort)
    rows, cursor = ranking.page(session, query.filters(caller), order, query.limit, query.cursor)
    return schemas.ExperimentPage(
        data=rows_of(session, rows, standing, local_workers),
        has_more=cursor is not None,
        next_cursor=cursor,
    )
