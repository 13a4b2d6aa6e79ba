"""A run's log, followed over HTTP."""

from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse
from sqlmodel import Session

from app.api.http import passes
from app.api.http.deps import RunId, TheCaller
from app.api.watching.log_events import Position
from app.api.watching.log_streams import LogStream, WantedLog, log_opening
from app.api.watching.routes import RESPONSES, TheHub
from app.services.experiments.changes import Scope
from app.services.experiments.logs import LONGEST_TAIL
from app.services.experiments.visibility import visible_run

router = passes.router(tags=["events"])

POSITION = r"^[0-9]{1,7}:[0-9]{1,18}$"


@router.get("/runs/{run_id}/log/events", response_class=StreamingResponse, responses=RESPONSES)
async def follow_log(
    request: Request,
    hub: TheHub,
    caller: TheCaller,
    run_id: RunId,
    tail: Annotated[
        int, Query(ge=0, le=LONGEST_TAIL, description="It begins with so many last lines")
    ] = 200,
    after: Annotated[
        str | None,
        Query(
            pattern=POSITION,
            description="It begins after this event's `id` instead, an attempt and how many bytes of its log; `0:0`:"
            " with all that was ever written",
        ),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            pattern=POSITION,
            description="As `after`, before which it goes: what browsers send when they come again",
        ),
    ] = None,
) -> Any:
    """What the run's trainer writes, line by line, and how the run stands, as server-sent events until the run has
    ended; docs/watching.md says which there are.
    """
    client = passes.client_of(request)

    def experiment_of(session: Session) -> str:
        return visible_run(session, caller, run_id).experiment_id

    experiment_id = await hub.read(client, experiment_of)
    written = last_event_id or after
    wanted = WantedLog(run_id, None if written is None else Position.parse(written), tail)
    watcher = await hub.admit(caller, Scope(frozenset({experiment_id}), run=run_id))
    with ExitStack() as leaving:
        leaving.callback(hub.leave, watcher)
        begins = await log_opening(hub, client, wanted)
        stream = LogStream(hub, watcher, client, wanted, begins)
        leaving.pop_all()
    return stream
