"""A page for a wall, read from afar and touched by nobody: twice as large, without controls, and every 20 seconds on to
the next of what runs.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from app.api.experiments.lists import ListQuery, page_of
from app.api.http.page_addresses import PAGES
from app.services.experiments.standing import LatestStanding
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners.keys import Caller
from app.storage.states import RunStatus

OWN_PAGE: Final = rf"^{PAGES}/[^\\\s]*$"
MOST_IN_TURN: Final = 12
"""Experiments that a wall shows one after the other: the newest that run."""


class WallQuery(BaseModel):
    """Whether a page is for a wall."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    wall: bool = False
    """Twice as large, and without controls."""
    start: str | None = Field(default=None, max_length=2000, pattern=OWN_PAGE)
    """Where the round began, to which it comes back."""


def _asked(
    wall: Annotated[bool, Query(description="For a wall")] = False,
    start: Annotated[
        str | None, Query(max_length=2000, pattern=OWN_PAGE, description="Where the round began")
    ] = None,
) -> WallQuery:
    return WallQuery(wall=wall, start=start)


TheWall = Annotated[WallQuery, Depends(_asked)]
"""Of a page that has other options beside."""


@dataclass(frozen=True)
class Wall:
    """Addresses: of the page that comes next, and of this one as it is for who sits before it."""

    next: str
    leave: str


def wall_of(
    request: Request,
    session: Session,
    caller: Caller,
    standing: LatestStanding,
    local_workers: LocalWorkers,
    asked: WallQuery,
) -> Wall | None:
    """The way on and the way out; None for a page that is for no wall."""
    if not asked.wall:
        return None
    running = ListQuery(status=[RunStatus.RUNNING], limit=MOST_IN_TURN)
    found = page_of(session, caller, standing, local_workers, running).data
    here, kept = request.url.path, _kept(request)
    start = asked.start or f"{here}?{urlencode([*kept, ('wall', 1)])}"
    # where the round began is a place in it, if that is an experiment itself
    begun_at = start.partition("?")[0]
    turn = [address for one in found if (address := f"{PAGES}/experiments/{one.id}") != begun_at]
    place = turn.index(here) + 1 if here in turn else 0
    if here != begun_at and here not in turn:  # it has ended meanwhile
        place = len(turn)
    ahead = turn[place:]
    on = f"{ahead[0]}?{urlencode({'wall': 1, 'start': start})}" if ahead else start
    return Wall(on, f"{here}?{urlencode(kept)}" if kept else here)


def _kept(request: Request) -> list[tuple[str, Any]]:
    return [
        pair for pair in request.query_params.multi_items() if pair[0] not in WallQuery.model_fields
    ]
