"""A spec trained here and now: progress bar, files, resume on the second call. What is left behind:

<out>/seed-<n>/               result.json, metrics.csv, probes.json: see run_folder.py
<out>/before/                 a teacher or source, trained first, in the same form; each seed's own in before/seed-<n>/
<out>/seed-<n>/attempt-1/     weights.safetensors (best), weights-last.safetensors, predictions.safetensors,
evaluation.json, spec.json
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress as Bar

from lab_models.architectures.sizes import model_size
from lab_models.common.errors import LabError, OutOfMemory
from lab_models.common.files import sha256_of
from lab_models.datasets.catalog import Catalog
from lab_models.running.bar import RunLine, make_bar
from lab_models.running.environment import resolve_device
from lab_models.running.execution import Execution
from lab_models.running.interrupts import StopFlag
from lab_models.running.reading import PlannedRuns, SpecRefused, read_plan
from lab_models.running.run_folder import RunFolder
from lab_models.specs import TrainSpec, fingerprint
from lab_models.training.micro_batches import after_out_of_memory, part_size
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    EpochCompleted,
    Folders,
    FoundationFiles,
    Order,
    Probed,
    Progress,
    Started,
)

EXIT_FAILED, EXIT_BAD_SPEC, EXIT_INTERRUPTED = 1, 2, 130


@dataclass(frozen=True)
class Surroundings:
    """Where and how runs are trained and shown."""

    folders: Folders
    device: str
    threads: int
    bar: Bar
    stop: StopFlag


def run_file(path: Path, out: Path | None, device: str, threads: int) -> int:
    """Train every seed of the file, what it builds on first; prints the results as JSON and returns the exit status."""
    return run_plan(lambda catalog: read_plan(path, catalog), out, device, threads)


def run_plan(
    planned: Callable[[Catalog], PlannedRuns], out: Path | None, device: str, threads: int
) -> int:
    """The same for what `planned` finds among the data sets that are here; it may raise SpecRefused."""
    folders = _folders()
    try:
        plan = planned(Catalog(folders.imported))
        folder = out or Path("runs") / fingerprint(plan.spec)[:12]
        _refuse_results_of_another(plan, folder)
        device = resolve_device(device)
    except SpecRefused as refused:
        return _refuse(*refused.lines)
    except ValueError as error:
        return _refuse(str(error))
    for doubt in plan.spec.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    stop = StopFlag()
    with stop.on_interrupt(), make_bar() as bar:
        surroundings = Surroundings(folders, device, threads, bar, stop)
        try:
            results = _train_all(plan, folder, surroundings)
        except LabError as error:
            bar.stop()
            return _refuse(
                f"{error.code}: {error}",
                *([f"hint: {error.hint}"] if error.hint else []),
                status=EXIT_FAILED,
            )
        except OSError as error:
            bar.stop()
            return _refuse(f"{error.filename or folder}: {error.strerror}", status=EXIT_FAILED)
        if results is None:
            bar.stop()
            return _refuse(
                "interrupted; the same command resumes where this one stopped",
                status=EXIT_INTERRUPTED,
            )
    print(json.dumps(results if len(results) > 1 else results[0], indent=2))
    return 0


def _refuse_results_of_another(plan: PlannedRuns, folder: Path) -> None:
    """Raises SpecRefused where the folder holds what another spec has come to."""
    kept = [(folder / f"seed-{seed}", plan.spec) for seed in plan.seeds]
    if plan.before is not None:
        before = plan.before
        kept += [(_folder_before(plan, folder, seed), before.spec) for seed in before.seeds]
    for path, spec in kept:
        result = RunFolder(path).result()
        if result is not None and result["fingerprint"] != fingerprint(spec):
            raise SpecRefused(
                f"{path} holds the results of another spec ({result['fingerprint'][:12]}):"
                " name another folder by --out, or remove it"
            )


def _train_all(
    plan: PlannedRuns, folder: Path, surroundings: Surroundings
) -> list[dict[str, Any]] | None:
    """What every seed came to, as far as people let it; None where a run was interrupted."""
    foundations: dict[int, FoundationFiles] = {}
    for seed in () if plan.before is None else plan.before.seeds:
        trained = _foundation(
            plan, seed, RunFolder(_folder_before(plan, folder, seed)), surroundings
        )
        if trained is None:
            return None
        foundations[seed] = trained
    results: list[dict[str, Any]] = []
    for seed in plan.seeds:
        if surroundings.stop.is_set:
            break
        below = foundations.get(plan.foundation_seed(seed))
        result = _run_seed(plan, seed, folder / f"seed-{seed}", surroundings, below)
        if result is None:
            return None
        results.append(result)
    return results or None


def _folder_before(plan: PlannedRuns, folder: Path, seed: int) -> Path:
    """Where what is built on lies."""
    before = folder / "before"
    return before / f"seed-{seed}" if plan.spec.has_own_foundations else before


def _foundation(
    plan: PlannedRuns, seed: int, folder: RunFolder, surroundings: Surroundings
) -> FoundationFiles | None:
    """The files of what is built on, trained now unless its folder holds its result already; None when interrupted."""
    before = plan.before
    assert before is not None
    result = folder.result() or _run_seed(before, seed, folder.path, surroundings, None)
    if result is None:
        return None
    assert isinstance(before.spec, TrainSpec)
    weights = Path(result["weights"]).absolute()
    return FoundationFiles(
        run_id="before",
        spec=before.spec,
        seed=seed,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=result["test"]["accuracy"],
        dataset_sha256=result["environment"].get("dataset_sha256"),
    )


def _run_seed(
    plan: PlannedRuns,
    seed: int,
    path: Path,
    surroundings: Surroundings,
    foundation: FoundationFiles | None,
) -> dict[str, Any] | None:
    """One run, resumed if its folder holds checkpoints, with fewer images at a time where memory runs out and the spec
    allows it; None when interrupted.
    """
    spec, micro_batches = plan.spec, 1
    title = path.name.replace("-", " ")
    is_alone = len(plan.seeds) == 1 and plan.before is None and foundation is None
    line = RunLine(surroundings.bar, title, spec.planned_epochs, "" if is_alone else title)
    while True:
        folder = RunFolder(path)
        order = Order(
            spec=spec,
            seed=seed,
            run_folder=path.absolute(),
            attempt=1,
            folders=surroundings.folders,
            device=surroundings.device,
            threads=surroundings.threads,
            micro_batches=micro_batches,
            resume=folder.resumable,
            foundation=foundation,
        )
        try:
            return _attempt(plan, order, folder, line, surroundings.stop)
        except OutOfMemory as error:
            smaller = after_out_of_memory(spec, micro_batches)
            if smaller is None:
                raise
            line.say(
                f"memory ran out ({error}); going on with {part_size(spec.batch_size, smaller)} images at a time"
            )
            micro_batches = smaller


def _attempt(
    plan: PlannedRuns, order: Order, folder: RunFolder, line: RunLine, stop: StopFlag
) -> dict[str, Any] | None:
    """From the order to the result; None when interrupted."""
    execution = Execution(order)
    environment: dict[str, Any] = {}
    for event in execution.events():
        match event:
            case Started():
                environment = event.environment
                folder.begin_after(event.resumed_from[0] if event.resumed_from else 0)
                line.started(event.resumed_from)
            case Probed():
                folder.write_probes(0, event.metrics)
            case Progress():
                line.progress(event)
            case EpochCompleted():
                # before the checkpoint: rows that are too many are dropped when resuming
                folder.write_epoch(event.epoch, event.metrics)
                folder.keep(event.checkpoint)
                line.epoch(event)
            case Checkpointed():
                folder.keep(event.checkpoint)
            case Completed():
                result = _result(plan, order, folder, event, environment)
                folder.write_result(result)
                return result
        if stop.is_set:
            folder.keep(execution.checkpoint(stopped=True).checkpoint)
            return None
    raise AssertionError("an execution ends with Completed or with an error")


def _result(
    plan: PlannedRuns,
    order: Order,
    folder: RunFolder,
    event: Completed,
    environment: dict[str, Any],
) -> dict[str, Any]:
    size = model_size(plan.spec.network, plan.info.shape, plan.info.num_classes)
    weights = [file.path for file in event.artifacts if file.name == "weights.safetensors"]
    return {
        "seed": order.seed,
        "stop_reason": event.stop_reason,
        "fingerprint": fingerprint(plan.spec),
        "parameters": size.parameters,
        "best": {"epoch": event.best_epoch, "val": event.best_val},
        "test": event.test,
        "train": event.train or None,
        "weights": str(folder.path / weights[0]) if weights else None,
        "environment": environment,
        "micro_batches": order.micro_batches,
    }


def _folders() -> Folders:
    """Where data lies by the environment: below LAB_HOME, and data sets in LAB_DATA_DIR before all."""
    home = Path(os.environ.get("LAB_HOME") or ".lab").absolute()
    searched = os.environ.get("LAB_DATA_DIR")
    return Folders(
        search=(
            tuple(Path(part).absolute() for part in searched.split(os.pathsep) if part)
            if searched
            else (home / "datasets",)
        ),
        download=home / "datasets",
        prepared=home / "prepared",
        imported=home / "imported",
        archives=home / "archives",
    )


def _refuse(*lines: str, status: int = EXIT_BAD_SPEC) -> int:
    print(*lines, sep="\n", file=sys.stderr)
    return status
