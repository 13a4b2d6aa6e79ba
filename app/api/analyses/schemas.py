"""What the API answers of which classes were taken for which, field by field."""

from app.api.schemas import Answer


class MatrixAnswer(Answer):
    """A confusion matrix: rows are true classes, columns predicted ones."""

    counts: list[list[int]]
    """Images."""
    fractions: list[list[float]]
    """Each row divided by its sum, to six decimals; a row without images is 0."""


class RunMatrixAnswer(MatrixAnswer):
    """One run's confusion matrix."""

    run_id: str
    seed: int


class ConfusedPair(Answer):
    """How often images of one class were taken for another; `fraction` is the share of the true class."""

    true: str
    predicted: str
    count: int
    fraction: float


class ConfusionAnswer(Answer):
    """Which classes were taken for which on test, with the best epoch's weights."""

    experiment_id: str
    split: str = "test"
    class_names: list[str]
    num_images: int
    """Images of test, each counted once a run."""
    pooled: MatrixAnswer
    """The succeeded runs' counts added up."""
    most_confused: list[ConfusedPair]
    """From the pooled counts, the most frequent first."""
    runs: list[RunMatrixAnswer]
    """The succeeded runs, in the order of the seeds."""
