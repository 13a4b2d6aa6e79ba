"""What the API answers of experiments and their runs, field by field."""

from datetime import datetime
from typing import Any, Literal

from app.api.schemas import Answer
from app.storage.states import RunStatus, StatusReason
from lab_models.specs.request import DeviceKind
from lab_models.statistics.summary import Summary


class EstimateAnswer(Answer):
    """Size, known before anything runs."""

    parameters: int
    """Numbers that can be trained."""
    trainable_parameters: int | None
    """How many of them are: fewer where a transfer leaves some frozen. null for experiments of an older version."""
    macs_per_sample: int
    """Multiply-accumulates of one image's forward pass."""


class ProgressAnswer(Answer):
    """How far it is: `fraction` of all steps, `epoch` of `epochs` begun."""

    fraction: float
    epoch: int
    epochs: int


class AttemptAnswer(Answer):
    """One worker's try at a run."""

    number: int
    worker: str
    started_at: datetime
    first_step_at: datetime | None
    finished_at: datetime | None
    outcome: str | None
    resumed_from: dict[str, int] | None
    micro_batches: int
    notes: list[str]
    phases: dict[str, float] | None
    """Where its time went, in seconds, up to its end or its trainer's last word: `waiting` in the queue before it, then
    `starting`, `data`, `building`, `warm_up`, `training`, `validation`, `checkpoint`, `test` and `other`, which add up
    to the attempt. null for attempts of older versions.
    """
    time_message: str | None
    """The same as a sentence, the longest first."""


class ChangeAnswer(Answer):
    """One move in a run's history: who, when and why."""

    at: datetime
    from_status: RunStatus | None
    to_status: RunStatus
    reason: StatusReason
    actor: str
    """The owner who asked for it, the worker that did it, or `reconciler`."""
    attempt: int


class RunAnswer(Answer):
    """One seed's execution."""

    id: str
    seed: int
    status: RunStatus
    status_reason: StatusReason
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    progress: ProgressAnswer
    best: dict[str, Any] | None
    """Epoch of lowest val loss, and its val scores."""
    test: dict[str, float] | None
    """Test scores of the best epoch's weights."""
    train: dict[str, float] | None
    """The same weights' scores on images that they were learned from, seen as test is: in evaluation mode, not
    augmented. As many as test has, by class proportions. null before the end, and in runs of older versions.
    """
    needs: str | None
    """The run whose weights it needs first: a student's teacher."""
    built_on: dict[str, Any] | None
    """What it was built on once it has begun: the `run` with its `seed`, and the SHA-256 of its weights and of the
    images that those had learned; null where it builds on no run, or an older version has trained it, which did not
    record this. Of what was taken over it is what the results came from.
    """
    reused_from: str | None
    """The equal run whose results it took over instead of training."""
    stop_reason: str | None
    """Why training ended: `all_epochs`, `stagnation` or `overfitting`; null before it has."""
    error: dict[str, Any] | None
    links: dict[str, str]


class RunRecord(RunAnswer):
    """One seed's execution with its attempts."""

    experiment_id: str
    environment: dict[str, Any] | None
    attempts: list[AttemptAnswer]
    history: list[ChangeAnswer]
    """Every change of its status, the first first."""


class SummaryAnswer(Answer):
    """A number over seeds; `std` and `ci95` (Student's t) need at least two, `ci95` two that differ. What no seed
    changes counts as one.
    """

    mean: float
    std: float | None
    n: int
    ci95: tuple[float, float] | None
    values: list[float]

    @classmethod
    def of(cls, summary: Summary) -> "SummaryAnswer":
        """The summary as the API answers it."""
        return cls(**{**vars(summary), "values": list(summary.values)})


class QueueAnswer(Answer):
    """Place in the queue, from 1; null when no run is queued."""

    position: int | None
    ahead: int
    starts_at: datetime | None
    """About when the first of its runs starts; null when nothing waits or is known, or no worker online may take it."""


class ExperimentRecord(Answer):
    """Everything a poller needs: first how it stands and what came out, then what it is."""

    id: str
    name: str | None
    status: RunStatus
    status_message: str
    """Why and how far, as a sentence for people."""
    results: dict[str, dict[str, SummaryAnswer]]
    """Over the succeeded runs: test scores, val scores at the best epoch, scores on `train`, and the `gap` between
    train and test: `accuracy` train minus test, `loss` test minus train.
    """
    error: dict[str, Any] | None
    """The first failed run's error."""
    warnings: list[str] = []
    """In the answer to what is sent, as in its dry run: what is probably not meant, and what will be in its way, such
    as data that is not here yet or a disk that is nearly full. Empty when the record is read later.
    """
    is_terminal: bool
    status_reason: StatusReason
    """Why it stands so; one of a documented list, for scripts."""
    progress: ProgressAnswer
    queue: QueueAnswer
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    estimated_finish_at: datetime | None
    owner: str
    """Whose key made it; `local` while the service asks for none."""
    labels: dict[str, str]
    notes: str | None
    """What people have written about it, in Markdown."""
    archived: bool
    """Whether lists leave it out unless they are asked for it."""
    kind: str
    device: DeviceKind
    """Where it is to be trained, as the request says it or a PATCH since."""
    trains_on: Literal["cpu", "cuda"] | None
    """The kind of device that all its runs go to; null while that is open, and where each may go anywhere."""
    study_id: str | None
    """The study that it is a cell of."""
    cell: str | None
    """Its place in that study's table."""
    fingerprint: str
    estimate: EstimateAnswer
    related: dict[str, str | None]
    """What belongs to it: a student's `teacher_run`, `teacher_experiment` and `baseline`; the
    `origin_experiment` that it goes on with. Where each seed has a teacher of its own, each run's `needs` names it.
    """
    disk_bytes: int
    """Size of its runs' published artifacts and kept checkpoints."""
    submitted: dict[str, Any]
    """The body as it was sent; where it was like another's request or changed by `set`, with all that it comes to."""
    spec: dict[str, Any]
    """The effective spec: every default written out."""
    like: str | None
    """The experiment whose request it was made from."""
    changed: dict[str, tuple[Any, Any]] | None
    """In what the effective spec differs from that one's, by dotted path: what it was, what it is; null where it is
    like none, or that is gone.
    """
    runs: list[RunAnswer]
    environment: dict[str, Any] | None
    """What all its runs that have begun were made with."""
    environment_differs: dict[str, dict[str, Any]]
    """What not all were made with alike: by name and seed."""
    links: dict[str, str]


class ArtifactAnswer(Answer):
    """A published file."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    created_at: datetime
    links: dict[str, str]


class ArtifactList(Answer):
    """What a run has published."""

    data: list[ArtifactAnswer]
