"""Studies over HTTP: started, read, extended, cancelled, retried and deleted as one."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.bodies import read_body
from app.api.deps import Body, IdempotencyKey, Reading, StudyToChange, StudyToPrepare, TheCaller, TheDatabase, TheDoorbell, TheSettings, TheStudy, Writing
from app.api.study_records import StudyDryRun, StudyPage, StudyRecord, study_dry_run, study_record, study_row
from app.services import deletion, limits, studies, study_lists, study_steering
from app.services.experiments import Stored
from app.services.keys import Role
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
    owner: str | None = Field(default=None, max_length=100)
    """Only what belongs to this owner."""
    limit: int = Field(default=50, ge=1, le=500)
    """Most rows of one page."""
    cursor: str | None = Field(default=None, max_length=500)
    """`next_cursor` of the page before."""


@router.post(
    "",
    status_code=201,
    response_model=StudyRecord,
    responses={200: {"model": StudyDryRun | StudyRecord, "description": "With `dry_run`: what it would be; else what the Idempotency-Key had made"}},
)
def create_study(
    database: TheDatabase,
    body: Body,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    background: BackgroundTasks,
    response: Response,
    dry_run: Annotated[bool, Query(description="Check and price the study, store nothing")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Store a study with all its experiments and queue their runs, all or nothing: a recipe's, a list of specs, or a spec and what to vary."""
    submitted, request = read_body(body, read_study_request)
    limits.refuse_wishes(caller, request.labels, request.priority, settings)
    with database.reading() as session:
        study = studies.earlier(session, idempotency_key, submitted, caller.owner, lock=False) if idempotency_key is not None and not dry_run else None
        prepared = studies.prepare_study(session, request, submitted, settings, caller) if study is None else None
    if dry_run and prepared is not None:
        response.status_code = 200
        return Response(study_dry_run(prepared).model_dump_json(), media_type="application/json")
    if study is not None:
        stored = Stored(study.id, 0, is_new=False)
    else:
        assert prepared is not None
        prepared = studies.take_files(prepared, settings)
        with database.writing() as session:
            stored = studies.store(session, prepared, settings, idempotency_key)
        background.add_task(doorbell.ring, stored.num_queued)
    if not stored.is_new:
        response.status_code = 200
    response.headers["Location"] = f"/studies/{stored.id}"
    with database.reading() as session:
        return study_record(studies.whole(session, studies.get(session, stored.id)))


@router.get("")
def list_studies(session: Reading, caller: TheCaller, query: Annotated[StudyListQuery, Query()]) -> StudyPage:
    """Studies, the newest first."""
    owner = query.owner if caller.role is not Role.SUBMIT else caller.owner
    rows, cursor = study_lists.page(session, query.recipe, owner, (query.limit, query.cursor))
    return StudyPage(data=[study_row(outline) for outline in study_lists.outlines(session, rows)], has_more=cursor is not None, next_cursor=cursor)


@router.get("/{study_id}")
def read_study(session: Reading, study: TheStudy) -> StudyRecord:
    """Status, progress, cells with their experiments, links to table, verdicts, pictures and report."""
    return study_record(studies.whole(session, study))


@router.post("/{study_id}/extend")
def extend_study(
    database: TheDatabase, body: Body, study: StudyToPrepare, settings: TheSettings, doorbell: TheDoorbell, background: BackgroundTasks
) -> StudyRecord:
    """Add replicates to every cell, under the next seeds; what is there stays."""
    _, extension = read_body(body, lambda document: validate(Extension, document))
    with database.reading() as session:
        prepared = studies.prepare_extension(session, study, extension.seeds, settings)
    prepared = studies.take_files(prepared, settings)
    with database.writing() as session:
        background.add_task(doorbell.ring, studies.extend(session, studies.get(session, study.id), prepared, settings))
    with database.reading() as session:
        return study_record(studies.whole(session, studies.get(session, study.id)))


@router.post("/{study_id}/cancel")
def cancel_study(session: Writing, caller: TheCaller, study: StudyToChange) -> StudyRecord:
    """Cancel every unfinished run of every cell."""
    study_steering.cancel(session, study, caller.owner)
    return study_record(studies.whole(session, study))


@router.post("/{study_id}/pause")
def pause_study(session: Writing, caller: TheCaller, study: StudyToChange) -> StudyRecord:
    """Pause every unfinished run of every cell."""
    study_steering.pause(session, study, caller.owner)
    return study_record(studies.whole(session, study))


@router.post("/{study_id}/resume")
def resume_study(session: Writing, caller: TheCaller, study: StudyToChange, doorbell: TheDoorbell, background: BackgroundTasks) -> StudyRecord:
    """Queue every paused run again; each goes on from where it was."""
    background.add_task(doorbell.ring, study_steering.resume(session, study, caller.owner))
    return study_record(studies.whole(session, study))


@router.post("/{study_id}/retry")
def retry_study(
    session: Writing, caller: TheCaller, study: StudyToChange, settings: TheSettings, doorbell: TheDoorbell, background: BackgroundTasks
) -> StudyRecord:
    """Queue every failed or cancelled run again, teachers first; what has succeeded stays."""
    owner = study.owner
    background.add_task(doorbell.ring, study_steering.retry(session, study, caller.owner))
    limits.refuse_full_queue(session, owner, settings)
    return study_record(studies.whole(session, study))


@router.delete("/{study_id}", status_code=204)
def delete_study(session: Writing, study: StudyToChange, settings: TheSettings, background: BackgroundTasks) -> None:
    """Remove the study, its experiments and their files; 409 while a run is unfinished or an experiment elsewhere builds on one."""
    removed = studies.delete(session, study)
    background.add_task(deletion.remove_folders, settings.runs_folder, removed)
