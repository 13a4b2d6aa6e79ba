"""A spec file trained here and now: progress bar, files, resume on the second call. What a run leaves behind:

<out>/seed-<n>/result.json    spec, environment, best epoch, test scores
<out>/seed-<n>/metrics.csv    one row per epoch
<out>/seed-<n>/probes.json    what the spec's probes measured, epoch by epoch; 0 is initialization
<out>/before/                 a student's teacher or a transfer's source, trained first, in the same form
<out>/seed-<n>/attempt-1/     weights.safetensors (best), weights-last.safetensors, predictions.safetensors,
evaluation.json, spec.json
"""

import csv
import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lab_models.architectures.misfits import misfits
from lab_models.architectures.sizes import impossible, model_size
from lab_models.common.errors import LabError, OutOfMemory
from lab_models.common.files import sha256_of, write_atomically
from lab_models.common.validation import (
    FieldError,
    InvalidDocument,
    NotJSON,
    did_you_mean,
    explain,
    parse_json,
)
from lab_models.datasets.catalog import Catalog, DatasetInfo
from lab_models.running.execution import Execution, resolve_device
from lab_models.specs import (
    AnySpec,
    DistillRequest,
    DistillSpec,
    ExperimentRequest,
    Request,
    Trained,
    TransferRequest,
    TransferSpec,
    fingerprint,
    read_request,
)
from lab_models.training.micro_batches import after_out_of_memory, part_size
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Metrics,
    Order,
    Probed,
    Progress,
    SavedCheckpoint,
    Started,
    TeacherFiles,
)

KEPT_CHECKPOINTS = 2
MEASURED_SPLITS = ("train", "val")
EXIT_FAILED, EXIT_BAD_SPEC, EXIT_INTERRUPTED = 1, 2, 130


def run_file(path: Path, out: Path | None, device: str, threads: int) -> int:
    """Train every seed of the file, what it builds on first; prints the results as JSON and returns the exit status."""
    try:
        request = read_request(parse_json(path.read_bytes()))
        spec, before = _spec_of(request)
    except OSError as error:
        return _refuse(f"{path}: {error.strerror}")
    except NotJSON as error:
        return _refuse(f"{path} is not JSON: {error}")
    except InvalidDocument as invalid:
        return _refuse(
            f"{path} is not a valid spec:",
            *(
                f"  {e.pointer or '/'}: {e.message}" + (f" ({e.hint})" if e.hint else "")
                for e in invalid.errors
            ),
        )
    catalog = Catalog(_home() / "imported")
    infos = []
    for one in (spec, *([before.spec] if before else [])):
        info = catalog.get(one.dataset.name)
        if info is None:
            return _refuse(
                f"{path}: there is no data set {one.dataset.name!r}",
                did_you_mean(one.dataset.name, [known.name for known in catalog.all()]) or "",
            )
        reason = impossible(one.network, info.shape)
        if reason is not None:
            return _refuse(f"{path}: /model: on {info.name}: {reason}")
        infos.append(info)
    for fault in misfits(spec, infos[-1], infos[0]):
        return _refuse(
            f"{path}: {fault.pointer}: {fault.message}", *([fault.hint] if fault.hint else [])
        )

    folder = out or Path("runs") / fingerprint(spec)[:12]
    stop, results = StopFlag(), []
    with stop.on_interrupt(), _bar() as bar:
        surroundings = Surroundings(infos[0], resolve_device(device), threads, bar, stop)
        try:
            files = (
                None
                if before is None
                else _trained_before(
                    before, folder / "before", replace(surroundings, info=infos[-1])
                )
            )
            if not stop.is_set:
                for seed in request.seeds:
                    results.append(
                        _run_seed(spec, seed, folder / f"seed-{seed}", surroundings, files)
                    )
                    if stop.is_set:
                        break
        except LabError as error:
            bar.stop()
            return _refuse(
                f"{error.code}: {error}",
                *([f"hint: {error.hint}"] if error.hint else []),
                status=EXIT_FAILED,
            )
        if stop.is_set and (not results or results[-1] is None):
            bar.stop()
            return _refuse(
                "interrupted; the same command resumes where this one stopped",
                status=EXIT_INTERRUPTED,
            )
    print(json.dumps(results if len(results) > 1 else results[0], indent=2))
    return 0


