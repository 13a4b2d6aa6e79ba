"""What one owner may ask for: how many runs may wait, what labels and which priority. What one run may cost is in
`estimates.refusals`.
"""

from collections.abc import Mapping

from sqlalchemy import func
from sqlmodel import Session, col, select

from app.errors import InvalidRequest, TooManyRuns
from app.roles import Role
from app.services.owners.keys import Caller
from app.settings import Settings
from app.storage.states import RunStatus
from app.storage.tables import Run
from lab_models.common.validation import FieldError

WAITING = (RunStatus.QUEUED, RunStatus.PAUSED)
"""Statuses that count: who pauses runs does not make room for others by it."""


def refuse_full_queue(session: Session, owner: str, settings: Settings) -> None:
    """Raises TooManyRuns, so that nothing is written, where the runs just queued are more than the owner's may wait. To
    be called after they are written.
    """
    session.flush()
    waiting = session.exec(
        select(func.count())
        .select_from(Run)
        .where(col(Run.owner) == owner, col(Run.status).in_(WAITING))
    ).one()
    if waiting > settings.max_queued_per_owner:
        raise TooManyRuns(
            f"this would make {waiting:,} waiting runs of {owner}, more than this service's"
            f" {settings.max_queued_per_owner:,} (LAB_MAX_QUEUED_PER_OWNER); nothing was stored: wait until some have"
            " run, or cancel some"
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
