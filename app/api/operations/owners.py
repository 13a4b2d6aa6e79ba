"""Owners over HTTP: who asks, what each has and may have, and other quotas for one."""

from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import Field

from app.api.http import passes
from app.api.http.bodies import read_body
from app.api.http.deps import Body, Reading, TheCaller, TheSettings, Writing, require_admin
from app.api.schemas import Answer
from app.errors import InvalidRequest, NotFound
from app.roles import Role
from app.services.owners import granting
from app.services.owners.usage import Usage, usage_of
from app.services.quotas import HOUR, QuotaKind, Quotas
from app.storage.states import RunStatus
from lab_models.common.validation import FieldError, validate
from lab_models.specs import Frozen

MOST_BYTES = 2**60
MOST_RUNS = 10**9

router = passes.router(tags=["operations"])

OwnerName = Annotated[str, Path(description="An owner's name", max_length=100)]


class QuotaAnswer(Answer):
    """How much an owner may have."""

    limit: int | float | None
    """Runs, hours or bytes; null for no bound."""
    set_for: str
    """`owner`: for them alone; `role`: for all with their role; `all`: by the service's settings."""


class QuotasAnswer(Answer):
    """All bounds of an owner."""

    queued: QuotaAnswer
    """Runs that wait, queued or paused; what would be more is refused with 429."""
    running: QuotaAnswer
    """Runs at a time; further ones wait."""
    hours: QuotaAnswer
    """Of training within seven days, today in UTC and the six before; then runs wait."""
    disk_bytes: QuotaAnswer
    """Of imported data sets and of files that runs have published; then submits and imports are refused with 507."""


class OwnerAnswer(Answer):
    """What an owner has and may have."""

    name: str
    role: Role | None
    """Of their mightiest key; null for who never had one."""
    keys: int
    """How many of their keys are not revoked."""
    experiments: int
    runs: dict[RunStatus, int]
    training_hours: float
    """Of all attempts that have ended, also of runs that are deleted."""
    training_hours_week: float
    """The same of today in UTC and the six days before, as the quota counts them."""
    dataset_bytes: int
    artifact_bytes: int
    last_submitted_at: datetime | None
    """When the latest of their experiments was made that are not deleted."""
    quotas: QuotasAnswer


class OwnerList(Answer):
    """Owners by name."""

    data: list[OwnerAnswer]


class MeAnswer(Answer):
    """Who asks."""

    role: Role
    """What the key that was sent allows; `admin` for everybody where no keys are asked for."""
    key_id: str | None
    """Null where no keys are asked for."""
    owner: OwnerAnswer


class QuotaChanges(Frozen):
    """Other quotas. What is left out stays; null leaves it to the owner's role and the settings, 0 is no bound."""

    queued: int | None = Field(default=None, ge=0, le=MOST_RUNS)
    running: int | None = Field(default=None, ge=0, le=MOST_RUNS)
    hours: float | None = Field(default=None, ge=0, le=MOST_RUNS)
    disk_bytes: int | None = Field(default=None, ge=0, le=MOST_BYTES)


class OwnerChanges(Frozen):
    """What can be changed of an owner."""

    quotas: QuotaChanges


@router.get("/me")
def read_me(session: Reading, caller: TheCaller, settings: TheSettings) -> MeAnswer:
    """Who the key that was sent belongs to, what it allows, and what its owner has and may have."""
    (usage,) = usage_of(session, settings, caller.owner)
    return MeAnswer(role=caller.role, key_id=caller.key_id, owner=_owner(usage))


@router.get("/owners")
def list_owners(session: Reading, caller: TheCaller, settings: TheSettings) -> OwnerList:
    """What each owner has and may have, by name; a `submit` key sees its own owner alone."""
    only = None if caller.sees_all else caller.owner
    return OwnerList(data=[_owner(usage) for usage in usage_of(session, settings, only)])


@router.patch("/owners/{name}")
def change_owner(
    session: Writing, body: Body, caller: TheCaller, settings: TheSettings, name: OwnerName
) -> OwnerAnswer:
    """Give an owner other quotas; needs an `admin` key. `lab keys quota` does the same, and for roles as well."""
    if not caller.may_see(name):
        raise NotFound(f"there is no owner {name!r}; GET /owners lists them")
    require_admin(caller, "another quota")
    _, changes = read_body(body, lambda document: validate(OwnerChanges, document), settings)
    given = changes.quotas.model_dump(exclude_unset=True)
    if not given:
        raise InvalidRequest(
            "name a quota to change: queued, running, hours or disk_bytes",
            [FieldError("/quotas", "no quota is given")],
        )
    granting.grant(
        session, name, {_KINDS[field]: _raw(field, limit) for field, limit in given.items()}
    )
    (usage,) = usage_of(session, settings, name)
    return _owner(usage)


_KINDS = {
    "queued": QuotaKind.QUEUED,
    "running": QuotaKind.RUNNING,
    "hours": QuotaKind.HOURS,
    "disk_bytes": QuotaKind.DISK,
}


def _raw(field: str, limit: float | None) -> float | None:
    """As it stands in the row."""
    return limit * HOUR if field == "hours" and limit is not None else limit


def _owner(usage: Usage) -> OwnerAnswer:
    return OwnerAnswer(
        name=usage.quotas.owner,
        role=usage.quotas.role,
        keys=usage.num_keys,
        experiments=usage.num_experiments,
        runs=dict(usage.runs),
        training_hours=usage.training_seconds / HOUR,
        training_hours_week=usage.week_seconds / HOUR,
        dataset_bytes=usage.disk.datasets,
        artifact_bytes=usage.disk.artifacts,
        last_submitted_at=usage.last_submitted_at,
        quotas=_quotas(usage.quotas),
    )


def _quotas(quotas: Quotas) -> QuotasAnswer:
    def answer(field: str) -> QuotaAnswer:
        quota = quotas.of[_KINDS[field]]
        limit = quota.limit
        if limit is not None and field == "hours":
            limit /= HOUR
        return QuotaAnswer(limit=limit, set_for=quota.set_for)

    return QuotasAnswer(
        queued=answer("queued"),
        running=answer("running"),
        hours=answer("hours"),
        disk_bytes=answer("disk_bytes"),
    )