def _spec_of(request: Request) -> tuple[AnySpec, Trained | None]:
    """The spec, and the teacher or source to be trained first; raises InvalidDocument."""
    if isinstance(request, ExperimentRequest):
        return request.spec, None
    role, control = (
        ("teacher", "baseline")
        if isinstance(request, DistillRequest)
        else ("source", "from_scratch")
    )
    if getattr(request, control):
        raise InvalidDocument(
            [
                FieldError(
                    f"/{control}",
                    'without a service the control is a file of its own: the same with "kind": "train" and \'model\'',
                )
            ]
        )
    try:
        if isinstance(request, TransferRequest) and request.published is not None:
            return request.spec_with(request.published), None
        if request.reference.spec is None:
            raise InvalidDocument(
                [
                    FieldError(
                        f"/{role}",
                        f"without a service there are no experiments and runs to name: give the {role}'s 'spec'",
                    )
                ]
            )
        before = Trained(spec=request.reference.spec, seed=request.reference.seed or 0)
        return request.spec_with(before), before
    except ValidationError as error:
        raise InvalidDocument(
            explain(error, DistillSpec if isinstance(request, DistillRequest) else TransferSpec, {})
        ) from error


def _trained_before(
    before: Trained, folder: Path, surroundings: "Surroundings"
) -> TeacherFiles | None:
    """The teacher's or source's files, trained now unless its folder holds its result already; None when
    interrupted.
    """
    result_file = folder / "result.json"
    if result_file.exists():
        result = json.loads(result_file.read_bytes())
    else:
        found = _run_seed(before.spec, before.seed, folder, surroundings, None)
        if found is None:
            return None
        result = found
    weights = Path(result["weights"]).absolute()
    return TeacherFiles(
        run_id="before",
        spec=before.spec,
        seed=before.seed,
        weights=str(weights),
        sha256=sha256_of(weights),
        test_accuracy=result["test"]["accuracy"],
    )


