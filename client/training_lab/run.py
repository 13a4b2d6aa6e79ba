"""A run: one execution of an experiment with one seed, and what its network can do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

from training_lab.awaiting import awaited, awaited_each
from training_lab.blocking import blocking, blocking_each
from training_lab.documents import LONG_PATIENCE, package
from training_lab.errors import Refused, Unreachable
from training_lab.files import place_for
from training_lab.metrics import LONG_PATIENCE as DOWNLOAD_PATIENCE
from training_lab.metrics import Metrics, all_metrics
from training_lab.pictures import image_bytes
from training_lab.records import Artifact, Prediction, Record
from training_lab.steps import Flow, Item, Plan, Reply, Request, Sleep
from training_lab.summaries import Progress
from training_lab.waiting import document

WEIGHTS = "weights.safetensors"
FOLLOW_SECONDS = 1.0
LINE_BYTES, PART_BYTES = 4096, 8 * 1024 * 1024
"""Of a log: a line that is long, and the most that the service answers at once."""


class RunPlans(Record):
    """What a run says and what can be asked of it, whoever carries it out."""

    def __init__(self, driver: Any, raw: Mapping[str, Any]) -> None:
        super().__init__(raw)
        self._driver = driver

    @property
    def id(self) -> str:
        """`run_…`."""
        return self.as_text("id")

    @property
    def seed(self) -> int:
        """From which all its chance is drawn."""
        return self.as_count("seed")

    @property
    def status(self) -> str:
        """As of an experiment."""
        return self.as_text("status")

    @property
    def reason(self) -> str:
        """Why it stands so, for scripts."""
        return self.as_text("status_reason")

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress.of(self.as_object("progress"))

    @property
    def best(self) -> dict[str, Any]:
        """The epoch of lowest val loss and its val scores; empty before there is one."""
        return self.as_object("best")

    @property
    def test(self) -> dict[str, float]:
        """Test scores of the best epoch's weights; empty before the end."""
        return self.as_object("test")

    @property
    def error(self) -> dict[str, Any] | None:
        """Why it has failed."""
        return self.as_object("error") or None

    @property
    def _path(self) -> str:
        return f"/runs/{quote(self.id, safe='')}"

    def _refresh(self) -> Plan[Self]:
        """Read it anew, with its attempts and its history."""
        reply: Reply = yield Request("GET", self._path)
        self._raw = document(reply)
        return self

    def _metrics(self, names: list[str] | None = None) -> Plan[Metrics]:
        """Every number of every epoch; of these names alone where they are given."""
        return all_metrics([self._path], names)

    def _predict(self, image: Any, top: int = 3) -> Plan[Prediction]:
        """What its network says of an image: a path, an array (height, width[, 3]) of 0 to 255, bytes of a file, one of
        Pillow's, or `{"split": "test", "row": 17}` of its own data set.
        """
        sent = json.dumps(image).encode() if isinstance(image, Mapping) else image_bytes(image)
        reply: Reply = yield Request(
            "POST",
            f"{self._path}/predict",
            {"top": top},
            sent,
            patience=LONG_PATIENCE,
            changes_nothing=True,
        )
        return Prediction(document(reply))

    def _artifacts(self) -> Plan[list[Artifact]]:
        """The files that it has published."""
        reply: Reply = yield Request("GET", f"{self._path}/artifacts")
        return [Artifact(one) for one in document(reply)["data"]]

    def _download(self, name: str, path: str | Path) -> Plan[Path]:
        """Store one of them, there or in that folder; returns where it is."""
        return (yield from self._store(f"artifacts/{quote(name, safe='')}", path, name))

    def _weights(self, path: str | Path) -> Plan[Path]:
        """Store the best epoch's weights, a safetensors file."""
        return (yield from self._download(WEIGHTS, path))

    def _onnx(self, path: str | Path) -> Plan[Path]:
        """Store network and best weights as an ONNX file, normalization included."""
        return (yield from self._store("model.onnx", path, f"{self.id}.onnx"))

    def _model_folder(self, path: str | Path) -> Plan[Path]:
        """Store it as a zip in the layout of Hugging Face's hub: weights, ONNX file, model card and numbers."""
        return (yield from self._store("model.zip", path, f"{self.id}-model.zip"))

    def _state_dict(self, framework: Literal["torch", "numpy"] = "torch") -> Plan[dict[str, Any]]:
        """The best epoch's weights by name; raises Unusable where safetensors, or the framework, is not installed."""
        package(framework, "weights")
        read = package(f"safetensors.{framework}", "weights").load
        reply: Reply = yield Request(
            "GET", f"{self._path}/artifacts/{WEIGHTS}", patience=DOWNLOAD_PATIENCE
        )
        weights: dict[str, Any] = read(reply.content)
        return weights

    def _log(self, attempt: int | None = None, tail: int | None = None) -> Plan[str]:
        """What its trainer wrote: of the last attempt, or of that one; all of it (at most 8 MiB), or the last lines."""
        params = {"attempt": attempt, "tail": tail}
        reply: Reply = yield Request("GET", f"{self._path}/log", params)
        return reply.content.decode(errors="replace")

    def _follow_log(self, tail: int | None = None) -> Flow[str]:
        """Its last attempt's lines as they are written, the first first, until the run has ended; with `tail` only so
        many of those that are there when it begins.
        """
        attempt, offset, rest = 0, 0, b""
        while True:
            try:
                reply: Reply = yield Request("GET", self._path)
                run = document(reply)
                newest = int(run.get("attempt") or 0)
                if newest and newest != attempt:
                    attempt, offset, rest = newest, 0, b""
                if newest and tail is not None:
                    offset, rest = yield from self._tail(attempt, tail)
                    tail = None
                more = (yield from self._more(attempt, offset)) if newest else b""
            except Unreachable:
                yield Sleep(FOLLOW_SECONDS)
                continue
            offset += len(more)
            *lines, rest = (rest + more).split(b"\n")
            for line in lines:
                yield Item(line.decode(errors="replace"))
            if not more and _is_over(run):
                break
            yield Sleep(0.0 if more else FOLLOW_SECONDS)
        if rest:
            yield Item(rest.decode(errors="replace"))

    def _more(self, attempt: int, offset: int) -> Plan[bytes]:
        reply = yield from self._part(attempt, f"bytes={offset}-")
        return b"" if reply is None else reply.content

    def _tail(self, attempt: int, lines: int) -> Plan[tuple[int, bytes]]:
        """Where the log ends by now, and its last lines."""
        most = min(lines * LINE_BYTES, PART_BYTES)
        reply = yield from self._part(attempt, f"bytes=-{most}")
        if reply is None:
            return 0, b""
        size = int(reply.headers["content-range"].rpartition("/")[2])
        return size, b"".join(reply.content.splitlines(keepends=True)[-lines:])

    def _part(self, attempt: int, wanted: str) -> Plan[Reply | None]:
        """A range of the log; None where there is nothing."""
        try:
            reply: Reply = yield Request(
                "GET", f"{self._path}/log", {"attempt": attempt}, headers={"Range": wanted}
            )
        except Refused as refused:
            if refused.status == 416:  # nothing new
                return None
            if refused.status == 404 and refused.code == "not_found":  # not begun to write
                return None
            raise
        return reply

    def _store(self, below: str, path: str | Path, name: str) -> Plan[Path]:
        place = place_for(path, name)
        yield Request("GET", f"{self._path}/{below}", into=place, patience=DOWNLOAD_PATIENCE)
        return place

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} seed {self.seed} {self.status}>"


