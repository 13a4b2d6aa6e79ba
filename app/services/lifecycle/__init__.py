"""The life of a run: claim, renew, finish, cancel, pause, resume, retry, reap. Nobody else makes a run or changes a
column of one.

Every move is one guarded UPDATE whose WHERE names the status it leaves; a holder's move also names its fencing token,
so a stale holder changes nothing and is told so by `LeaseLost`. Times are for people; no decision here reads a clock.

`entering` makes runs, `queueing` says who comes next, `kinds` on which kind of device, `sharing` who shares a machine's
cores, `holding` gives and proves leases, `reports` says what a holder may write meanwhile, `ending` how its attempt
ends or is ended, `verbs` what people ask for, `absent` what waits for a device that is not there.
"""

from app.services.lifecycle.absent import absence_of
from app.services.lifecycle.ending import (
    begin_anew,
    confirm_cancel,
    confirm_pause,
    crashed,
    fail,
    out_of_memory,
    reap,
    release,
    succeed,
)
from app.services.lifecycle.entering import NewRun, enqueue, take_over
from app.services.lifecycle.holding import (
    Intent,
    Lease,
    LeaseLost,
    asked,
    claim,
    renew,
    try_to_write,
)
from app.services.lifecycle.kinds import send_to, trains_on, trains_on_too
from app.services.lifecycle.looking import LOCK_ORDER
from app.services.lifecycle.moves import RECONCILER, USER
from app.services.lifecycle.queueing import claimable, is_any_to_take, queued_runs
from app.services.lifecycle.reports import Begun, EpochDone, Measured, Progressed
from app.services.lifecycle.sharing import has_neighbors
from app.services.lifecycle.verbs import cancel, pause, prioritize, resume, retry

__all__ = [
    "LOCK_ORDER",
    "RECONCILER",
    "USER",
    "Begun",
    "EpochDone",
    "Intent",
    "Lease",
    "LeaseLost",
    "Measured",
    "NewRun",
    "Progressed",
    "absence_of",
    "asked",
    "begin_anew",
    "cancel",
    "claim",
    "claimable",
    "confirm_cancel",
    "confirm_pause",
    "crashed",
    "enqueue",
    "fail",
    "has_neighbors",
    "is_any_to_take",
    "out_of_memory",
    "pause",
    "prioritize",
    "queued_runs",
    "reap",
    "release",
    "renew",
    "resume",
    "retry",
    "send_to",
    "succeed",
    "take_over",
    "trains_on",
    "trains_on_too",
    "try_to_write",
]
