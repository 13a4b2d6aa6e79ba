"""A run's statuses, their legal moves and the reasons that go with them, as data."""

from collections.abc import Collection, Iterable
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether this status never changes again by itself."""
        return not LEGAL_MOVES[self]

    @property
    def how_it_ended(self) -> str:
        """`has succeeded`, `was cancelled`: for a sentence."""
        return f"{'was' if self is RunStatus.CANCELLED else 'has'} {self}"


LEGAL_MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset(
        {
            RunStatus.RUNNING,
            RunStatus.PAUSED,
            RunStatus.SUCCEEDED,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
        }
    ),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.QUEUED,
            RunStatus.PAUSED,
            RunStatus.SUCCEEDED,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
        }
    ),
    RunStatus.PAUSED: frozenset({RunStatus.QUEUED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}

RETRYABLE: frozenset[RunStatus] = frozenset({RunStatus.FAILED, RunStatus.CANCELLED})
"""Final statuses that a person's retry, and nothing else, takes back to `queued`. What has succeeded stays as it is for
ever.
"""


class TrainsOn(StrEnum):
    """Which kind of device may take a run: one of them, any, or that which takes the first of its experiment, or of its
    study, of which the others are then. What takes a CPU long is left to GPUs while one is online (`GPU_FIRST`).
    """

    ANY = "any"
    FIRST = "first"
    GPU_FIRST = "gpu_first"
    CPU = "cpu"
    CUDA = "cuda"

    @property
    def is_decided(self) -> bool:
        """Whether it names a kind."""
        return self in (TrainsOn.CPU, TrainsOn.CUDA)

    def may_go(self, kinds: Collection[str]) -> bool:
        """Whether one of these kinds of device may take it, sooner or later."""
        return not self.is_decided or self in kinds

    @classmethod
    def stuck(cls, kinds: Collection[str]) -> list[str]:
        """What no worker takes while those online have these kinds; where none is online, nothing is told apart."""
        return [one.value for one in cls if kinds and not one.may_go(kinds)]


class StatusReason(StrEnum):
    """Why a run or an experiment has its status; scripts read this, people read the sentence beside it."""

    WAITING_FOR_WORKER = "waiting_for_worker"
    WAITING_FOR_TEACHER = "waiting_for_teacher"
    WAITING_FOR_HOURS = "waiting_for_hours"
    NO_WORKER_ONLINE = "no_worker_online"
    NO_DEVICE_ONLINE = "no_device_online"
    WORKER_LOST = "worker_lost"
    WORKER_SHUTDOWN = "worker_shutdown"
    DATABASE_UNREACHABLE = "database_unreachable"
    TRAINER_CRASHED = "trainer_crashed"
    OUT_OF_MEMORY = "out_of_memory"
    STARTING = "starting"
    TRAINING = "training"
    EVALUATING = "evaluating"
    CANCELLING = "cancelling"
    PAUSING = "pausing"
    PAUSED_BY_USER = "paused_by_user"
    COMPLETED = "completed"
    REUSED = "reused"
    EARLY_STOPPED = "early_stopped"
    TRAINING_FAILED = "training_failed"
    CRASH_LOOP = "crash_loop"
    TEACHER_FAILED = "teacher_failed"
    CANCELLED_BY_USER = "cancelled_by_user"


REASON_MEANINGS: dict[StatusReason, str] = {
    StatusReason.WAITING_FOR_WORKER: "queued; a worker takes it when it is free",
    StatusReason.WAITING_FOR_TEACHER: (
        "queued until the run that it builds on, its teacher's or source's, has succeeded; it then starts by itself"
    ),
    StatusReason.WAITING_FOR_HOURS: (
        "queued, and its owner has trained as many hours as they may within a week: it starts by itself when older days"
        " count no more, or an admin allows more"
    ),
    StatusReason.NO_WORKER_ONLINE: (
        "queued, and no worker has shown itself lately; `status_message` says whether they are starting, cannot start,"
        " or are to be started with `lab worker`"
    ),
    StatusReason.NO_DEVICE_ONLINE: (
        "queued for a kind of device, `cpu` or `cuda`, that no worker online has: by the request's `device`, or"
        " since others of its seeds were trained there; another `device` (PATCH, `lab move`) sends it elsewhere"
    ),
    StatusReason.WORKER_LOST: "queued again, because its worker gave no sign of life for `LAB_LEASE_SECONDS`",
    StatusReason.WORKER_SHUTDOWN: "queued again, because its worker was asked to stop; progress is kept",
    StatusReason.DATABASE_UNREACHABLE: (
        "queued again, because its worker could not reach the database for most of `LAB_LEASE_SECONDS` and let go of"
        " it; goes on from the last checkpoint, and counts as no crash"
    ),
    StatusReason.TRAINER_CRASHED: "queued again, because the training process died",
    StatusReason.OUT_OF_MEMORY: (
        "queued again because memory ran out: with half as many images at a time where the spec says"
        " `on_out_of_memory: halve_batch`, or, where it had a part of a GPU's memory, with all of it"
    ),
    StatusReason.STARTING: "claimed by a worker; data and model are being put in place",
    StatusReason.TRAINING: "training",
    StatusReason.EVALUATING: "training is over; the test split is being read",
    StatusReason.CANCELLING: "a cancel was asked for and the worker has not yet confirmed it",
    StatusReason.PAUSING: "a pause was asked for; the run saves itself and leaves",
    StatusReason.PAUSED_BY_USER: "paused over the API with its progress kept, until it is resumed or cancelled",
    StatusReason.COMPLETED: "all epochs done and test read",
    StatusReason.REUSED: (
        "took over the results of an equal run that had finished, instead of training; the run's `reused_from` names it"
    ),
    StatusReason.EARLY_STOPPED: (
        "an early-stopping rule ended training and test was read; the run's `stop_reason` says which: `stagnation` or"
        " `overfitting`"
    ),
    StatusReason.TRAINING_FAILED: "training ended with an error; see `error`",
    StatusReason.CRASH_LOOP: "the run took down its process `LAB_MAX_CRASHES` times; see `error`",
    StatusReason.TEACHER_FAILED: (
        "never started, because the run that it builds on failed or was cancelled; see `error`"
    ),
    StatusReason.CANCELLED_BY_USER: "cancelled over the API",
}


def experiment_status(statuses: Iterable[RunStatus]) -> RunStatus:
    """An experiment's status from its runs': running once any run has begun and work is left; failed if any run failed,
    once none is left.
    """
    present = set(statuses)
    unfinished = {status for status in present if not status.is_terminal}
    if RunStatus.RUNNING in present:
        return RunStatus.RUNNING
    if unfinished == {RunStatus.PAUSED}:
        return RunStatus.PAUSED
    if unfinished:
        return RunStatus.QUEUED if present == unfinished else RunStatus.RUNNING
    for final in (RunStatus.FAILED, RunStatus.CANCELLED):
        if final in present:
            return final
    return RunStatus.SUCCEEDED
