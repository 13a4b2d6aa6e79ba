"""An epoch in one line, for people who watch a console or read its log afterwards. Nothing here loads torch."""

from collections.abc import Mapping

from lab_models.training.best_epoch import val_rank

Numbers = Mapping[str, Mapping[str, float | None]]
"""One epoch's, by split and name; None for what was not finite."""


class BestSoFar:
    """Whether each epoch of one run is its best so far, told one after the other; see `TrainSpec.best_by`."""

    def __init__(self, best_by: str) -> None:
        self._best_by = best_by
        self._best: tuple[float, float] | None = None

    def is_best(self, numbers: Numbers) -> bool:
        """Take the next epoch into account; the earliest wins a tie."""
        val = numbers.get("val", {})
        loss, accuracy = val.get("loss"), val.get("accuracy")
        if loss is None or accuracy is None:
            return False
        rank = val_rank({"loss": loss, "accuracy": accuracy}, self._best_by)
        if self._best is not None and rank >= self._best:
            return False
        self._best = rank
        return True


def epoch_line(
    epoch: int, epochs: int, numbers: Numbers, *, is_best: bool, before: str = ""
) -> str:
    """Such as `epoch  3/50  train loss 0.3120 acc 90.12 %  val loss 0.2210 acc 93.40 %  2.1 s  lr 0.001  *`: seconds of
    training and validation, the star for the best epoch so far; `before` says whose it is.
    """
    train, val = numbers.get("train", {}), numbers.get("val", {})
    seconds = (train.get("seconds") or 0.0) + (val.get("seconds") or 0.0)
    parts = [
        before,
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}",
        f"train {_scores(train)}",
        f"val {_scores(val)}",
        f"{seconds:.1f} s",
        f"lr {_number(train.get('learning_rate'), '.4g')}",
        "*" if is_best else "",
    ]
    return "  ".join(part for part in parts if part)


def _scores(numbers: Mapping[str, float | None]) -> str:
    accuracy = numbers.get("accuracy")
    percent = None if accuracy is None else 100 * accuracy
    return f"loss {_number(numbers.get('loss'), '.4f')} acc {_number(percent, '.2f')} %"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
