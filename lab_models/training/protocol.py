"""What a trainer process is told and what it answers, one JSON object a line. Nothing here loads torch."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from lab_models.specs import Spec, TrainedSpec
from lab_models.training.stopping import StopReason

Metrics = dict[str, dict[str, float]]
"""Split to name to value, of one epoch."""
Phase = Literal["data", "building", "warm_up", "training", "validation", "checkpoint", "test"]
"""What an attempt's time goes to. `data`: opened, prepared, downloaded; `building`: the network, the checkpoint that it
goes on from and what it builds on; `warm_up`: all until the first step is done; `test`: weights and all scores.
"""
Phases = dict[Phase, float]
"""Seconds by phase since the order was taken up; together they are all of them."""
KEPT_CHECKPOINTS = 2
"""How many of a run stay: should the newest be damaged, the one before it is there."""


class Message(BaseModel):
    """Base of every line in either direction."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedFile(Message):
    """A file that is whole on disk: `path` is relative to the run's folder."""

    path: str
    sha256: str
    size_bytes: int


class SavedCheckpoint(SavedFile):
    """A checkpoint after `epoch` whole epochs and `step` steps of the next."""

    epoch: int
    step: int


class SavedArtifact(SavedFile):
    """A result to be published under `name`."""

    name: str
    media_type: str


class FoundationFiles(Message):
    """A trained network that is built on: `weights` is an absolute path, of the `epoch` where that is known;
    `test_accuracy` is what its record says, and `dataset_sha256` which images it has learned.
    """

    run_id: str
    spec: TrainedSpec
    seed: int
    weights: Path
    sha256: str
    test_accuracy: float
    epoch: int | None = None
    dataset_sha256: str | None = None


class Folders(Message):
    """Where data lies, all absolute: `search` is looked through for data sets in order, `download` takes what must be
    fetched, `prepared` the compact form; `imported` holds people's own data sets, `archives` teachers' stored outputs.
    """

    search: tuple[Path, ...]
    download: Path
    prepared: Path
    imported: Path
    archives: Path


class Order(Message):
    """One attempt at one run, which writes into its absolute `run_folder`; `resume` lists checkpoints, the newest
    first; a student's or transfer's `foundation` is the run that it builds on. A batch is computed in `micro_batches`
    parts, with at most `memory_fraction` of a GPU's memory. Nothing is written that would leave less than
    `min_free_bytes` on the disk.
    """

    order: Literal["train"] = "train"
    spec: Spec
    seed: int
    run_folder: Path
    attempt: int
    folders: Folders
    device: str
    threads: int
    micro_batches: int = 1
    memory_fraction: float | None = None
    checkpoint_seconds: float = 60.0
    min_free_bytes: int = 0
    resume: tuple[SavedCheckpoint, ...] = ()
    foundation: FoundationFiles | None = None


class Stop(Message):
    """Save where you are and leave."""

    order: Literal["stop"] = "stop"


class UseThreads(Message):
    """Compute on so many CPU threads from the next step on, and say so in a checkpoint."""

    order: Literal["use_threads"] = "use_threads"
    threads: int


class Ready(Message):
    """The trainer has loaded its libraries, has taken a step on its device and waits for an order. `caution` says what
    is slow there.
    """

    event: Literal["ready"] = "ready"
    pid: int
    caution: str | None = None


class Unfit(Message):
    """Said in place of `ready`: the device cannot be trained on. `reason` is one line with what to do; what is
    `lasting` stays until somebody changes the machine.
    """

    event: Literal["unfit"] = "unfit"
    reason: str
    lasting: bool = False


class Started(Message):
    """The order is accepted, data and model are in place. `resumed_from` says (epochs, steps) when a checkpoint was
    used.
    """

    event: Literal["started"] = "started"
    environment: dict[str, Any]
    resumed_from: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    phases: Phases = {}


class Progress(Message):
    """`step` of `num_steps` in `epoch` is done; sent a few times a second at most, and at the first step."""

    event: Literal["progress"] = "progress"
    epoch: int
    step: int
    num_steps: int
    phases: Phases = {}


class EpochCompleted(Message):
    """An epoch's metrics, and the checkpoint taken after it. `stop_reason` says that it was the last, and why."""

    event: Literal["epoch"] = "epoch"
    epoch: int
    metrics: Metrics
    best_epoch: int
    best_val: dict[str, float]
    stop_reason: StopReason | None
    checkpoint: SavedCheckpoint
    phases: Phases = {}


class Probed(Message):
    """What a probe measured before the first step; it counts as epoch 0."""

    event: Literal["probed"] = "probed"
    metrics: Metrics
    phases: Phases = {}


class Checkpointed(Message):
    """A checkpoint within an epoch, taken because time had passed, because of a stop, or because the number of threads
    is another from here on: `threads`. `stopped` says the trainer leaves.
    """

    event: Literal["checkpoint"] = "checkpoint"
    checkpoint: SavedCheckpoint
    stopped: bool
    threads: int | None = None
    phases: Phases = {}


class Completed(Message):
    """Training is over and the test split was read, once, with the best weights. `train` are their scores on images
    that they were learned from, seen as test is; empty where they are not finite.

    `stop_reason`: `all_epochs`, or the early-stopping rule that held: `stagnation` or `overfitting`.
    """

    event: Literal["completed"] = "completed"
    stop_reason: StopReason
    best_epoch: int
    best_val: dict[str, float]
    test: dict[str, float]
    train: dict[str, float] = {}
    artifacts: tuple[SavedArtifact, ...]
    phases: Phases = {}


class Failed(Message):
    """Training cannot go on; `code` is stable."""

    event: Literal["failed"] = "failed"
    code: str
    message: str
    hint: str | None = None
    traceback: str = ""
    phases: Phases = {}


OrderLine = Annotated[Order | Stop | UseThreads, Field(discriminator="order")]
Event = Annotated[
    Ready
    | Unfit
    | Started
    | Progress
    | Probed
    | EpochCompleted
    | Checkpointed
    | Completed
    | Failed,
    Field(discriminator="event"),
]

_orders: TypeAdapter[Order | Stop | UseThreads] = TypeAdapter(OrderLine)
_events: TypeAdapter[
    Ready | Unfit | Started | Progress | Probed | EpochCompleted | Checkpointed | Completed | Failed
] = TypeAdapter(Event)


def read_order(line: str | bytes) -> Order | Stop | UseThreads:
    """Parse one line of a trainer's standard input; raises pydantic.ValidationError."""
    return _orders.validate_json(line, strict=False)


def read_event(
    line: str | bytes,
) -> (
    Ready | Unfit | Started | Progress | Probed | EpochCompleted | Checkpointed | Completed | Failed
):
    """Parse one line of a trainer's standard output; raises pydantic.ValidationError."""
    return _events.validate_json(line, strict=False)


def to_line(message: Message) -> bytes:
    """One message as one line."""
    return message.model_dump_json().encode() + b"\n"
