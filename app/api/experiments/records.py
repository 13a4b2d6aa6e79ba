"""From rows to answers."""

from collections.abc import Sequence
from typing import Any

from app.api.experiments.links import experiment_links, run_links
from app.api.experiments.list_schemas import ExperimentRow, MeanOverSeeds, SeedsAnswer
from app.api.experiments.phases import phases_of, time_message
from app.api.experiments.schemas import (
    ArtifactAnswer,
    AttemptAnswer,
    ChangeAnswer,
    EstimateAnswer,
    ExperimentRecord,
    ProgressAnswer,
    QueueAnswer,
    RunAnswer,
    RunRecord,
    SummaryAnswer,
)
from app.api.experiments.sentences import sentence
from app.services.experiments import environments
from app.services.experiments.how_far import Advancing, current_run, epoch_begun, fraction_done
from app.services.experiments.origins import changed, like_of
from app.services.experiments.outlines import ExperimentOutline
from app.services.experiments.results import results_of
from app.services.experiments.situations import run_reason
from app.services.experiments.wholes import Whole
from app.services.lifecycle.local_workers import LocalWorkers
from app.storage.states import TrainsOn
from app.storage.tables import Artifact, Attempt, Experiment, Run, StatusChange
from lab_models.specs import read_spec


def experiment_record(
    whole: Whole, local_workers: LocalWorkers, warned: Sequence[str] = ()
) -> ExperimentRecord:
    """The record of `GET /experiments/{id}`; what was warned of is said once, to whoever sends it."""
    experiment, runs = whole.experiment, whole.runs
    finished = [run.finished_at for run in runs if run.finished_at is not None]
    environment, differs = environments.shared(runs)
    return ExperimentRecord(
        id=experiment.id,
        owner=experiment.owner,
        name=experiment.name,
        labels=experiment.labels,
        kind=experiment.kind,
        notes=experiment.notes,
        archived=experiment.archived,
        device=experiment.device,
        trains_on=_trains_on(runs),
        study_id=experiment.study_id,
        cell=experiment.cell,
        fingerprint=experiment.fingerprint,
        status=whole.status,
        is_terminal=whole.status.is_terminal,
        status_reason=whole.status_reason,
        status_message=sentence(whole, local_workers),
        created_at=experiment.created_at,
        started_at=min(
            (run.started_at for run in runs if run.started_at is not None), default=None
        ),
        finished_at=max(finished, default=None) if whole.status.is_terminal else None,
        estimated_finish_at=whole.estimated_finish_at,
        queue=_queue(whole),
        progress=_experiment_progress(runs),
        submitted=experiment.submitted,
        spec=experiment.spec,
        warnings=list(warned),
        estimate=EstimateAnswer(
            parameters=experiment.parameters,
            trainable_parameters=experiment.trainable_parameters,
            macs_per_sample=experiment.macs_per_sample,
        ),
        related=experiment.related,
        like=like_of(experiment),
        changed=None if whole.origin is None else changed(whole.origin.spec, experiment.spec),
        runs=[RunAnswer(**_run_fields(run)) for run in runs],
        results=_results(experiment, runs),
        disk_bytes=whole.disk_bytes,
        environment=environment,
        environment_differs=differs,
        error=next((run.error for run in runs if run.error is not None), None),
        links=experiment_links(experiment, whole.origin),
    )


def _trains_on(runs: Sequence[Run]) -> str | None:
    """Of runs of older versions, and those that may go anywhere, none is said."""
    kinds = {run.trains_on for run in runs if TrainsOn(run.trains_on).is_decided}
    return kinds.pop() if len(kinds) == 1 else None


def _queue(whole: Whole) -> QueueAnswer:
    place = whole.place
    return (
        QueueAnswer(position=None, ahead=0, starts_at=None)
        if place is None
        else QueueAnswer(position=place.position, ahead=place.ahead, starts_at=place.starts_at)
    )


