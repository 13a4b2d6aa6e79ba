"""MLflow by its REST endpoints (https://mlflow.org/docs/latest/rest-api.html); no package of it is needed."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from training_lab.errors import Unusable
from training_lab.sync.mlflow_requests import MlflowRequests
from training_lab.sync.sink import (
    CANCELLED,
    FAILED,
    SUCCEEDED,
    RunInfo,
    SinkOptions,
    Tracker,
    TrackerRefused,
)

STATUSES: Final = {SUCCEEDED: "FINISHED", FAILED: "FAILED", CANCELLED: "KILLED"}
MOST_METRICS, MOST_PARAMS, MOST_TAGS = 1000, 100, 100
"""Of one `log-batch`, which has at most 1000 of all together."""
LONGEST_PARAM, LONGEST_TAG, LONGEST_KEY = 6000, 5000, 250
RUN_TAG: Final = "lab.run"
CHANGING: Final = "environment."
"""What another attempt may change is a tag: a param of MLflow never changes."""
PROXIED: Final = "mlflow-artifacts:"


def tracker(options: SinkOptions) -> Tracker:
    """A server of MLflow at `options.to` or MLFLOW_TRACKING_URI; raises Unusable where nothing says where it is."""
    url = (options.to or os.environ.get("MLFLOW_TRACKING_URI", "")).strip().rstrip("/")
    if not url:
        raise Unusable(
            "say where MLflow is, by MLFLOW_TRACKING_URI=http://HOST:5000 or --to; `mlflow server` starts one"
        )
    if not url.startswith(("http://", "https://")):
        raise Unusable(
            f"{url} is no address of a server of MLflow: it is spoken to by HTTP, as in http://HOST:5000"
        )
    # connections are shared by all runs
    requests = MlflowRequests(url)
    return Tracker("mlflow", url, lambda: MlflowSink(requests), lambda: _ask(url))


def _ask(url: str) -> None:
    requests = MlflowRequests(url)
    asked = {"experiment_name": "Default"}
    try:
        requests.get("experiments/get-by-name", asked, passing={"RESOURCE_DOES_NOT_EXIST"})
    finally:
        requests.close()


class MlflowSink:
    """A run of MLflow, found again by a tag that has our id; MLflow's experiment is the project."""

    keeps_at_once = True

    def __init__(self, requests: MlflowRequests) -> None:
        self._requests = requests
        self._run_id = ""
        self._artifacts = ""
        self._known_step = 0
        self._known: dict[str, dict[int, float]] = {}
        self._last: tuple[int, int] = 0, 0
        """Epoch, and milliseconds since 1970."""

    def begin(self, run: RunInfo) -> None:
        """Make the run, or find it; params and tags are told either way."""
        started = run.started_at or datetime.now(UTC)
        self._last = 0, _milliseconds(started)
        project = self._project(run.project)
        found = self._find(project, run.id)
        if found is None:
            told = {
                "experiment_id": project,
                "start_time": self._last[1],
                "run_name": run.name,
                "tags": [_pair(RUN_TAG, run.id)],
            }
            found = self._requests.post("runs/create", told)["run"]
        else:
            self._requests.post(
                "runs/update", {"run_id": found["info"]["run_id"], "status": "RUNNING"}
            )
        self._run_id = str(found["info"]["run_id"])
        self._artifacts = str(found["info"].get("artifact_uri") or "")
        metrics = found.get("data", {}).get("metrics") or []
        self._known_step = max((int(one.get("step") or 0) for one in metrics), default=0)
        self._describe(run)

    def log(self, epoch: int, at: datetime, values: Mapping[str, float]) -> None:
        """Numbers at the epoch. MLflow keeps every number that it is given: of an epoch that comes again only what has
        changed.
        """
        self._last = epoch, _milliseconds(at)
        if epoch <= self._known_step:
            values = {
                name: one for name, one in values.items() if self._history(name).get(epoch) != one
            }
        else:
            self._known_step = epoch
            self._known.clear()
        self._log(values)

    def end(self, status: str, summary: Mapping[str, float | str], files: Sequence[Path]) -> None:
        """The end's numbers at the last epoch, how it ended, and the files where the server takes any."""
        self._log({name: one for name, one in summary.items() if not isinstance(one, str)})
        words = {f"lab.{name}": one for name, one in summary.items() if isinstance(one, str)}
        if files and not self._artifacts.startswith(PROXIED):
            words["lab.files"] = (
                f"not sent: this server does not take files for {self._artifacts} (--serve-artifacts)"
            )
        self._batch(tags=words)
        if self._artifacts.startswith(PROXIED):
            folder = re.sub(r"^mlflow-artifacts:(//[^/]*)?/*", "", self._artifacts)
            for file in files:
                self._requests.put_file(f"{folder}/{file.name}", file)
        self._requests.post(
            "runs/update",
            {
                "run_id": self._run_id,
                "status": STATUSES.get(status, "FAILED"),
                "end_time": self._last[1],
            },
        )

    def _project(self, name: str) -> str:
        """The id of MLflow's experiment; made where there is none."""
        found = self._by_name(name)
        if found is None:
            made = self._requests.post(
                "experiments/create", {"name": name}, passing={"RESOURCE_ALREADY_EXISTS"}
            )
            if "experiment_id" in made:
                return str(made["experiment_id"])
            found = self._by_name(name)  # somebody else has made it meanwhile
        if found is None or found.get("lifecycle_stage") == "deleted":
            raise TrackerRefused(
                f"the experiment {name!r} is deleted at {self._requests.url}: restore it there, or name another by"
                " --project"
            )
        return str(found["experiment_id"])

    def _by_name(self, name: str) -> dict[str, Any] | None:
        found = self._requests.get(
            "experiments/get-by-name",
            {"experiment_name": name},
            passing={"RESOURCE_DOES_NOT_EXIST"},
        )
        experiment: dict[str, Any] | None = found.get("experiment")
        return experiment

    def _find(self, project: str, run_id: str) -> dict[str, Any] | None:
        asked = {
            "experiment_ids": [project],
            "filter": f"tags.`{RUN_TAG}` = '{run_id}'",
            "max_results": 1,
        }
        runs = self._requests.post("runs/search", asked).get("runs") or []
        return runs[0] if runs else None

    def _describe(self, run: RunInfo) -> None:
        params = {
            name: _text(one, LONGEST_PARAM)
            for name, one in run.config.items()
            if not name.startswith(CHANGING)
        }
        tags = {
            "mlflow.note.content": run.notes,
            "lab.experiment": run.experiment_id,
            "lab.kind": run.kind,
            **{f"label.{key}": value for key, value in run.labels.items()},
            **{key: str(one) for key, one in run.config.items() if key.startswith(CHANGING)},
        }
        self._batch(params=params, tags=tags)

    def _log(self, values: Mapping[str, float]) -> None:
        step, at = self._last
        names = list(values)
        for place in range(0, len(names), MOST_METRICS):
            told = [
                {"key": _key(name), "value": values[name], "timestamp": at, "step": step}
                for name in names[place : place + MOST_METRICS]
            ]
            self._requests.post("runs/log-batch", {"run_id": self._run_id, "metrics": told})

    def _batch(
        self, params: Mapping[str, str] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        left = [_pair(key, one) for key, one in (params or {}).items()]
        for place in range(0, len(left), MOST_PARAMS):
            told = {"run_id": self._run_id, "params": left[place : place + MOST_PARAMS]}
            self._requests.post("runs/log-batch", told)
        left = [_pair(key, one[:LONGEST_TAG]) for key, one in (tags or {}).items()]
        for place in range(0, len(left), MOST_TAGS):
            told = {"run_id": self._run_id, "tags": left[place : place + MOST_TAGS]}
            self._requests.post("runs/log-batch", told)

    def _history(self, name: str) -> dict[int, float]:
        """What MLflow has of a number, by step; asked for once, until there is something new."""
        if name not in self._known:
            found: dict[int, float] = {}
            asked: dict[str, Any] = {"run_id": self._run_id, "metric_key": _key(name)}
            while True:
                page = self._requests.get("metrics/get-history", asked)
                for one in page.get("metrics") or []:
                    found[int(one.get("step") or 0)] = float(one["value"])
                if not page.get("next_page_token"):
                    break
                asked["page_token"] = page["next_page_token"]
            self._known[name] = found
        return self._known[name]


def _pair(key: str, value: str) -> dict[str, str]:
    return {"key": _key(key), "value": value}


def _key(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. /]", "_", name)[:LONGEST_KEY]


def _text(value: Any, longest: int) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:longest]


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
