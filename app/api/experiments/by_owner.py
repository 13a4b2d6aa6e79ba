"""Everybody's experiments side by side: what each owner's have come to."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field, field_validator

from app.api.experiments.filters import FilterQuery
from app.api.http import passes
from app.api.http.deps import Reading, TheCaller
from app.api.schemas import Answer
from app.services.experiments.by_owner import (
    BestOfLabel,
    LastError,
    NamedExperiment,
    OwnersWork,
    work_by_owner,
)
from app.storage.states import RunStatus
from lab_models.specs.request import LABEL_KEY

router = passes.router(prefix="/experiments", tags=["experiments"])


class NamedExperimentAnswer(Answer):
    """An experiment by its id and name."""

    id: str
    name: str | None
    created_at: datetime
    links: dict[str, str]


class LastErrorAnswer(Answer):
    """Of the run that has failed last."""

    code: str
    run_id: str
    experiment_id: str
    at: datetime


class BestAnswer(Answer):
    """The experiment with the highest mean of test accuracy over its succeeded runs."""

    experiment: NamedExperimentAnswer
    accuracy: float
    n: int
    """How many runs have succeeded."""


class OwnersWorkAnswer(Answer):
    """What one owner's experiments have come to."""

    owner: str
    experiments: int
    runs: dict[RunStatus, int]
    done_today: int
    """Runs that have succeeded today in UTC."""
    cpu_hours_week: float
    """Of attempts that have ended today in UTC or in the six days before, without those of experiments that are
    deleted; what never said what it trained on counts here.
    """
    gpu_hours_week: float
    last_error: LastErrorAnswer | None
    newest: NamedExperimentAnswer | None
    best: dict[str, BestAnswer]
    """By value of the label `key`; empty without one."""
    links: dict[str, str]


class WorkAnswer(Answer):
    """Owners who have something of what the filters let through, by name."""

    key: str | None
    label_keys: dict[str, int]
    """By key of a label how many of the experiments have it, the most first."""
    data: list[OwnersWorkAnswer]


class WorkQuery(FilterQuery):
    """Which experiments, and what their best are told apart by."""

    key: str | None = Field(default=None, max_length=60)
    """The key of a label, such as `exercise`: of each of its values the best experiment is named."""

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, value: str | None) -> str | None:
        if value is not None and not LABEL_KEY.fullmatch(value):
            raise ValueError("a label's key is 1 to 60 of A-Z, a-z, 0-9, '_', '.' and '-'")
        return value


@router.get("/by-owner")
def list_work(
    session: Reading, caller: TheCaller, query: Annotated[WorkQuery, Query()]
) -> WorkAnswer:
    """What each owner's experiments, of those the filters let through, have come to; a `submit` key sees its own owner
    alone.
    """
    found = work_by_owner(session, query.filters(caller), query.key)
    return WorkAnswer(
        key=query.key,
        label_keys=dict(found.label_keys.most_common()),
        data=[_answer(owner, work) for owner, work in found.owners.items()],
    )


def _answer(owner: str, work: OwnersWork) -> OwnersWorkAnswer:
    return OwnersWorkAnswer(
        owner=owner,
        experiments=work.num_experiments,
        runs=dict(work.runs),
        done_today=work.done_today,
        cpu_hours_week=work.cpu_hours,
        gpu_hours_week=work.gpu_hours,
        last_error=None if work.last_error is None else _error(work.last_error),
        newest=None if work.newest is None else _named(work.newest),
        best={value: _best(best) for value, best in sorted(work.best.items())},
        links={
            "experiments": f"/experiments?owner={owner}",
            "bundle": f"/bundles?owner={owner}",
        },
    )


def _named(one: NamedExperiment) -> NamedExperimentAnswer:
    return NamedExperimentAnswer(
        id=one.id,
        name=one.name,
        created_at=one.created_at,
        links={"self": f"/experiments/{one.id}"},
    )


def _error(error: LastError) -> LastErrorAnswer:
    return LastErrorAnswer(
        code=error.code, run_id=error.run_id, experiment_id=error.experiment_id, at=error.at
    )


def _best(best: BestOfLabel) -> BestAnswer:
    return BestAnswer(experiment=_named(best.experiment), accuracy=best.accuracy, n=best.num_runs)
