"""The life of a run: claim, renew, finish, cancel, pause, resume, retry, reap. The only writer of `Run.status`.

Every move is one guarded UPDATE whose WHERE names the status it leaves; a holder's move also names its fencing token,
so a stale holder changes nothing and is told so by `LeaseLost`. Times are for people; no decision here reads a clock.

`queueing` says who comes next, `holding` has what a run's holder does and what happens to one that is lost, `verbs`
what people ask for.
"""

from app.services.lifecycle.holding import (
    Intent,
    Lease,
    LeaseLost,
    asked,
    claim,
    confirm_cancel,
    confirm_pause,
    crashed,
    fail,
    hold,
    out_of_memory,
    reap,
    release,
    succeed,
)
from app.services.lifecycle.moves import RECONCILER, USER
from app.services.lifecycle.queueing import claimable, queued_runs
from app.services.lifecycle.verbs import (
    NewRun,
    cancel,
    enqueue,
    pause,
    prioritize,
    resume,
    retry,
    take_over,
)

__all__ = [
    "RECONCILER",
    "USER",
    "Intent",
    "Lease",
    "LeaseLost",
    "NewRun",
    "asked",
    "cancel",
    "claim",
    "claimable",
    "confirm_cancel",
    "confirm_pause",
    "crashed",
    "enqueue",
    "fail",
    "hold",
    "out_of_memory",
    "pause",
    "prioritize",
    "queued_runs",
    "reap",
    "release",
    "resume",
    "retry",
    "succeed",
    "take_over",
]
