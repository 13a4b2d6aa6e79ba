"""Studies over HTTP: started, read, extended, cancelled, retried and deleted as one."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from app.api.http import passes
from app.api.http.bodies import read_body
from app.api.http.deps import (
    Body,
    IdempotencyKey,
    Reading,
    StudyToChange,
    StudyToPrepare,
    TheAfterwards,
    TheCaller,
    TheDoorbell,
    TheSettings,
    TheSpeeds,
    TheStudy,
    Writing,
)
from app.api.studies.schemas import StudyDryRun, StudyPage, StudyRecord
from app.api.studies.study_records import study_dry_run, study_record, study_row
from app.services import lifecycle
from app.services.datasets.obstacles import obstacles
from app.services.experiments import deletion
from app.services.owners import limits
from app.services.studies import (
    studies,
    study_extensions,
    study_lists,
    study_steering,
    study_submissions,
)
from app.services.studies.study_extensions import PreparedExtension
from app.services.studies.study_submissions import PreparedStudy
from app.services.submitting.drafts import Stored
from app.services.submitting.idempotency import earlier
from app.storage.files.places import file_store
from app.storage.tables import Study
from lab_models.common.validation import validate
from lab_models.specs import Frozen
from lab_models.specs.request import many_seeds
from lab_models.studies.request import read_study_request

router = passes.router(prefix="/studies", tags=["studies"])


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
    responses={
        200: {
            "model": StudyDryRun | StudyRecord,
            "description": "With `dry_run`: what it would be; else what the Idempotency-Key had made",
        }
    },
)
def create_study(
    session: Reading,
    body: Body,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    speeds: TheSpeeds,
    afterwards: TheAfterwards,
    dry_run: Annotated[bool, Query(description="Check and price the study, store nothing")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Store a study with all its experiments and queue their runs, all or nothing: a recipe's, a list of specs, or a
    spec and what to vary.
    """
    submitted, request = read_body(body, read_study_request, settings)
    limits.refuse_wishes(caller, request.labels, request.priority, settings)
    key = None if dry_run else idempotency_key
    there = earlier(session, Study, key, submitted, caller.owner, lock=False)
    if there is not None:
        return passes.Read(lambda session: _created(session, Stored(there.id, 0, is_new=False)))
    prepared = study_submissions.prepare_study(session, request, submitted, settings, caller)
    many = many_seeds(submitted)
    warned = [
        *([] if many is None else [many]),
        *lifecycle.absence_of(session, request.device),
        *obstacles(settings, prepared.datasets.values()),
    ]
    if dry_run:
        return passes.answer(study_dry_run(prepared, speeds(session), warned))

    def take_files() -> passes.Write:
        taken = prepared.with_files(file_store(settings))
        return passes.Write(
            lambda session: write(session, taken),
            undo=lambda: deletion.remove_files(file_store(settings), taken.taken),
        )

    def write(session: Session, taken: PreparedStudy) -> passes.Read:
        stored = study_submissions.store(session, taken, settings, key)
        afterwards.soon(doorbell.ring, stored.num_queued)
        return passes.Read(lambda session: _created(session, stored, warned))

    return passes.Compute(take_files, lane="files")


def _created(session: Session, stored: Stored, warned: Sequence[str] = ()) -> Response:
    record = study_record(studies.whole(session, studies.get(session, stored.id)), warned)
    return passes.answer(
        record, 201 if stored.is_new else 200, {"Location": f"/studies/{stored.id}"}
    )


@router.get("")
def list_studies(
    session: Reading, caller: TheCaller, query: Annotated[StudyListQuery, Query()]
) -> StudyPage:
    """Studies, the newest first."""
    # both must hold
    owners = [
        name
        for name in (query.owner, None if caller.sees_all else caller.owner)
        if name is not None
    ]
    rows, cursor = study_lists.page(session, query.recipe, owners, (query.limit, query.cursor))
    return StudyPage(
        data=[study_row(outline) for outline in study_lists.outlines(session, rows)],
        has_more=cursor is not None,
        next_cursor=cursor,
    )


@router.get("/{study_id}")
def read_study(session: Reading, study: TheStudy) -> StudyRecord:
    """Status, progress, cells with their experiments, links to table, verdicts, pictures and report."""
    return study_record(studies.whole(session, study))


@router.post("/{study_id}/extend", response_model=StudyRecord)
def extend_study(
    session: Reading,
    body: Body,
    study: StudyToPrepare,
    settings: TheSettings,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
) -> Any:
    """Add replicates to every cell, under the next seeds; what is there stays."""
    _, extension = read_body(body, lambda document: validate(Extension, document), settings)
    study_id, prepared = (
        study.id,
        study_extensions.prepare_extension(session, study, extension.seeds, settings),
    )

    def take_files() -> passes.Write:
        taken = prepared.with_files(file_store(settings))
        return passes.Write(
            lambda session: write(session, taken),
            undo=lambda: deletion.remove_files(file_store(settings), taken.taken),
        )

    def write(session: Session, taken: PreparedExtension) -> passes.Read:
        afterwards.soon(
            doorbell.ring,
            study_extensions.extend(session, studies.get(session, study_id), taken, settings),
        )
        return passes.Read(
            lambda session: study_record(studies.whole(session, studies.get(session, study_id)))
        )

    return passes.Compute(take_files, lane="files")


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
def resume_study(
    session: Writing,
    caller: TheCaller,
    study: StudyToChange,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
) -> StudyRecord:
    """Queue every paused run again; each goes on from where it was."""
    afterwards.soon(doorbell.ring, study_steering.resume(session, study, caller.owner))
    return study_record(studies.whole(session, study))


@router.post("/{study_id}/retry")
def retry_study(
    session: Writing,
    caller: TheCaller,
    study: StudyToChange,
    settings: TheSettings,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
) -> StudyRecord:
    """Queue every failed or cancelled run again, teachers first; what has succeeded stays."""
    owner = study.owner
    afterwards.soon(doorbell.ring, study_steering.retry(session, study, caller.owner))
    limits.refuse_full_queue(session, owner, settings)
    return study_record(studies.whole(session, study))


@router.delete("/{study_id}", status_code=204)
def delete_study(
    session: Writing, study: StudyToChange, settings: TheSettings, afterwards: TheAfterwards
) -> None:
    """Remove the study, its experiments and their files; 409 while a run is unfinished or an experiment elsewhere
    builds on one.
    """
    removed = studies.delete(session, study)
    afterwards.later(deletion.remove_files, file_store(settings), removed)
