"""A server on loopback that answers as MLflow's REST documentation says, checks what it is asked by the limits that
stand there, and can be told to fail.

https://mlflow.org/docs/latest/rest-api.html: `log-batch` has at most 1000 metrics, 100 params, 100 tags; keys have at
most 250 characters, a param's value 6000, a tag's 5000 (8000 in later versions); a param never changes.
"""

import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

Fault = Literal["drop", "500", "429", "hang", "html"]
KEY = re.compile(r"[\w\-. /:]{1,250}")
STATUSES = {"RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"}


class Refusal(Exception):
    """An answer that is no success: MLflow's error code."""

    STATUSES = {"RESOURCE_DOES_NOT_EXIST": 404, "RESOURCE_ALREADY_EXISTS": 400}

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = self.STATUSES.get(code, 400)


@dataclass
class StoredRun:
    """A run as it is kept."""

    info: dict[str, Any]
    tags: dict[str, str]
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, int, int, float], None] = field(default_factory=dict)
    """Key, step, timestamp and value, which together are one number however often it comes."""
    files: dict[str, bytes] = field(default_factory=dict)

    def history(self, key: str) -> list[tuple[int, float]]:
        """Step and value of all that is kept under a key."""
        return [(step, value) for name, step, _, value in self.metrics if name == key]


