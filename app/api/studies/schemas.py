"""What the API answers about studies."""

from datetime import datetime
from typing import Any

from app.api.schemas import Answer
from app.storage.states import RunStatus
from lab_models.recipes.recipe import Factor


class StudyProgress(Answer):
    """How far it is: `fraction` of the work, cells weighed by their cost; runs by status."""

    fraction: float
    num_runs: int
    num_reused: int
    """Runs that took over the results of an equal one."""
    runs: dict[str, int]


class CellAnswer(Answer):
    """A cell and its experiment."""

    key: str
    title: str
    factors: dict[str, Factor]
    same_as: str | None
    """Key of the earlier cell that trains the same, whose experiment and runs these are; null: they are its own."""
    experiment_id: str
    status: RunStatus
    num_runs: int
    num_succeeded: int
    num_reused: int
    links: dict[str, str]


class SampleAnswer(Answer):
    """How the values of factors were drawn. The cells hold the values."""

    points: int | None
    """Points that were drawn of several factors together; null: each was drawn alone."""
    seed: int
    factors: dict[str, str]
    """What each factor was drawn from, in words."""


class StudyRow(Answer):
    """A study in a list."""

    id: str
    name: str
    status: RunStatus
    is_terminal: bool
    progress: StudyProgress
    owner: str
    labels: dict[str, str]
    recipe: str | None
    scale: str | None
    created_at: datetime
    num_cells: int
    links: dict[str, str]


class StudyRecord(Answer):
    """Everything a poller needs: first how it stands, then what it is."""

    id: str
    name: str
    status: RunStatus
    status_message: str
    warnings: list[str] = []
    """In the answer to what is sent, as in its dry run: what will be in its way. Empty when it is read later."""
    is_terminal: bool
    progress: StudyProgress
    created_at: datetime
    estimated_finish_at: datetime | None
    owner: str
    labels: dict[str, str]
    recipe: str | None
    scale: str | None
    question: str
    reproduces: str
    seeds: list[int]
    final: bool
    """Whether it is decided once, when all seeds have ended, and takes no more of them."""
    factors: list[str]
    sample: SampleAnswer | None
    """null: nothing was drawn."""
    notes: list[str]
    num_cells: int
    links: dict[str, str]
    errors: list[dict[str, Any]]
    """The failed runs' errors, with cell, run and seed."""
    cells: list[CellAnswer]
    submitted: dict[str, Any]
    """The body as it was sent."""


class StudyPage(Answer):
    """A page of studies, the newest first."""

    data: list[StudyRow]
    has_more: bool
    next_cursor: str | None


class PlannedCell(Answer):
    """A cell before it is written."""

    key: str
    title: str
    factors: dict[str, Factor]
    same_as: str | None
    """Key of the earlier cell that trains the same: nothing is trained for this one, and it costs nothing."""
    seeds: list[int]
    parameters: int
    macs_per_sample: int
    seconds: float
    """What one run takes here."""
    nominal_seconds: float
    """What it would take on two CPU cores of the machine of docs/results.md."""
    spec: dict[str, Any]


class StudyDryRun(Answer):
    """What a study would be; nothing was stored."""

    valid: bool = True
    title: str
    num_runs: int
    num_equal: int
    """Of these, runs that equal finished ones now: they would be taken over, and cost nothing."""
    seconds: float
    """What all runs take here, one after the other, as `based_on` says, also those that would be taken over."""
    nominal_seconds: float
    """The same on two CPU cores of the machine of docs/results.md."""
    based_on: str
    """On what `seconds` rests: runs like them that finished here lately; nominal, before there are three."""
    sample: SampleAnswer | None
    """null: nothing is drawn."""
    cells: list[PlannedCell]
    contrasts: list[dict[str, Any]]
    notes: list[str]
    warnings: list[str]
    """What will be in its way, such as data that is not here yet or a disk that is nearly full."""
