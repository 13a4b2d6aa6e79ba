"""Weights & Biases, and trackio, which has the same functions: by their own packages, imported when asked for."""

import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from contextvars import Context
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from training_lab.documents import package
from training_lab.sync.sink import CANCELLED, SUCCEEDED, RunInfo, SinkOptions, Tracker

EXIT_CODES: Final = {SUCCEEDED: 0, CANCELLED: 255}
"""255 is what W&B takes for a run that somebody has ended; whatever else is not 0 has failed."""
LONGEST_TAG: Final = 64
WRITTEN_AT_ONCE: Final = (".png",)


def wandb_tracker(options: SinkOptions) -> Tracker:
    """By the package `wandb`, with whatever WANDB_… says; raises Unusable where it is not installed."""
    module = package("wandb", "Weights & Biases")
    said = {name: os.environ.get(name, "") for name in ("WANDB_BASE_URL", "WANDB_ENTITY")}
    mode = os.environ.get("WANDB_MODE", "online")
    place = str(Path(os.environ.get("WANDB_DIR", ".")).absolute()) if mode == "offline" else ""
    target = [mode, place, *said.values(), options.project or ""]
    return Tracker("wandb", " ".join(target).strip(), lambda: WandbSink(module))


def trackio_tracker(options: SinkOptions) -> Tracker:
    """By the package `trackio`, with whatever TRACKIO_… says; raises Unusable where it is not installed."""
    module = package("trackio", "trackio")
    names = ("TRACKIO_DIR", "TRACKIO_SERVER_URL", "TRACKIO_SPACE_ID")
    target = [*(os.environ.get(name, "") for name in names), options.project or ""]
    return Tracker("trackio", " ".join(target).strip(), lambda: TrackioSink(module))


class WandbSink:
    """A run of W&B, several at a time in one process. It writes by a process of its own, so what it was given may be
    lost with a kill.
    """

    keeps_at_once = False

    def __init__(self, module: Any) -> None:
        self._module = module
        self._run: Any = None
        self._first_step = 0

    def begin(self, run: RunInfo) -> None:
        """Make the run, or go on with it; epochs that W&B has it does not take again."""
        quiet = self._module.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
            disable_git=True,
            disable_code=True,
        )
        self._run = self._module.init(
            id=run.id,
            project=run.project,
            group=run.experiment_id,
            job_type=run.kind,
            name=run.name,
            notes=run.notes,
            tags=[tag[:LONGEST_TAG] for tag in run.tags],
            config=dict(run.config),
            resume="allow",
            reinit="create_new",
            settings=quiet,
        )
        self._first_step = int(self._run.step) if self._run.resumed else 0

    def log(self, epoch: int, at: datetime, values: Mapping[str, float]) -> None:
        """A row of its history; the step is the epoch. W&B gives it the time at which it comes."""
        del at
        if epoch >= self._first_step:
            self._run.log({**values, "epoch": epoch}, step=epoch, commit=True)

    def end(self, status: str, summary: Mapping[str, float | str], files: Sequence[Path]) -> None:
        """Summary, pictures and files; returns when they have arrived, or offline when they are on the disk."""
        self._run.summary.update(dict(summary))
        for file in files:
            if file.suffix in WRITTEN_AT_ONCE:
                self._run.summary[file.stem] = self._module.Image(str(file))
            else:
                # a link to what is soon gone would be saved otherwise
                kept = shutil.copy(file, self._run.dir)
                self._run.save(str(kept), base_path=self._run.dir, policy="now")
        self._run.finish(exit_code=EXIT_CODES.get(status, 1))

    def close(self) -> None:
        """Let go of a run that did not end: it can be begun again, in this process too."""
        if self._run is not None:
            self._run.finish(exit_code=1)


class TrackioSink:
    """A run of trackio, which knows runs by their names and one at a time in each context."""

    keeps_at_once = False

    def __init__(self, module: Any) -> None:
        self._module = module
        self._context = Context()
        self._run: Any = None
        self._last_step = -1

    def begin(self, run: RunInfo) -> None:
        """Make the run, or go on with it."""
        self._run = self._quietly(
            self._module.init,
            project=run.project,
            name=f"{run.name} · {run.id}".replace("/", "-"),
            group=run.experiment_id,
            config={**run.config, "kind": run.kind, "tags": run.tags, "notes": run.notes},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        # the step that it would take next: of a run that it knew, the one after its last
        self._last_step = int(getattr(self._run, "_next_step", 0)) - 1

    def log(self, epoch: int, at: datetime, values: Mapping[str, float]) -> None:
        """Numbers at the epoch; those that it has it does not get again."""
        del at
        if epoch > self._last_step:
            self._quietly(self._run.log, dict(values), step=epoch)
            self._last_step = epoch

    def end(self, status: str, summary: Mapping[str, float | str], files: Sequence[Path]) -> None:
        """The numbers of the end and the pictures, at the last epoch; then whatever waits is written."""
        numbers: dict[str, Any] = {"finished": status == SUCCEEDED, **summary}
        for file in files:
            if file.suffix in WRITTEN_AT_ONCE:
                numbers[file.stem] = self._module.Image(str(file))
        self._quietly(self._run.log, numbers, step=max(self._last_step, 0))
        self._quietly(self._run.finish)

    def _quietly(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """In the context of this run, and without what trackio prints among a command's results."""
        with redirect_stdout(io.StringIO()):
            return self._context.run(call, *args, **kwargs)