def experiment_row(outline: ExperimentOutline, local_workers: LocalWorkers) -> ExperimentRow:
    """The slim form of a list."""
    experiment, situation, runs = outline.listed, outline.situation, outline.runs
    status = situation.status
    return ExperimentRow(
        id=experiment.id,
        owner=experiment.owner,
        name=experiment.name,
        labels=experiment.labels,
        archived=experiment.archived,
        kind=experiment.kind,
        study_id=experiment.study_id,
        fingerprint=experiment.fingerprint,
        dataset=outline.subject.dataset,
        network=outline.subject.network,
        parameters=experiment.parameters,
        status=status,
        is_terminal=status.is_terminal,
        status_reason=situation.status_reason,
        status_message=sentence(situation, local_workers),
        created_at=experiment.created_at,
        started_at=outline.started_at,
        finished_at=outline.finished_at,
        estimated_finish_at=situation.estimated_finish_at,
        num_runs=len(runs),
        seeds=SeedsAnswer(done=len(outline.succeeded), all=len(runs)),
        progress=_experiment_progress(runs),
        test={name: MeanOverSeeds.of(one) for name, one in outline.test.items()},
        best_val={name: MeanOverSeeds.of(one) for name, one in outline.best_val.items()},
        reached=outline.reached,
        links={"self": f"/experiments/{experiment.id}"},
    )


def run_record(run: Run, attempts: list[Attempt], history: list[StatusChange]) -> RunRecord:
    """The record of `GET /runs/{id}`."""
    return RunRecord(
        **_run_fields(run),
        experiment_id=run.experiment_id,
        environment=run.environment,
        attempts=[_attempt(attempt, history) for attempt in attempts],
        history=[
            ChangeAnswer(**change.model_dump(include=set(ChangeAnswer.model_fields)))
            for change in history
        ],
    )


def _attempt(attempt: Attempt, history: list[StatusChange]) -> AttemptAnswer:
    phases = phases_of(attempt, history)
    return AttemptAnswer(
        number=attempt.number,
        worker=attempt.worker_id,
        started_at=attempt.started_at,
        first_step_at=attempt.first_step_at,
        finished_at=attempt.finished_at,
        outcome=attempt.outcome,
        resumed_from=(
            None
            if attempt.resumed_epoch is None
            else {"epoch": attempt.resumed_epoch, "step": attempt.resumed_step or 0}
        ),
        micro_batches=attempt.micro_batches,
        notes=attempt.notes,
        phases=phases,
        time_message=None if phases is None else time_message(phases),
    )


def artifact_answer(artifact: Artifact) -> ArtifactAnswer:
    """A published file's facts."""
    return ArtifactAnswer(
        name=artifact.name,
        media_type=artifact.media_type,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
        created_at=artifact.created_at,
        links={"self": f"/runs/{artifact.run_id}/artifacts/{artifact.name}"},
    )


def _run_fields(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "seed": run.seed,
        "status": run.status,
        "status_reason": run_reason(run),
        "attempt": run.attempt,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "progress": ProgressAnswer(
            fraction=round(fraction_done(run), 4), epoch=epoch_begun(run), epochs=run.epochs
        ),
        "best": run.best,
        "test": run.test,
        "train": run.train,
        "needs": run.needs,
        "built_on": (run.environment or {}).get("built_on"),
        "reused_from": run.reused_from,
        "stop_reason": run.stop_reason,
        "error": run.error,
        "links": run_links(run),
    }


def _experiment_progress(runs: Sequence[Advancing]) -> ProgressAnswer:
    """Over all runs: the fraction of all epochs, and the epoch of the run that is furthest from its end but begun."""
    current = current_run(runs)
    return ProgressAnswer(
        fraction=round(sum(map(fraction_done, runs)) / len(runs), 4),
        epoch=epoch_begun(current),
        epochs=current.epochs,
    )


def _results(experiment: Experiment, runs: list[Run]) -> dict[str, dict[str, SummaryAnswer]]:
    found = results_of(runs, read_spec(experiment.spec).depends_on_seed)
    return {
        split: {name: SummaryAnswer.of(summary) for name, summary in scores.items()}
        for split, scores in found.items()
    }
