"""What people watch while the command line trains, on standard error: a bar for each run, and above them a line for
each epoch, which stays.
"""

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from lab_models.training.epoch_lines import epoch_line
from lab_models.training.protocol import EpochCompleted, Progress


def make_bar() -> Bar:
    """A bar without lines."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed:.1f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    return Bar(*columns, console=Console(stderr=True))


class RunLine:
    """One run's bar. `owner` stands before each of its epochs, where there are several runs."""

    def __init__(self, bar: Bar, title: str, planned_epochs: int, owner: str = "") -> None:
        self._bar = bar
        self._owner = owner
        self._epochs = planned_epochs
        self._task = bar.add_task(title, total=planned_epochs, status="")

    def started(self, resumed_from: tuple[int, int] | None) -> None:
        """From the beginning, or after so many epochs and steps."""
        self._bar.update(
            self._task,
            completed=resumed_from[0] if resumed_from else 0,
            status="resumed" if resumed_from else "",
        )

    def progress(self, event: Progress) -> None:
        """Within an epoch."""
        done = event.epoch - 1 + event.step / event.num_steps
        self._bar.update(self._task, completed=done)

    def epoch(self, event: EpochCompleted) -> None:
        """An epoch is over."""
        val = event.metrics["val"]
        self._bar.update(
            self._task,
            completed=event.epoch,
            status=f"val loss {val['loss']:.4f}, val accuracy {100 * val['accuracy']:.2f} %",
        )
        is_best = event.best_epoch == event.epoch
        self.say(
            epoch_line(
                event.epoch, self._epochs, event.metrics, is_best=is_best, before=self._owner
            )
        )

    def say(self, sentence: str) -> None:
        """Above the bar, in one line however wide the terminal is."""
        self._bar.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
