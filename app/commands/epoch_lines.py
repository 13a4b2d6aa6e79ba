"""A line for each epoch of an experiment that is waited for, as `python -m lab_models run` says it."""

from collections.abc import Callable
from typing import Any

from app.storage.states import RunStatus
from lab_models.training.epoch_lines import BestSoFar, epoch_line


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
            is_over = RunStatus(run["status"]).is_terminal
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
            self._say(
                epoch_line(
                    numbers["epoch"],
                    run["progress"]["epochs"],
                    numbers,
                    is_best=best.is_best(numbers),
                    before=owner,
                )
            )
            self._told[run["id"]] = numbers["epoch"]
