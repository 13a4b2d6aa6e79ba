"""What the API answers of many experiments: rows, pages, counts."""

from datetime import datetime

from app.api.experiments.schemas import ProgressAnswer
from app.api.schemas import Answer
from app.storage.states import RunStatus, StatusReason
from lab_models.statistics.summary import Summary


class MeanOverSeeds(Answer):
    """A mean over seeds with its 95 % interval, the same numbers as in the record; `ci95` as there."""

    mean: float
    ci95: tuple[float, float] | None
    n: int

    @classmethod
    def of(cls, summary: Summary) -> "MeanOverSeeds":
        """The summary as a list shows it."""
        return cls(mean=summary.mean, ci95=summary.ci95, n=summary.n)


class SeedsAnswer(Answer):
    """How many runs have succeeded, and how many there are."""

    done: int
    all: int


class ExperimentRow(Answer):
    """An experiment in a list."""

    id: str
    name: str | None
    status: RunStatus
    is_terminal: bool
    status_reason: StatusReason
    status_message: str
    """Why and how far, as a sentence for people: the record's."""
    progress: ProgressAnswer
    seeds: SeedsAnswer
    test: dict[str, MeanOverSeeds]
    """Over the succeeded runs the `accuracy` on test; empty before there is one."""
    best_val: dict[str, MeanOverSeeds]
    """Over the succeeded runs `accuracy` and `loss` on val at the best epoch; empty before there is one."""
    dataset: str
    network: str
    """In a few words, as in reports: `residual mlp 6 x 512`."""
    parameters: int
    """Numbers of the network that can be trained."""
    owner: str
    labels: dict[str, str]
    archived: bool
    """Whether lists leave it out unless they are asked for it."""
    kind: str
    study_id: str | None
    """The study that it is a cell of."""
    fingerprint: str
    created_at: datetime
    started_at: datetime | None
    """When the first of its runs began."""
    finished_at: datetime | None
    """When the last of its runs ended; null while one is unfinished."""
    estimated_finish_at: datetime | None
    num_runs: int
    reached: dict[str, float | None]
    """Over the succeeded runs the mean `test.accuracy` and `test.loss`, and `val.accuracy` and `val.loss` of the best
    epoch; null before there is one, and for what was not measured.
    """
    links: dict[str, str]


class ExperimentPage(Answer):
    """A page of experiments."""

    data: list[ExperimentRow]
    has_more: bool
    next_cursor: str | None


class CountsAnswer(Answer):
    """Numbers of experiments; what there is none of is left out."""

    total: int
    by_status: dict[str, int]
    by_dataset: dict[str, int]
    by_owner: dict[str, int]
