"""Experiments over HTTP."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request, Response
from sqlmodel import Session

from app.api.experiments import records, schemas
from app.api.experiments.dry_runs import DryRun, priced, warnings_of
from app.api.http import passes, tags
from app.api.http.bodies import read_body
from app.api.http.deps import (
    Body,
    ExperimentId,
    ExperimentToChange,
    IdempotencyKey,
    Reading,
    TheAfterwards,
    TheCaller,
    TheDatabase,
    TheDoorbell,
    TheLocalWorkers,
    TheSettings,
    TheSettledRecords,
    TheSpeeds,
    TheStanding,
    TheWatch,
    Writing,
)
from app.services.experiments import deletion, experiments, retrying
from app.services.experiments.settled import settled_state
from app.services.experiments.standing import LatestStanding
from app.services.experiments.visibility import visible_experiment, visible_whole
from app.services.experiments.wholes import whole
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.owners import limits
from app.services.submitting.again import prepare
from app.services.submitting.drafts import Stored
from app.services.submitting.idempotency import earlier
from app.services.submitting.submissions import store
from app.storage.files.places import file_store
from app.storage.states import RunStatus
from app.storage.tables import Experiment
from lab_models.studies.again import read_changed

router = passes.router(prefix="/experiments", tags=["experiments"])

LONGEST_WAIT_SECONDS = 60


@router.post(
    "",
    status_code=201,
    response_model=schemas.ExperimentRecord,
    responses={
        200: {
            "model": DryRun | schemas.ExperimentRecord,
            "description": "With `dry_run`: what it would be; else what the Idempotency-Key had made",
        }
    },
)
def create_experiment(
    session: Reading,
    body: Body,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    standing: TheStanding,
    speeds: TheSpeeds,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
    dry_run: Annotated[bool, Query(description="Check and price the spec, store nothing")] = False,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Store an experiment and queue one run per seed. Everything has a default: `{}` is a complete experiment.

    `{"like": "exp_…", "set": {"optimizer.learning_rate": 0.01}}` is that experiment once more with these fields
    changed.
    """
    sent, asked = read_body(body, read_changed, settings)
    key = None if dry_run else idempotency_key
    there = earlier(session, Experiment, key, sent, caller.owner, lock=False)
    if there is not None:
        # whatever has become of what it needs
        return passes.Read(
            lambda session: _created(
                session, Stored(there.id, 0, is_new=False), local_workers, standing
            )
        )
    prepared = prepare(session, asked, sent, settings, caller)
    if dry_run:
        return passes.answer(priced(session, prepared, settings, speeds))
    warned = warnings_of(session, prepared, settings)

    def write(session: Session) -> passes.Read:
        stored = store(session, prepared, settings, key)
        afterwards.soon(doorbell.ring, stored.num_queued)
        return passes.Read(
            lambda session: _created(session, stored, local_workers, standing, warned)
        )

    return passes.Write(write)


def _created(
    session: Session,
    stored: Stored,
    local_workers: LocalWorkers,
    standing: LatestStanding,
    warned: Sequence[str] = (),
) -> Response:
    made = whole(session, stored.id, look=standing.exactly)
    record = records.experiment_record(made, local_workers, warned)
    return passes.answer(
        record, 201 if stored.is_new else 200, {"Location": f"/experiments/{stored.id}"}
    )


@router.get("/{experiment_id}", response_model=schemas.ExperimentRecord)
async def read_experiment(
    database: TheDatabase,
    caller: TheCaller,
    watch: TheWatch,
    standing: TheStanding,
    local_workers: TheLocalWorkers,
    known: TheSettledRecords,
    request: Request,
    experiment_id: ExperimentId,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=LONGEST_WAIT_SECONDS,
            description="Seconds to hold the answer until the status changes; 0 answers at once",
        ),
    ] = 0.0,
) -> Any:
    """Everything a poller needs: status, progress, runs, results, links. With `wait` it answers when the status
    changes, or the time is up.
    """

    def look() -> Response:
        with database.looking() as session:
            asks_again = "if-none-match" in request.headers
            settled = settled_state(session, experiment_id) if asks_again else None
            if settled is not None and caller.may_see(settled[0]):
                tag = known.tag(experiment_id, settled[1])
                if tag is not None and tags.has(request, tag):
                    return tags.unchanged(tag)
            found = visible_whole(session, caller, experiment_id, standing)
            answer = passes.answer(records.experiment_record(found, local_workers))
        if settled is not None:
            known.remember(experiment_id, settled[1], tags.tag_of(bytes(answer.body)))
        return answer

    def status() -> RunStatus:
        with database.reading() as session:
            visible = visible_experiment(session, caller, experiment_id)
            return experiments.status_of(session, visible.id)

    lanes, client = passes.passes_of(request), passes.client_of(request)
    if wait:
        at_first = await lanes.go(lanes.reading, client, status)
        if not at_first.is_terminal:
            await watch.change(request, experiment_id, at_first, wait)
    return await lanes.go(lanes.reading, client, look)


@router.post("/{experiment_id}/cancel")
def cancel_experiment(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    local_workers: TheLocalWorkers,
) -> schemas.ExperimentRecord:
    """Cancel every unfinished run: queued ones at once, running ones within two seconds."""
    experiments.cancel(session, experiment, caller.owner)
    return records.experiment_record(whole(session, experiment.id), local_workers)


@router.post("/{experiment_id}/retry")
def retry_experiment(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
) -> schemas.ExperimentRecord:
    """Queue every failed or cancelled run again: a new attempt, which goes on from the last checkpoint if there is one.

    409 when there is none, and when one needs a run, such as a teacher, that has itself failed or been cancelled.
    """
    owner = experiment.owner
    afterwards.soon(doorbell.ring, retrying.retry(session, experiment, caller.owner))
    limits.refuse_full_queue(session, owner, settings)
    return records.experiment_record(whole(session, experiment.id), local_workers)


@router.delete("/{experiment_id}", status_code=204)
def delete_experiment(
    session: Writing,
    experiment: ExperimentToChange,
    settings: TheSettings,
    afterwards: TheAfterwards,
) -> None:
    """Delete an experiment with its runs, numbers and files; `disk_bytes` of its record says how much that frees.

    409 while a run is unfinished, and while another experiment builds on it or is compared with it. What was made
    beside it stays.
    """
    afterwards.later(
        deletion.remove_files, file_store(settings), deletion.delete(session, experiment)
    )
