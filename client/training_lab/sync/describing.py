"""What a tracker is told of a run, out of the service's records."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from training_lab.documents import by_path
from training_lab.errors import Refused
from training_lab.lab import Lab
from training_lab.sync.sink import RunInfo
from training_lab.sync.texts import number_name, plain_value

USUAL_PROJECT: Final = "training-lab"


def run_info(
    lab: Lab, experiment: Mapping[str, Any], run: Mapping[str, Any], project: str | None
) -> RunInfo:
    """Of a run by its experiment's record and its own."""
    experiment_id, name = str(experiment["id"]), experiment.get("name")
    page = f"{lab.url}/ui/experiments/{experiment_id}"
    notes = [page, *([str(experiment["notes"])] if experiment.get("notes") else [])]
    started = run.get("started_at")
    return RunInfo(
        id=str(run["id"]),
        experiment_id=experiment_id,
        name=f"{name or experiment_id} · seed {run['seed']}",
        project=project or _study_name(lab, experiment) or USUAL_PROJECT,
        kind=str(experiment.get("kind") or "train"),
        seed=int(run["seed"]),
        experiment_name=name,
        config=_config(experiment, run),
        labels=_labels(experiment),
        notes="\n\n".join(notes),
        started_at=None if started is None else datetime.fromisoformat(started),
    )


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """An epoch's numbers by their names at trackers; what was not finite the service leaves out, and so do we."""
    return {
        number_name(split, name): float(value)
        for split in ("train", "val")
        for name, value in (row.get(split) or {}).items()
        if value is not None
    }


def summary_of(run: Mapping[str, Any]) -> dict[str, float | str]:
    """What is known at the end alone."""
    found: dict[str, float | str] = {}
    for name, value in (run.get("test") or {}).items():
        if value is not None:
            found[f"test/{name}"] = float(value)
    best = run.get("best") or {}
    if best.get("epoch") is not None:
        found["best_epoch"] = float(best["epoch"])
    for name, value in (best.get("val") or {}).items():
        if value is not None:
            found[f"best/{name}"] = float(value)
    for name in ("status", "stop_reason", "status_reason"):
        if run.get(name):
            found[name] = str(run[name])
    if run.get("error"):
        found["error"] = str(run["error"].get("message") or run["error"].get("code") or "")
    return found


class Clock:
    """When each epoch ended, by what epochs have taken: the service keeps no times of day, and a time that is the same
    each time it is worked out makes a number that is sent twice one number.
    """

    def __init__(self, started_at: datetime) -> None:
        self.started_at = self.now = started_at
        self.epoch = 0

    def pass_over(self, epoch: int, row: Mapping[str, Any]) -> None:
        """Go on to that epoch's end, by a second where nobody has measured it; a past one changes nothing."""
        if epoch <= self.epoch:
            return
        self.epoch = epoch
        took = [(row.get(split) or {}).get("seconds") for split in ("train", "val")]
        measured = [float(one) for one in took if one is not None]
        self.now += timedelta(seconds=sum(measured) if measured else 1.0)


def flow_by_run(document: Mapping[str, Any]) -> dict[str, dict[int, dict[str, float]]]:
    """Of `gradient-flow.json` each run's norms and ratios by epoch, 0 for initialization."""
    return {
        str(run["run_id"]): {
            epoch: {
                f"gradients/{layer}/{name}": float(value)
                for name, matrix in (("norm", run["l2"]), ("ratio", run["ratio"]))
                for layer, value in zip(run["layers"], matrix[place], strict=True)
                if value is not None
            }
            for place, epoch in enumerate(run["epochs"])
        }
        for run in document["runs"]
    }


def _config(experiment: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: plain_value(value) for name, value in by_path(experiment["spec"]).items()}
    found |= {
        "seed": run["seed"],
        "experiment": experiment["id"],
        "run": run["id"],
        "fingerprint": experiment.get("fingerprint"),
    }
    for name in ("parameters", "trainable_parameters", "macs_per_sample"):
        value = (experiment.get("estimate") or {}).get(name)
        if value is not None:
            found[name] = value
    environment = by_path(run.get("environment") or {}, "environment")
    return found | {name: plain_value(one) for name, one in environment.items() if one != {}}


def _labels(experiment: Mapping[str, Any]) -> dict[str, str]:
    found = {str(key): str(value) for key, value in (experiment.get("labels") or {}).items()}
    for name in ("study_id", "cell"):
        if experiment.get(name):
            found.setdefault(name.removesuffix("_id"), str(experiment[name]))
    return found


def _study_name(lab: Lab, experiment: Mapping[str, Any]) -> str | None:
    if not experiment.get("study_id"):
        return None
    try:
        name = lab.get(f"/studies/{experiment['study_id']}").get("name")
    except Refused:
        return None
    return None if name is None else str(name)
