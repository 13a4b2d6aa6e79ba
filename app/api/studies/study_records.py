"""What the API answers about studies, and how rows become it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.api.schemas import Answer
from app.services.experiments.speeds import Speeds
from app.services.studies.studies import StudyCell, WholeStudy
from app.services.studies.study_costs import study_cost
from app.services.studies.study_lists import StudyOutline
from app.services.studies.study_submissions import PreparedStudy
from app.storage.states import RunStatus
from app.storage.tables import Study
from lab_models.recipes.recipe import Factor
from lab_models.studies.design import Design


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
    seconds: float
    """What all runs take here, one after the other, as `based_on` says; equal finished runs would cost nothing."""
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


def study_links(study: Study, pictures: "tuple[str, ...]" = ()) -> dict[str, str]:
    """Where a study's table, verdicts, pictures and report lie."""
    base = f"/studies/{study.id}"
    drawn = {picture: f"{base}/{picture.replace('_', '-')}.png" for picture in pictures}
    read = {
        "self": base,
        "table": f"{base}/table",
        "verdicts": f"{base}/verdicts",
        "report": f"{base}/report.html",
    }
    return {
        **read,
        **drawn,
        **{verb: f"{base}/{verb}" for verb in ("extend", "cancel", "pause", "resume", "retry")},
    }


def study_record(whole: WholeStudy, warned: Sequence[str] = ()) -> StudyRecord:
    """The record of `GET /studies/{id}`; what was warned of is said once, to whoever sends it."""
    design = whole.design
    return StudyRecord(
        **dict(study_row(whole.outline)),
        question=design.question,
        reproduces=design.reproduces,
        status_message=_sentence(whole),
        estimated_finish_at=whole.estimated_finish_at,
        seeds=list(design.seeds),
        factors=list(design.factors),
        sample=_sample(design),
        cells=[_cell(cell) for cell in whole.cells],
        notes=list(design.notes),
        warnings=list(warned),
        submitted=whole.study.submitted,
        errors=[
            {
                "cell": cell.cell.key,
                "run_id": run.id,
                "seed": run.seed,
                **{name: run.error.get(name) for name in ("code", "message", "hint")},
            }
            for cell in whole.own_cells
            for run in cell.runs
            if run.error is not None
        ],
    )


def study_row(outline: StudyOutline) -> StudyRow:
    """The slim form of a list."""
    study = outline.study
    return StudyRow(
        id=study.id,
        owner=study.owner,
        name=study.name,
        labels=study.labels,
        recipe=study.recipe,
        scale=study.scale,
        status=outline.status,
        is_terminal=outline.status.is_terminal,
        created_at=study.created_at,
        num_cells=outline.num_cells,
        progress=StudyProgress(
            fraction=round(outline.fraction, 4),
            num_runs=outline.num_runs,
            num_reused=outline.num_reused,
            runs=dict(outline.counts),
        ),
        links=study_links(study, outline.pictures),
    )


def _sample(design: Design) -> SampleAnswer | None:
    sample = design.sample
    if sample is None:
        return None
    words = {name: distribution.words for name, distribution in design.drawn.items()}
    return SampleAnswer(points=sample.points, seed=sample.seed, factors=words)


def _cell(cell: StudyCell) -> CellAnswer:
    return CellAnswer(
        key=cell.cell.key,
        title=cell.cell.title,
        factors=cell.cell.factors,
        same_as=cell.same_as,
        experiment_id=cell.experiment.id,
        status=cell.status,
        num_runs=len(cell.runs),
        num_succeeded=sum(run.status == RunStatus.SUCCEEDED for run in cell.runs),
        num_reused=sum(run.reused_from is not None for run in cell.runs),
        links={
            "experiment": f"/experiments/{cell.experiment.id}",
            "curves": f"/experiments/{cell.experiment.id}/curves.png",
        },
    )


def _sentence(whole: WholeStudy) -> str:
    counts, total = whole.counts, len(whole.runs)
    reused = sum(run.reused_from is not None for run in whole.runs)
    parts = [f"{counts[RunStatus.SUCCEEDED]} of {total} runs have succeeded"]
    if reused:
        parts[0] += f", {reused} of them taken over from equal runs"
    parts += [
        f"{counts[status]} {status}"
        for status in (
            RunStatus.RUNNING,
            RunStatus.QUEUED,
            RunStatus.PAUSED,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
        )
        if counts[status]
    ]
    failed = (
        f" POST {study_links(whole.study)['retry']} tries the others again."
        if whole.status.is_terminal and counts[RunStatus.SUCCEEDED] < total
        else ""
    )
    return "; ".join(parts) + "." + failed


def study_dry_run(prepared: PreparedStudy, lately: Speeds, warned: list[str]) -> StudyDryRun:
    """What `dry_run` answers."""
    design = prepared.design
    whole = study_cost(prepared, lately)
    return StudyDryRun(
        title=design.title,
        num_runs=prepared.num_runs,
        seconds=round(whole.seconds, 1),
        nominal_seconds=round(whole.nominal_seconds, 1),
        based_on=whole.based_on,
        sample=_sample(design),
        cells=[
            PlannedCell(
                key=cell.key,
                title=cell.title,
                factors=cell.factors,
                same_as=design.same_as.get(cell.key),
                seeds=list(design.seeds_of(cell)),
                parameters=(cost := prepared.costs[cell.key]).parameters,
                macs_per_sample=cost.macs_per_sample,
                seconds=round(lately.expected(cost.kind, cost.arch, cost.seconds).seconds, 1),
                nominal_seconds=cost.seconds,
                spec=prepared.cells[design.trained(cell.key)].plan.spec.model_dump(mode="json"),
            )
            for cell in design.cells
        ],
        contrasts=[contrast.model_dump() for contrast in design.contrasts],
        notes=list(design.notes),
        warnings=warned,
    )