class Run(RunPlans):
    """A run on a service that is waited for."""

    refresh = blocking(RunPlans._refresh)
    metrics = blocking(RunPlans._metrics)
    predict = blocking(RunPlans._predict)
    artifacts = blocking(RunPlans._artifacts)
    download = blocking(RunPlans._download)
    weights = blocking(RunPlans._weights)
    onnx = blocking(RunPlans._onnx)
    model_folder = blocking(RunPlans._model_folder)
    state_dict = blocking(RunPlans._state_dict)
    log = blocking(RunPlans._log)
    follow_log = blocking_each(RunPlans._follow_log)


class AsyncRun(RunPlans):
    """A run on a service that is awaited."""

    refresh = awaited(RunPlans._refresh)
    metrics = awaited(RunPlans._metrics)
    predict = awaited(RunPlans._predict)
    artifacts = awaited(RunPlans._artifacts)
    download = awaited(RunPlans._download)
    weights = awaited(RunPlans._weights)
    onnx = awaited(RunPlans._onnx)
    model_folder = awaited(RunPlans._model_folder)
    state_dict = awaited(RunPlans._state_dict)
    log = awaited(RunPlans._log)
    follow_log = awaited_each(RunPlans._follow_log)


def _is_over(run: Mapping[str, Any]) -> bool:
    return run.get("finished_at") is not None and run.get("status") not in (
        "queued",
        "running",
        "paused",
    )