class StopFlag:
    """Set by the first Ctrl-C, which lets the current step end; the second interrupts at once."""

    def __init__(self) -> None:
        self.is_set = False

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Catch SIGINT and SIGTERM within the block."""

        def request_stop(number: int, _frame: object) -> None:
            self.is_set = True
            signal.signal(number, signal.default_int_handler)

        before = {
            number: signal.signal(number, request_stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class Surroundings:
    """Where and how runs are trained and shown."""

    info: DatasetInfo
    device: str
    threads: int
    bar: Bar
    stop: StopFlag


def _run_seed(
    spec: AnySpec,
    seed: int,
    folder: Path,
    surroundings: Surroundings,
    built_on: TeacherFiles | None,
) -> dict[str, Any] | None:
    """One run, resumed if its folder holds checkpoints, with fewer images at a time where memory runs out and the spec
    allows it; None when interrupted.
    """
    bar, micro_batches = surroundings.bar, 1
    task = bar.add_task(folder.name.replace("-", " "), total=spec.planned_epochs, status="")
    while True:
        kept = _kept_checkpoints(folder)
        try:
            return _attempt(
                spec,
                folder,
                surroundings,
                task,
                kept,
                _order(spec, seed, folder, surroundings, kept, built_on, micro_batches),
            )
        except OutOfMemory as error:
            smaller = after_out_of_memory(spec, micro_batches)
            if smaller is None:
                raise
            bar.console.print(
                f"memory ran out ({error}); going on with {part_size(spec.batch_size, smaller)} images at a time",
                highlight=False,
            )
            micro_batches = smaller


def _attempt(
    spec: AnySpec,
    folder: Path,
    surroundings: Surroundings,
    task: TaskID,
    kept: list[SavedCheckpoint],
    order: Order,
) -> dict[str, Any] | None:
    """From the order to the result; None when interrupted."""
    info, bar, stop = surroundings.info, surroundings.bar, surroundings.stop
    execution = Execution(order)
    rows: list[dict[str, Any]] = _read_rows(folder)
    environment: dict[str, Any] = {}
    for event in execution.events():
        match event:
            case Started():
                environment = event.environment
                done = event.resumed_from[0] if event.resumed_from else 0
                rows = rows[:done]
                bar.update(task, completed=done, status="resumed" if event.resumed_from else "")
            case Probed():
                _note_probes(folder, 0, event.metrics)
            case Progress():
                bar.update(task, completed=event.epoch - 1 + event.step / event.num_steps)
            case EpochCompleted():
                rows.append({"epoch": event.epoch, **_columns(event.metrics)})
                _note_probes(folder, event.epoch, event.metrics)
                _write_rows(
                    folder, rows
                )  # before the checkpoint: rows that are too many are dropped when resuming
                kept = _keep(folder, kept, event.checkpoint)
                _show_epoch(bar, task, event)
            case Checkpointed():
                kept = _keep(folder, kept, event.checkpoint)
            case Completed():
                size = model_size(spec.network, info.shape, info.num_classes)
                result = {
                    "seed": order.seed,
                    "stop_reason": event.stop_reason,
                    "fingerprint": fingerprint(spec),
                    "parameters": size.parameters,
                    "best": {"epoch": event.best_epoch, "val": event.best_val},
                    "test": event.test,
                    "weights": next(
                        (
                            str(folder / artifact.path)
                            for artifact in event.artifacts
                            if artifact.name == "weights.safetensors"
                        ),
                        None,
                    ),
                    "environment": environment,
                    "micro_batches": order.micro_batches,
                }
                write_atomically(folder / "result.json", json.dumps(result, indent=2).encode())
                return result
        if stop.is_set:
            kept = _keep(folder, kept, execution.checkpoint(stopped=True).checkpoint)
            return None
    raise AssertionError("an execution ends with Completed or with an error")


def _order(
    spec: AnySpec,
    seed: int,
    folder: Path,
    surroundings: Surroundings,
    kept: list[SavedCheckpoint],
    built_on: TeacherFiles | None,
    micro_batches: int,
) -> Order:
    home = _home()
    searched = os.environ.get("LAB_DATA_DIR")
    return Order(
        spec=spec,
        seed=seed,
        run_folder=str(folder.absolute()),
        attempt=1,
        search_folders=(
            tuple(str(Path(part).absolute()) for part in searched.split(os.pathsep) if part)
            if searched
            else (str(home / "datasets"),)
        ),
        download_folder=str(home / "datasets"),
        prepared_folder=str(home / "prepared"),
        imported_folder=str(home / "imported"),
        archives_folder=str(home / "archives"),
        device=surroundings.device,
        threads=surroundings.threads,
        micro_batches=micro_batches,
        resume=tuple(reversed(kept)),
        teacher=built_on if isinstance(spec, DistillSpec) else None,
        source=built_on if isinstance(spec, TransferSpec) else None,
    )


def _home() -> Path:
    return Path(os.environ.get("LAB_HOME") or ".lab").absolute()


def _kept_checkpoints(folder: Path) -> list[SavedCheckpoint]:
    try:
        return [
            SavedCheckpoint(**item)
            for item in json.loads((folder / "checkpoints.json").read_bytes())
        ]
    except OSError:
        return []


def _keep(folder: Path, kept: list[SavedCheckpoint], new: SavedCheckpoint) -> list[SavedCheckpoint]:
    """Record the new checkpoint, then drop the files of all but the last two."""
    kept = [item for item in kept if item.path != new.path] + [new]
    kept, dropped = kept[-KEPT_CHECKPOINTS:], kept[:-KEPT_CHECKPOINTS]
    write_atomically(
        folder / "checkpoints.json", json.dumps([item.model_dump() for item in kept]).encode()
    )
    for item in dropped:
        (folder / item.path).unlink(missing_ok=True)
    return kept


def _columns(metrics: Metrics) -> dict[str, float]:
    return {
        f"{split}.{name}": value
        for split in MEASURED_SPLITS
        for name, value in metrics[split].items()
    }


def _note_probes(folder: Path, epoch: int, metrics: Metrics) -> None:
    """What the probes found goes into a file of its own: one number per layer would drown the table."""
    found = {split: values for split, values in metrics.items() if split not in MEASURED_SPLITS}
    if not found:
        return
    path = folder / "probes.json"
    before = json.loads(path.read_bytes()) if path.exists() else {}
    kept = {number: values for number, values in before.items() if int(number) < epoch}
    write_atomically(path, json.dumps(kept | {str(epoch): found}, indent=1).encode())


def _read_rows(folder: Path) -> list[dict[str, Any]]:
    try:
        with (folder / "metrics.csv").open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError:
        return []


def _write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / "metrics.csv", text.getvalue().encode())


def _show_epoch(bar: Bar, task: TaskID, event: EpochCompleted) -> None:
    val = event.metrics["val"]
    bar.update(
        task,
        completed=event.epoch,
        status=f"val loss {val['loss']:.4f}, val accuracy {100 * val['accuracy']:.2f} %",
    )


def _bar() -> Bar:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed:.1f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    from rich.console import Console

    return Bar(*columns, console=Console(stderr=True))


def _refuse(*lines: str, status: int = EXIT_BAD_SPEC) -> int:
    print(*lines, sep="\n", file=sys.stderr)
    return status