class MlflowServer:
    """What is stored, what was asked, and what is to go wrong next."""

    def __init__(self, takes_files: bool = True) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, StoredRun] = {}
        self.asked: list[str] = []
        self.faults: list[Fault | None] = []
        """What to do to the next requests, one after the other."""
        self.always: Fault | None = None
        self.authorization: str | None = None
        self.takes_files = takes_files
        self.over = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.handle(self, b"")

            def do_POST(self) -> None:
                server.handle(self, self.rfile.read(int(self.headers["Content-Length"])))

            def do_PUT(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def end(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def run_of(self, run_id: str) -> StoredRun:
        """The one run with our id as its tag."""
        (found,) = (run for run in self.runs.values() if run.tags["lab.run"] == run_id)
        return found

    def handle(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            self.asked.append(handler.path)
            fault = self.faults.pop(0) if self.faults else self.always
        if fault == "drop":
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.close_connection = True
            return
        if fault == "hang":
            self.over.wait()
            return
        if fault == "html":
            self._answer(handler, 200, b"<html>a proxy</html>")
            return
        if fault in ("500", "429"):
            message = {"error_code": "INTERNAL_ERROR", "message": "out of order"}
            self._answer(handler, int(fault), json.dumps(message).encode())
            return
        if self.authorization and handler.headers.get("Authorization") != self.authorization:
            self._answer(handler, 401, b"You are not authenticated.")
            return
        try:
            with self._lock:
                answer = self._dispatch(handler, body)
            self._answer(handler, 200, b"" if answer is None else json.dumps(answer).encode())
        except Refusal as refusal:
            said = {"error_code": refusal.code, "message": str(refusal)}
            self._answer(handler, refusal.status, json.dumps(said).encode())

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, content: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _dispatch(self, handler: BaseHTTPRequestHandler, body: bytes) -> Any:
        split = urlsplit(handler.path)
        artifact = split.path.removeprefix("/api/2.0/mlflow-artifacts/artifacts/")
        if artifact != split.path and handler.command == "PUT" and self.takes_files:
            _, run_id, _, name = artifact.split("/", 3)
            self._run(run_id).files[name] = body
            return None
        path = split.path.removeprefix("/api/2.0/mlflow/")
        known: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "experiments/get-by-name"): self._experiment,
            ("POST", "experiments/create"): self._create_experiment,
            ("POST", "runs/create"): self._create_run,
            ("POST", "runs/search"): self._search,
            ("POST", "runs/update"): self._update,
            ("POST", "runs/log-batch"): self._log_batch,
            ("GET", "metrics/get-history"): self._history,
        }
        act = known.get((handler.command, path))
        if act is None:
            raise Refusal("ENDPOINT_NOT_FOUND", f"{handler.command} {handler.path}")
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        return act(json.loads(body) if body else query)

    def _experiment(self, asked: dict[str, Any]) -> Any:
        name = asked["experiment_name"]
        if name not in self.experiments:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"no experiment {name}")
        return {
            "experiment": {
                "experiment_id": self.experiments[name],
                "name": name,
                "lifecycle_stage": "active",
            }
        }

    def _create_experiment(self, asked: dict[str, Any]) -> Any:
        if asked["name"] in self.experiments:
            raise Refusal("RESOURCE_ALREADY_EXISTS", asked["name"])
        self.experiments[asked["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[asked["name"]]}

    def _create_run(self, asked: dict[str, Any]) -> Any:
        if asked["experiment_id"] not in self.experiments.values():
            raise Refusal("RESOURCE_DOES_NOT_EXIST", "no such experiment")
        run_id = f"{len(self.runs) + 1:032x}"
        info = {
            "run_id": run_id,
            "experiment_id": asked["experiment_id"],
            "status": "RUNNING",
            "start_time": int(asked["start_time"]),
            "run_name": asked["run_name"],
            "artifact_uri": f"{'mlflow-artifacts:' if self.takes_files else 's3://bucket'}/1/{run_id}/artifacts",
        }
        self.runs[run_id] = StoredRun(info, self._pairs(asked.get("tags", []), 5000))
        return {"run": self._shown(self.runs[run_id])}

    def _search(self, asked: dict[str, Any]) -> Any:
        found = re.fullmatch(r"tags\.`([^`]+)` = '([^']*)'", asked["filter"])
        if found is None:
            raise Refusal("INVALID_PARAMETER_VALUE", f"filter {asked['filter']}")
        key, value = found.groups()
        runs = [
            self._shown(run)
            for run in self.runs.values()
            if run.info["experiment_id"] in asked["experiment_ids"] and run.tags.get(key) == value
        ]
        return {"runs": runs[: asked["max_results"]]} if runs else {}

    def _update(self, asked: dict[str, Any]) -> Any:
        run = self._run(asked["run_id"])
        if asked["status"] not in STATUSES:
            raise Refusal("INVALID_PARAMETER_VALUE", f"status {asked['status']}")
        run.info.update({name: asked[name] for name in ("status", "end_time") if name in asked})
        return {"run_info": run.info}

    def _log_batch(self, asked: dict[str, Any]) -> Any:
        run = self._run(asked["run_id"])
        metrics, params = asked.get("metrics", []), asked.get("params", [])
        tags = asked.get("tags", [])
        if len(metrics) > 1000 or len(params) > 100 or len(tags) > 100:
            raise Refusal("INVALID_PARAMETER_VALUE", "too many at once")
        for one in metrics:
            if not KEY.fullmatch(one["key"]) or not isinstance(one["timestamp"], int):
                raise Refusal("INVALID_PARAMETER_VALUE", f"metric {one}")
            run.metrics[one["key"], int(one["step"]), one["timestamp"], float(one["value"])] = None
        for key, value in self._pairs(params, 6000).items():
            if run.params.setdefault(key, value) != value:
                raise Refusal("INVALID_PARAMETER_VALUE", f"param {key} is {run.params[key]}")
        run.tags.update(self._pairs(tags, 5000))
        return {}

    def _history(self, asked: dict[str, Any]) -> Any:
        run = self._run(asked["run_id"])
        found = [
            {"key": key, "step": step, "timestamp": at, "value": value}
            for key, step, at, value in run.metrics
            if key == asked["metric_key"]
        ]
        begin = int(asked.get("page_token", 0))
        page = {"metrics": found[begin : begin + 2]}
        return page if len(found) <= begin + 2 else {**page, "next_page_token": str(begin + 2)}

    def _run(self, run_id: str) -> StoredRun:
        if run_id not in self.runs:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"no run {run_id}")
        return self.runs[run_id]

    def _pairs(self, listed: list[dict[str, str]], longest: int) -> dict[str, str]:
        for one in listed:
            if not KEY.fullmatch(one["key"]) or not isinstance(one["value"], str):
                raise Refusal("INVALID_PARAMETER_VALUE", f"{one}")
            if len(one["value"]) > longest:
                raise Refusal("INVALID_PARAMETER_VALUE", f"{one['key']} is too long")
        return {one["key"]: one["value"] for one in listed}

    def _shown(self, run: StoredRun) -> Any:
        latest: dict[str, Any] = {}
        for key, step, at, value in sorted(run.metrics):
            latest[key] = {"key": key, "step": step, "timestamp": at, "value": value}
        data = {"metrics": list(latest.values()), "tags": [], "params": []}
        return {"info": run.info, "data": data}
