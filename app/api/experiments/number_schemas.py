"""What the API answers of the numbers of every epoch."""

from app.api.schemas import Answer


class EpochMetrics(Answer):
    """One epoch's numbers by split."""

    epoch: int
    train: dict[str, float | None] = {}
    val: dict[str, float | None] = {}


class RunMetricsAnswer(Answer):
    """One run's numbers, epoch by epoch."""

    run_id: str
    seed: int
    epochs: list[EpochMetrics]


class MetricsAnswer(Answer):
    """All numbers of an experiment."""

    experiment_id: str
    runs: list[RunMetricsAnswer]


class RunColumnsAnswer(Answer):
    """One run's numbers: each name has one for each of `epochs`; null where it was not measured or not finite."""

    run_id: str
    seed: int
    epochs: list[int]
    train: dict[str, list[float | None]] = {}
    val: dict[str, list[float | None]] = {}


class MetricColumnsAnswer(Answer):
    """All numbers of an experiment, as arrays over epochs."""

    experiment_id: str
    runs: list[RunColumnsAnswer]


class SpreadAnswer(Answer):
    """A number over the runs that have it, one of each for each epoch. `std` needs two runs, `ci95` (Student's t) two
    that differ.
    """

    mean: list[float | None]
    std: list[float | None]
    n: list[int]
    ci95: list[tuple[float, float] | None]
    min: list[float | None]
    max: list[float | None]


class MetricSpreadAnswer(Answer):
    """The numbers of an experiment over its seeds. Where some ended earlier, `n` is smaller: the mean then is of those
    that went on.
    """

    experiment_id: str
    aggregate: str
    epochs: list[int]
    train: dict[str, SpreadAnswer] = {}
    val: dict[str, SpreadAnswer] = {}
