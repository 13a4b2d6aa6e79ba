"""Studies over HTTP: started, read, extended, cancelled, retried and deleted as one."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.bodies import read_body
from app.api.deps import Body, Reading, StudyToChange, TheDoorbell, TheSettings, TheStudy, Writing
from app.api.schemas import Answer
from app.services import deletion, studies, study_lists
from app.services.studies import PreparedStudy, StudyCell, WholeStudy
from app.services.study_lists import StudyOutline
from app.states import RunStatus
from app.tables import Study
from lab_models.recipes.recipe import Factor
from lab_models.specs import Frozen
from lab_models.studies.request import read_study_request
from lab_models.validation import validate

router = APIRouter(prefix="/studies", tags=["studies"])


class Extension(Frozen):
    """How much a study grows."""

    seeds: int = Field(default=1, ge=1, le=1000)
    """How many replicates are added to each cell."""


class StudyListQuery(BaseModel):
    """Filters of the list."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    recipe: str | None = Field(default=None, max_length=100)
    """Only studies of this recipe."""
    limit: int = Field(default=50, ge=1, le=500)
    """Most rows of one page."""
    cursor: str | None = Field(default=None, max_length=500)
    """`next_cursor` of the page before."""


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
    experiment_id: str
    status: RunStatus
    num_runs: int
    num_succeeded: int
    num_reused: int
    links: dict[str, str]


class StudyRow(Answer):
    """A study in a list."""

    id: str
    name: str
    labels: dict[str, str]
    recipe: str | None
    scale: str | None
    status: RunStatus
    is_terminal: bool
    created_at: datetime
    num_cells: int
    progress: StudyProgress
    links: dict[str, str]


class StudyRecord(StudyRow):
    """Everything a poller needs."""

    question: str
    reproduces: str
    status_message: str
    estimated_finish_at: datetime | None
    seeds: list[int]
    factors: list[str]
    cells: list[CellAnswer]
    notes: list[str]
    submitted: dict[str, Any]
    """The body as it was sent."""
    errors: list[dict[str, Any]]
    """The failed runs' errors, with cell, run and seed."""


class StudyPage(Answer):
    """A page of studies, the newest first."""

    data: list[StudyRow]
    has_more: bool
    next_cursor: str | None


class PlannedCell(Answer):
    """A cell before it is written."""

    key: str
    title: str
    seeds: list[int]
    parameters: int
    macs_per_sample: int
    seconds: float
    """Nominal seconds of one run on two CPU cores."""
    spec: dict[str, Any]


class StudyDryRun(Answer):
    """What a study would be; nothing was stored."""

    valid: bool = True
    title: str
    num_runs: int
    seconds: float
    """Nominal seconds of all runs on two CPU cores, one after the other; equal finished runs would cost nothing."""
    cells: list[PlannedCell]
    contrasts: list[dict[str, Any]]


@router.post(
    "",
    status_code=201,
    response_model=StudyRecord,
    responses={200: {"model": StudyDryRun, "description": "With `dry_run`: what it would be; or, with a known Idempotency-Key, the study it made"}},
)
def create_study(
    session: Writing,
    body: Body,
    settings: TheSettings,
    doorbell: TheDoorbell,
    background: BackgroundTasks,
    response: Response,
    dry_run: Annotated[bool, Query(description="Check and price the study, store nothing")] = False,
    idempotency_key: Annotated[str | None, Header(max_length=200, description="Makes a repeated POST return the first study")] = None,
) -> Any:
    """Store a study with all its experiments and queue their runs, all or nothing: a recipe's, a list of specs, or a spec and what to vary."""
    submitted, request = read_body(body, read_study_request)
    study = studies.earlier(session, idempotency_key, submitted) if idempotency_key is not None and not dry_run else None
    if study is not None:
        response.status_code = 200
    else:
        prepared = studies.prepare_study(session, request, settings)
        if dry_run:
            response.status_code = 200
            return Response(_dry_run(prepared).model_dump_json(), media_type="application/json")
        study = studies.create(session, prepared, submitted, settings, idempotency_key)
        background.add_task(doorbell.ring, prepared.num_runs)
    response.headers["Location"] = f"/studies/{study.id}"
    session.flush()
    return _record(studies.whole(session, study))


@router.get("")
def list_studies(session: Reading, query: Annotated[StudyListQuery, Query()]) -> StudyPage:
    """Studies, the newest first."""
    rows, cursor = study_lists.page(session, query.recipe, query.limit, query.cursor)
    return StudyPage(data=[_row(outline) for outline in study_lists.outlines(session, rows)], has_more=cursor is not None, next_cursor=cursor)


@router.get("/{study_id}")
def read_study(session: Reading, study: TheStudy) -> StudyRecord:
    """Status, progress, cells with their experiments, links to table, verdicts, pictures and report."""
    return _record(studies.whole(session, study))


@router.post("/{study_id}/extend")
def extend_study(session: Writing, study: StudyToChange, body: Body, settings: TheSettings, doorbell: TheDoorbell, background: BackgroundTasks) -> StudyRecord:
    """Add replicates to every cell, under the next seeds; what is there stays."""
    _, extension = read_body(body, lambda document: validate(Extension, document))
    added = studies.extend(session, study, extension.seeds, settings)
    background.add_task(doorbell.ring, added)
    return _record(studies.whole(session, study))


