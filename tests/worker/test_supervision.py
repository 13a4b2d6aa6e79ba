"""When an attempt is over, and how: what the trainer says is written in the test, the ledger remembers it in memory."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.services.lifecycle import Intent, Lease
from app.settings import Settings
from lab_models.training.protocol import (
    Checkpointed,
    Completed,
    Failed,
    Progress,
    SavedCheckpoint,
    Started,
)
from worker.attempt import Supervision
from worker.endings import Cancelled, Crashed, Left
from worker.limits import TimeLimit
from worker.trainer import Exited

pytestmark = pytest.mark.sqlite  # no database at all

COMPLETED = Completed(stop_reason="all_epochs", best_epoch=1, best_val={}, test={}, artifacts=())
FAILED = Failed(code="diverged", message="too fast")
STOPPED = Checkpointed(
    checkpoint=SavedCheckpoint(path="c", sha256="0" * 64, size_bytes=1, epoch=0, step=3),
    stopped=True,
)


class ScriptedTrainer:
    """Says one thing after the other; a callable is done instead of said. What it is told is in `heard`."""

    def __init__(self, script: Iterable[Any]) -> None:
        self._script = iter(script)
        self.heard: list[str] = []

    def next_event(self, timeout: float) -> Any:
        event = next(self._script, None)
        return event() if callable(event) else event

    def stop(self) -> None:
        self.heard.append("stop")

    def kill(self) -> None:
        self.heard.append("kill")


class LedgerInMemory:
    """Remembers what it was told, and says what people want of the run."""

    lease = Lease("run_1", 1, 1, "tester")

    def __init__(self) -> None:
        self.asked = Intent.NOTHING
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.written.append(name)

    def keep_lease(self) -> None:
        """Not worth remembering."""


class Scene:
    def __init__(self, folder: Path, **overrides: Any) -> None:
        settings = Settings(home=folder, _env_file=None, **overrides)
        self.stopping = False
        self.spares = 0
        spare = SimpleNamespace(prepare=self._prepare)
        slot = SimpleNamespace(
            settings=settings, stopping=lambda: self.stopping, spare=spare, keeps_spare=True
        )
        self.slot = slot
        self.ledger = LedgerInMemory()
        self._supervision = Supervision(slot, self.ledger)  # type: ignore[arg-type]

    def watch(self, *script: Any, limit: TimeLimit | None = None) -> tuple[Any, list[str]]:
        trainer = ScriptedTrainer(script)
        ending = self._supervision.watch(trainer, limit or TimeLimit(0.0, 0.0))  # type: ignore[arg-type]
        return ending, trainer.heard

    def asks(self, intent: Intent) -> Callable[[], None]:
        return lambda: setattr(self.ledger, "asked", intent)

    def stop_worker(self) -> None:
        self.stopping = True

    def _prepare(self) -> None:
        self.spares += 1


def step(number: int) -> Progress:
    return Progress(epoch=1, step=number, num_steps=9)


@pytest.mark.parametrize("last_word", [COMPLETED, FAILED], ids=["completed", "failed"])
def test_a_trainer_ends_the_attempt_by_its_last_word(last_word: Any, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert scene.watch(Started(environment={}), step(1), step(2), last_word) == (last_word, [])
    assert scene.ledger.written == ["started", "first_step", "progress", "progress"]
    assert scene.spares == 1, "the next trainer warms up once this one is at work"


def test_none_is_warmed_up_where_a_card_lets_nobody_in_beside_the_one_that_trains(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    scene.slot.keeps_spare = False
    scene.watch(step(1), COMPLETED)
    assert scene.spares == 0


@pytest.mark.parametrize(
    ("status", "how"), [(-9, "signal 9"), (3, "exit status 3"), (0, "exit status 0")]
)
def test_one_that_leaves_without_a_word_has_crashed(status: int, how: str, tmp_path: Path) -> None:
    ending, heard = Scene(tmp_path).watch(step(1), Exited(status))
    assert (ending, heard) == (Crashed(f"the trainer ended with {how}"), [])


def test_a_cancelled_run_is_ended_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    assert scene.watch(step(1), scene.asks(Intent.CANCEL), step(2)) == (Cancelled(), ["kill"])


def test_a_run_to_be_paused_saves_itself_and_leaves(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    ending = scene.watch(step(1), scene.asks(Intent.PAUSE), step(2), STOPPED)
    assert ending == (Left(), ["stop"]), "it is asked once, and leaves by itself"
    assert scene.ledger.written[-1] == "checkpoint"


def test_so_does_one_whose_worker_stops_and_who_has_nothing_to_save_may_just_leave(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path)
    assert scene.watch(scene.stop_worker, Exited(0)) == (Left(), ["stop"])


def test_who_does_not_leave_in_time_is_ended(tmp_path: Path) -> None:
    scene = Scene(tmp_path, stop_grace_seconds=1e-9)
    assert scene.watch(scene.stop_worker, step(1), step(2)) == (Left(), ["stop", "kill"])


def test_a_run_that_has_had_its_time_fails(tmp_path: Path) -> None:
    limit = TimeLimit(10.0, 10.0)
    ending, heard = Scene(tmp_path).watch(step(1), limit=limit)
    assert (ending.code, heard) == ("time_limit", ["kill"])


def test_a_trainer_that_stands_still_is_ended_and_counts_as_crashed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, stall_seconds=0.001)
    ending, heard = scene.watch(step(1), lambda: time.sleep(0.01))
    assert isinstance(ending, Crashed)
    assert "made no progress" in ending.message
    assert heard == ["kill"]
