"""What one owner may ask for: how many runs may wait, what labels and which priority. What one run may cost is in
`estimates.refusals`.
"""

from collections.abc import Mapping

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import DiskQuotaUsedUp, InvalidRequest, TooManyRuns
from app.roles import Role
from app.services.owners.keys import Caller
from app.services.owners.usage import DiskUsage, disk_usage
from app.services.quotas import QuotaKind, Quotas, held_quotas
from app.settings import Settings
from app.storage.states import RunStatus
from app.storage.tables import Run
from lab_models.common.validation import FieldError

WAITING = (RunStatus.QUEUED, RunStatus.PAUSED)
"""Statuses that count: who pauses runs does not make room for others by it."""


def refuse_full_queue(session: Session, owner: str, settings: Settings) -> None:
    """Raises TooManyRuns, so that nothing is written, where the runs just queued are more than the owner's may wait,
    and DiskQuotaUsedUp where their files already take as much as they may.

    To be called after the runs are written, as the last of a transaction: the owner's row is held from here on, so that
    of two at once the second sees the first's.
    """
    session.flush()
    quotas = held_quotas(session, owner, settings)
    most = quotas.of[QuotaKind.QUEUED]
    if most.limit is not None:
        _refuse_many(_num_waiting(session, owner), quotas, most.limit)
    disk = quotas.of[QuotaKind.DISK]
    if disk.limit is not None:
        refuse_full_disk_quota(quotas, disk_usage(session, owner, settings))


def refuse_full_disk_quota(quotas: Quotas, usage: DiskUsage, more: int = 0) -> None:
    """Raises DiskQuotaUsedUp where the owner's files, with so many bytes more, take more than they may."""
    disk = quotas.of[QuotaKind.DISK]
    if disk.limit is not None and (usage.total >= disk.limit or usage.total + more > disk.limit):
        would = f" and this would write up to {more:,} more" if more else ""
        raise DiskQuotaUsedUp(
            f"the files of {quotas.owner} take {usage.total:,} bytes (data sets {usage.datasets:,}, runs"
            f" {usage.artifacts:,}){would}, of the {disk.limit:,.0f} {disk.source(quotas.owner, quotas.role)}. Nothing"
            " was stored: delete experiments or data sets first"
        )


def _num_waiting(session: Session, owner: str) -> int:
    return session.exec(
        select(func.count())
        .select_from(Run)
        .where(col(Run.owner) == owner, col(Run.status).in_(WAITING))
    ).one()


def _refuse_many(waiting: int, quotas: Quotas, most: float) -> None:
    if waiting > most:
        whose = quotas.of[QuotaKind.QUEUED].source(quotas.owner, quotas.role)
        raise TooManyRuns(
            f"this would make {waiting:,} waiting runs of {quotas.owner}, more than the {most:,.0f} {whose}; nothing"
            " was stored: wait until some have run, or cancel some"
        )


def refuse_wishes(
    caller: Caller, labels: Mapping[str, str], priority: int, settings: Settings
) -> None:
    """Raises InvalidRequest for a priority that the caller may not give, and for labels that are too many or too
    long.
    """
    refused = [*_priority(caller, priority), *_labels(labels, settings)]
    if refused:
        raise InvalidRequest("; ".join(error.message for error in refused), refused)


def _priority(caller: Caller, priority: int) -> list[FieldError]:
    """Who could go before everybody else would, so that needs an admin; going after everybody is free."""
    if priority <= 0 or caller.role is Role.ADMIN:
        return []
    return [
        FieldError(
            "/priority",
            f"a priority above 0 needs a key with the role 'admin'; that of {caller.owner} has '{caller.role}'",
            "leave it out",
        )
    ]


def _labels(labels: Mapping[str, str], settings: Settings) -> list[FieldError]:
    found = []
    if len(labels) > settings.max_labels:
        found.append(
            FieldError(
                "/labels",
                f"{len(labels)} labels are more than this service's {settings.max_labels} (LAB_MAX_LABELS)",
            )
        )
    for key, value in labels.items():
        if len(value) > settings.max_label_length:
            message = (
                f"{len(value)} characters are more than this service's {settings.max_label_length} of one label"
                " (LAB_MAX_LABEL_LENGTH)"
            )
            found.append(FieldError(f"/labels/{key}", message))
    return found
