"""A line for each epoch of an experiment that is waited for, as `python -m lab_models run` says it."""

from collections.abc import Callable, Mapping
from typing import Any

from training_lab.commands.output import plain

ENDED = ("succeeded", "failed", "cancelled")
Numbers = Mapping[str, Mapping[str, float | None]]
"""One epoch's, by split and name; None for what was not finite."""


class EpochLines:
    """Tells of each epoch of each run once, as its numbers are seen. A run that took an equal one's results over has
    trained nothing, and nothing is told of it. `get` asks the service for a document.
    """

    def __init__(self, get: Callable[[str], Any], say: Callable[[str], None]) -> None:
        self._get = get
        self._say = say
        self._told: dict[str, int] = {}
        self._best: dict[str, BestSoFar] = {}
        self._over: set[str] = set()

    def tell(self, record: dict[str, Any]) -> None:
        """What is new in this record of an experiment; only runs that have gone on are asked for their numbers."""
        for run in record["runs"]:
            if run["id"] in self._over or run.get("reused_from"):
                continue
            is_over = run["status"] in ENDED
            # the epoch that is under way counts as begun
            if is_over or run["progress"]["epoch"] - 1 > self._told.get(run["id"], 0):
                self._tell_run(run, record)
            if is_over:
                self._over.add(run["id"])

    def _tell_run(self, run: dict[str, Any], record: dict[str, Any]) -> None:
        told = self._told.get(run["id"], 0)
        best = self._best.setdefault(run["id"], BestSoFar(record["spec"].get("best_by", "loss")))
        owner = f"seed {run['seed']}" if len(record["runs"]) > 1 else ""
        answer = self._get(f"/runs/{run['id']}/metrics?after={told}")
        for numbers in answer["runs"][0]["epochs"]:
            line = epoch_line(
                numbers["epoch"],
                run["progress"]["epochs"],
                numbers,
                is_best=best.is_best(numbers),
                before=owner,
            )
            self._say(plain(line))
            self._told[run["id"]] = numbers["epoch"]


class BestSoFar:
    """Whether each epoch of one run is its best so far, told one after the other; `best_by` is the spec's."""

    def __init__(self, best_by: str) -> None:
        self._best_by = best_by
        self._best: tuple[float, float] | None = None

    def is_best(self, numbers: Numbers) -> bool:
        """Take the next epoch into account; the earliest wins a tie."""
        val = numbers.get("val", {})
        loss, accuracy = val.get("loss"), val.get("accuracy")
        if loss is None or accuracy is None:
            return False
        rank = (loss, 0.0) if self._best_by == "loss" else (-accuracy, loss)
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
