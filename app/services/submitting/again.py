"""An experiment like another, with what was changed: from a body that says `like` or `set` to what is to be written."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from sqlmodel import Session

from app.errors import InvalidRequest
from app.services.experiments import experiments
from app.services.experiments.origins import changed
from app.services.experiments.visibility import visible_experiment
from app.services.owners import limits
from app.services.owners.keys import Caller
from app.services.submitting import submissions
from app.services.submitting.idempotency import request_hash
from app.services.submitting.submissions import Prepared
from app.settings import Settings
from app.storage.tables import Experiment
from lab_models.common.validation import FieldError, InvalidDocument
from lab_models.specs import Request, read_request
from lab_models.studies.again import FIELDS, ChangedRequest, set_faults

OF_ITS_TIME: Final = {*FIELDS, "name", "priority"}
"""Fields of a body that are not taken over: two experiments of one name cannot be told apart, and what was urgent
then need not be now.
"""


def prepare(
    session: Session,
    asked: Request | ChangedRequest,
    sent: dict[str, Any],
    settings: Settings,
    caller: Caller,
) -> Prepared:
    """What a body comes to, `sent` and as it was read: as `submissions.prepare`, on a session that only reads.

    Raises InvalidRequest with pointers into what was sent, and NotFound where it is like an experiment that is none, or
    none that the caller may see.
    """
    if not isinstance(asked, ChangedRequest):
        limits.refuse_wishes(caller, asked.labels, asked.priority, settings)
        return submissions.prepare(session, asked, sent, settings, caller)
    like = asked.again.like
    origin = None if like is None else visible_experiment(session, caller, like)
    base = {} if origin is None else taken_over(session, origin)
    with _placed(set_faults):
        document = asked.document(base)
    with _placed(lambda error: [asked.placed(fault) for fault in error.errors]):
        request = read_request(document)
        limits.refuse_wishes(caller, request.labels, request.priority, settings)
        said = {name: value for name, value in sent.items() if name in FIELDS}
        prepared = submissions.prepare(session, request, {**said, **document}, settings, caller)
    own = replace(prepared.own, request_hash=request_hash(sent))
    different = None if origin is None else changed(origin.spec, own.spec)
    return replace(prepared, own=own, sent=sent, changed=different)


def taken_over(session: Session, origin: Experiment) -> dict[str, Any]:
    """The request that another can begin from: what was submitted, with the seeds and labels that it has by now."""
    said = {name: value for name, value in origin.submitted.items() if name not in OF_ITS_TIME}
    seeds = [seed for _, seed in experiments.seeds_of(session, origin.id)]
    return {**said, "seeds": seeds, "labels": origin.labels}


@contextmanager
def _placed(place: Callable[[Any], list[FieldError]]) -> Iterator[None]:
    """Faults of a whole request become ones that point into what was sent."""
    try:
        yield
    except (InvalidDocument, InvalidRequest) as error:
        faults = place(error)
        raise InvalidRequest("; ".join(fault.message for fault in faults), faults) from error