@router.post("/{study_id}/cancel")
def cancel_study(session: Writing, study: StudyToChange) -> StudyRecord:
    """Cancel every unfinished run of every cell."""
    studies.cancel(session, study)
    return _record(studies.whole(session, study))


@router.post("/{study_id}/retry")
def retry_study(session: Writing, study: StudyToChange, doorbell: TheDoorbell, background: BackgroundTasks) -> StudyRecord:
    """Queue every failed or cancelled run again, teachers first; what has succeeded stays."""
    queued = studies.retry(session, study)
    background.add_task(doorbell.ring, queued)
    return _record(studies.whole(session, study))


@router.delete("/{study_id}", status_code=204)
def delete_study(session: Writing, study: StudyToChange, settings: TheSettings, background: BackgroundTasks) -> None:
    """Remove the study, its experiments and their files; 409 while a run is unfinished or an experiment elsewhere builds on one."""
    removed = studies.delete(session, study)
    background.add_task(deletion.remove_folders, settings.runs_folder, removed)


def study_links(study: Study, pictures: "tuple[str, ...]" = ()) -> dict[str, str]:
    """Where a study's table, verdicts, pictures and report lie."""
    base = f"/studies/{study.id}"
    drawn = {picture: f"{base}/{picture.replace('_', '-')}.png" for picture in pictures}
    read = {"self": base, "table": f"{base}/table", "verdicts": f"{base}/verdicts", "report": f"{base}/report.html"}
    return {**read, **drawn, **{verb: f"{base}/{verb}" for verb in ("extend", "cancel", "retry")}}


def _record(whole: WholeStudy) -> StudyRecord:
    design = whole.design
    return StudyRecord(
        **dict(_row(whole.outline)),
        question=design.question,
        reproduces=design.reproduces,
        status_message=_sentence(whole),
        estimated_finish_at=whole.estimated_finish_at,
        seeds=list(design.seeds),
        factors=list(design.factors),
        cells=[_cell(cell) for cell in whole.cells],
        notes=list(design.notes),
        submitted=whole.study.submitted,
        errors=[
            {"cell": cell.cell.key, "run_id": run.id, "seed": run.seed, **{name: run.error.get(name) for name in ("code", "message", "hint")}}
            for cell in whole.cells
            for run in cell.runs
            if run.error is not None
        ],
    )


def _row(outline: StudyOutline) -> StudyRow:
    study = outline.study
    return StudyRow(
        id=study.id,
        name=study.name,
        labels=study.labels,
        recipe=study.recipe,
        scale=study.scale,
        status=outline.status,
        is_terminal=outline.status.is_terminal,
        created_at=study.created_at,
        num_cells=outline.num_cells,
        progress=StudyProgress(fraction=round(outline.fraction, 4), num_runs=outline.num_runs, num_reused=outline.num_reused, runs=dict(outline.counts)),
        links=study_links(study, outline.pictures),
    )


def _cell(cell: StudyCell) -> CellAnswer:
    return CellAnswer(
        key=cell.cell.key,
        title=cell.cell.title,
        factors=cell.cell.factors,
        experiment_id=cell.experiment.id,
        status=cell.status,
        num_runs=len(cell.runs),
        num_succeeded=sum(run.status == RunStatus.SUCCEEDED for run in cell.runs),
        num_reused=sum(run.reused_from is not None for run in cell.runs),
        links={"experiment": f"/experiments/{cell.experiment.id}", "curves": f"/experiments/{cell.experiment.id}/curves.png"},
    )


def _sentence(whole: WholeStudy) -> str:
    counts, total = whole.counts, len(whole.runs)
    reused = sum(run.reused_from is not None for run in whole.runs)
    parts = [f"{counts[RunStatus.SUCCEEDED]} of {total} runs have succeeded"]
    if reused:
        parts[0] += f", {reused} of them taken over from equal runs"
    parts += [
        f"{counts[status]} {status}"
        for status in (RunStatus.RUNNING, RunStatus.QUEUED, RunStatus.PAUSED, RunStatus.FAILED, RunStatus.CANCELLED)
        if counts[status]
    ]
    failed = f" POST {study_links(whole.study)['retry']} tries the others again." if whole.status.is_terminal and counts[RunStatus.SUCCEEDED] < total else ""
    return "; ".join(parts) + "." + failed


def _dry_run(prepared: PreparedStudy) -> StudyDryRun:
    design = prepared.design
    return StudyDryRun(
        title=design.title,
        num_runs=prepared.num_runs,
        seconds=round(prepared.total_seconds, 1),
        cells=[
            PlannedCell(
                key=cell.key,
                title=cell.title,
                seeds=list(design.seeds_of(cell)),
                parameters=(cost := prepared.costs[cell.key]).parameters,
                macs_per_sample=cost.macs_per_sample,
                seconds=cost.seconds,
                spec=prepared.cells[cell.key].plan.spec.model_dump(mode="json"),
            )
            for cell in design.cells
        ],
        contrasts=[contrast.model_dump() for contrast in design.contrasts],
    )
