"""Streams of events over HTTP: of all that one may see, of named experiments, of a study, of an owner."""

from contextlib import ExitStack
from typing import Annotated, Any, Final, Literal

from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlmodel import Session

from app.api.experiments.filters import expect_labels, pairs_of
from app.api.http import passes
from app.api.http.deps import ExperimentId, StudyId, TheCaller, visible_study
from app.api.http.parameters import Given
from app.api.http.traffic import EVENT_STREAM
from app.api.watching.hub import Hub
from app.api.watching.streams import EventStream, Opening, opening
from app.errors import InvalidRequest
from app.services.experiments.changes import Scope
from app.services.experiments.visibility import expect_visible
from app.services.owners.keys import Caller
from lab_models.common.validation import FieldError

router = passes.router(tags=["events"])

MOST_NAMED: Final = 100
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}, "description": "Events"}
}

TheHub = Annotated[Hub, Given(lambda request: request.app.state.hub)]
After = Annotated[
    str | None,
    Query(
        pattern=r"^([0-9]{1,18}|now)$",
        description="Only what changes after this event's `id`, or from `now` on; else the stream begins with all",
    ),
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        pattern=r"^[0-9]{1,18}$",
        description="As `after`, before which it goes: what browsers send when they come again",
    ),
]


class EventsQuery(BaseModel):
    """What is watched: experiments, a study, or an owner and labels; or without any all that one may see."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    experiments: str | None = Field(default=None, max_length=4000)
    """Ids of experiments, separated by commas, at most 100."""
    study: str | None = Field(default=None, max_length=100)
    """A study with its experiments."""
    owner: str | None = Field(default=None, max_length=100)
    """What belongs to this owner."""
    label: Annotated[list[str], AfterValidator(expect_labels)] = Field(default=[], max_length=20)
    """`key:value`; may be given several times, all must match: the experiments that have them just now"""
    after: str | None = Field(default=None, pattern=r"^([0-9]{1,18}|now)$")
    """Only what changes after this event's `id`, or from `now` on; else the stream begins with all there is."""


@router.get("/events", response_class=StreamingResponse, responses=RESPONSES)
async def watch_all(
    request: Request,
    hub: TheHub,
    caller: TheCaller,
    query: Annotated[EventsQuery, Query()],
    last_event_id: LastEventId = None,
) -> Any:
    """The newest state of what changes, as server-sent events; docs/watching.md says which there are."""
    named = [name for name in ("experiments", "study", "owner") if getattr(query, name) is not None]
    if query.label and named != ["owner"]:
        named.append("label")
    if len(named) > 1:
        message = f"{' and '.join(named)} cannot be watched at once: name one of them"
        raise InvalidRequest(message, [FieldError(f"/{name}", message) for name in named[1:]])
    ids = frozenset(_ids(query.experiments)) if query.experiments is not None else None
    return await _watched(
        request,
        hub,
        caller,
        _scope(caller, ids, query.study, query.owner, pairs_of(query.label)),
        last_event_id or query.after,
    )


@router.get(
    "/experiments/{experiment_id}/events", response_class=StreamingResponse, responses=RESPONSES
)
async def watch_experiment(
    request: Request,
    hub: TheHub,
    caller: TheCaller,
    experiment_id: ExperimentId,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Any:
    """The newest state of an experiment and its runs, as it changes, until all have ended."""
    scope = _scope(caller, frozenset({experiment_id}))
    return await _watched(request, hub, caller, scope, last_event_id or after)


@router.get("/studies/{study_id}/events", response_class=StreamingResponse, responses=RESPONSES)
async def watch_study(
    request: Request,
    hub: TheHub,
    caller: TheCaller,
    study_id: StudyId,
    after: After = None,
    last_event_id: LastEventId = None,
) -> Any:
    """The newest state of a study, its experiments and their runs, as it changes, until all have ended."""
    scope = _scope(caller, None, study_id)
    return await _watched(request, hub, caller, scope, last_event_id or after)


def _ids(listed: str) -> list[str]:
    ids = [part.strip() for part in listed.split(",") if part.strip()]
    if not 1 <= len(ids) <= MOST_NAMED:
        message = f"{len(ids)} experiments are named, and 1 to {MOST_NAMED} are wanted"
        raise InvalidRequest(
            message, [FieldError("/experiments", message, "write experiments=exp_…,exp_…")]
        )
    return ids


def _scope(
    caller: Caller,
    experiments: frozenset[str] | None,
    study: str | None = None,
    owner: str | None = None,
    labels: tuple[tuple[str, str], ...] = (),
) -> Scope:
    seen_by = None if caller.sees_all else caller.owner
    return Scope(experiments, study, owner, seen_by, labels=labels)


async def _watched(
    request: Request, hub: Hub, caller: Caller, scope: Scope, after: str | None
) -> EventStream:
    """Refused, not there or begun: all of that is known before the answer's head."""
    begins: int | Literal["now"] = "now" if after == "now" else int(after or 0)
    client = passes.client_of(request)

    def begin(session: Session) -> Opening:
        expect_visible(session, caller, scope.experiments or ())
        if scope.study is not None:
            visible_study(session, caller, scope.study)
        return opening(session, scope, begins, hub.rows_of)

    watcher = await hub.admit(caller, scope)
    with ExitStack() as leaving:
        leaving.callback(hub.leave, watcher)
        stream = EventStream(hub, watcher, client, await hub.read(client, begin))
        leaving.pop_all()
    return stream
