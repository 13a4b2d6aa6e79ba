"""From rows to answers."""

from typing import Any

from app.api.experiments.schemas import (
    ArtifactAnswer,
    AttemptAnswer,
    ChangeAnswer,
    EstimateAnswer,
    ExperimentRecord,
    ExperimentRow,
    ProgressAnswer,
    QueueAnswer,
    RunAnswer,
    RunRecord,
    SummaryAnswer,
)
from app.services.experiments.experiments import Whole, run_reason
from app.services.experiments.results import summarise_scores
from app.storage.states import RunStatus, StatusReason, experiment_status
from app.storage.tables import Artifact, Attempt, Experiment, Run, StatusChange
from lab_models.explanations.question import Method, unexplainable
from lab_models.specs import read_spec

MOST_KNOWN = 10_000
_without_maps: dict[str, bool] = {}


def experiment_record(whole: Whole) -> ExperimentRecord:
    """The record of `GET /experiments/{id}`."""
    experiment, runs = whole.experiment, whole.runs
    finished = [run.finished_at for run in runs if run.finished_at is not None]
    return ExperimentRecord(
        id=experiment.id,
        owner=experiment.owner,
        name=experiment.name,
        labels=experiment.labels,
        kind=experiment.kind,
        study_id=experiment.study_id,
        cell=experiment.cell,
        fingerprint=experiment.fingerprint,
        status=whole.status,
        is_terminal=whole.status.is_terminal,
        status_reason=whole.status_reason,
        status_message=_sentence(whole),
        created_at=experiment.created_at,
        started_at=min(
            (run.started_at for run in runs if run.started_at is not None), default=None
        ),
        finished_at=max(finished, default=None) if whole.status.is_terminal else None,
        estimated_finish_at=whole.estimated_finish_at,
        queue=_place(whole),
        progress=_experiment_progress(runs),
        submitted=experiment.submitted,
        spec=experiment.spec,
        estimate=EstimateAnswer(
            parameters=experiment.parameters,
            trainable_parameters=experiment.trainable_parameters,
            macs_per_sample=experiment.macs_per_sample,
        ),
        related=experiment.related,
        runs=[RunAnswer(**_run_fields(run)) for run in runs],
        results=_results(runs),
        disk_bytes=whole.disk_bytes,
        environment=next((run.environment for run in runs if run.environment is not None), None),
        error=next((run.error for run in runs if run.error is not None), None),
        links=_experiment_links(experiment),
    )


def _place(whole: Whole) -> QueueAnswer:
    place = whole.place
    return (
        QueueAnswer(position=None, ahead=0, starts_at=None)
        if place is None
        else QueueAnswer(
            position=place.position, ahead=place.position - 1, starts_at=place.starts_at
        )
    )


def experiment_row(experiment: Experiment, runs: list[Run]) -> ExperimentRow:
    """The slim form of a list."""
    status = experiment_status(RunStatus(run.status) for run in runs)
    return ExperimentRow(
        id=experiment.id,
        owner=experiment.owner,
        name=experiment.name,
        labels=experiment.labels,
        kind=experiment.kind,
        fingerprint=experiment.fingerprint,
        status=status,
        is_terminal=status.is_terminal,
        created_at=experiment.created_at,
        num_runs=len(runs),
        progress=_experiment_progress(runs),
        links={"self": f"/experiments/{experiment.id}"},
    )


def run_record(run: Run, attempts: list[Attempt], history: list[StatusChange]) -> RunRecord:
    """The record of `GET /runs/{id}`."""
    return RunRecord(
        **_run_fields(run),
        experiment_id=run.experiment_id,
        environment=run.environment,
        attempts=[
            AttemptAnswer(
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
            )
            for attempt in attempts
        ],
        history=[
            ChangeAnswer(**change.model_dump(include=set(ChangeAnswer.model_fields)))
            for change in history
        ],
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
            fraction=round(_fraction(run), 4), epoch=_epoch_begun(run), epochs=run.epochs
        ),
        "best": run.best,
        "test": run.test,
        "needs": run.needs,
        "reused_from": run.reused_from,
        "stop_reason": run.stop_reason,
        "error": run.error,
        "links": _run_links(run),
    }


def _run_links(run: Run) -> dict[str, str]:
    base = f"/runs/{run.id}"
    trained = (
        {"predict": f"{base}/predict", "model": f"{base}/model.onnx"}
        if run.status == RunStatus.SUCCEEDED
        else {}
    )
    return {"self": base, "metrics": f"{base}/metrics", "artifacts": f"{base}/artifacts", **trained}


def _fraction(run: Run) -> float:
    if run.status == RunStatus.SUCCEEDED:
        return 1.0
    return min(
        1.0, (run.epochs_done + (run.step / run.num_steps if run.num_steps else 0.0)) / run.epochs
    )


def _epoch_begun(run: Run) -> int:
    """The epoch being trained while running, else how many are done."""
    return min(run.epochs, run.epochs_done + (1 if run.status == RunStatus.RUNNING else 0))


def _experiment_progress(runs: list[Run]) -> ProgressAnswer:
    """Over all runs: the fraction of all epochs, and the epoch of the run that is furthest from its end but begun."""
    current = _current_run(runs)
    return ProgressAnswer(
        fraction=round(sum(map(_fraction, runs)) / len(runs), 4),
        epoch=_epoch_begun(current),
        epochs=current.epochs,
    )


def _current_run(runs: list[Run]) -> Run:
    running = [run for run in runs if run.status == RunStatus.RUNNING]
    unfinished = [run for run in runs if not RunStatus(run.status).is_terminal]
    return (running or unfinished or runs[-1:])[0]


def _results(runs: list[Run]) -> dict[str, dict[str, SummaryAnswer]]:
    succeeded = [run for run in runs if run.status == RunStatus.SUCCEEDED]
    sheets = {
        "test": [run.test for run in succeeded if run.test],
        "val": [run.best["val"] for run in succeeded if run.best],
    }
    return {
        split: {
            name: SummaryAnswer(
                mean=summary.mean,
                std=summary.std,
                n=summary.n,
                ci95=summary.ci95,
                values=list(summary.values),
            )
            for name, summary in summarise_scores(scores).items()
        }
        for split, scores in sheets.items()
    }


def _sentence(whole: Whole) -> str:
    runs = whole.runs
    current = _current_run(runs)
    which = f", run {current.position + 1} of {len(runs)}" if len(runs) > 1 else ""
    match whole.status_reason:
        case StatusReason.TRAINING:
            return f"Epoch {_epoch_begun(current)} of {current.epochs}{which}."
        case StatusReason.EVALUATING:
            ended = f"Training ended after {current.epochs_done} of {current.epochs} epochs"
            return f"{ended}{which}; reading the test split."
        case StatusReason.STARTING:
            return f"Starting on {current.worker_id}{which}."
        case StatusReason.NO_WORKER_ONLINE:
            return "Queued, but no worker is online: start one with `lab worker`."
        case StatusReason.WAITING_FOR_WORKER:
            ahead = _place(whole).ahead
            return (
                "Next in the queue."
                if ahead == 0
                else f"Queued behind {ahead} run{'s' if ahead > 1 else ''}."
            )
        case StatusReason.WAITING_FOR_TEACHER:
            return f"Queued until run {current.needs}, which it builds on, has succeeded."
        case StatusReason.WORKER_LOST:
            return f"Queued again after epoch {current.epochs_done} of {current.epochs}: its worker was lost."
        case StatusReason.WORKER_SHUTDOWN:
            return f"Queued again after epoch {current.epochs_done} of {current.epochs}: its worker was asked to stop."
        case StatusReason.DATABASE_UNREACHABLE:
            return (
                f"Queued again after epoch {current.epochs_done} of {current.epochs}: its worker could not reach the"
                " database."
            )
        case StatusReason.TRAINER_CRASHED:
            return f"Queued again after epoch {current.epochs_done} of {current.epochs}: its process died."
        case StatusReason.OUT_OF_MEMORY:
            return (
                f"Queued again after epoch {current.epochs_done} of {current.epochs}: memory ran out, so it goes on"
                " with fewer images at a time."
            )
        case StatusReason.CANCELLING:
            return "A cancel was asked for; the worker is about to confirm it."
        case StatusReason.PAUSING:
            return "A pause was asked for; the run is about to save itself and leave."
        case StatusReason.PAUSED_BY_USER:
            return f"Paused after epoch {current.epochs_done} of {current.epochs}{which}; resume it to go on."
        case StatusReason.COMPLETED:
            return "All epochs done." if len(runs) == 1 else f"All {len(runs)} runs done."
        case StatusReason.REUSED:
            return (
                "Took over the results of an equal run."
                if len(runs) == 1
                else f"All {len(runs)} runs done, some taken over from equal runs."
            )
        case StatusReason.EARLY_STOPPED:
            return (
                f"Stopped early after epoch {current.epochs_done} of {current.epochs}."
                if len(runs) == 1
                else f"All {len(runs)} runs done, the first stopped early."
            )
        case StatusReason.TRAINING_FAILED | StatusReason.CRASH_LOOP | StatusReason.TEACHER_FAILED:
            failed = next(run for run in runs if run.error is not None)
            return f"Failed: {failed.error['message']}" if failed.error else "Failed."
        case StatusReason.CANCELLED_BY_USER:
            return "Cancelled."


def _has_no_maps(experiment: Experiment) -> bool:
    """Whether its network cannot be explained. Every spec of a fingerprint has the same, so it is read once."""
    known = _without_maps.get(experiment.fingerprint)
    if known is None:
        if len(_without_maps) >= MOST_KNOWN:
            _without_maps.clear()
        known = _without_maps[experiment.fingerprint] = (
            unexplainable(read_spec(experiment.spec).network, Method.GRAD_CAM) is not None
        )
    return known


def _experiment_links(experiment: Experiment) -> dict[str, str]:
    base = f"/experiments/{experiment.id}"
    probed = (
        {"gradient_flow": f"{base}/gradient-flow.png"}
        if "gradient_flow" in experiment.spec.get("probes", [])
        else {}
    )
    pictures = {"curves": f"{base}/curves.png", "confusion_matrix": f"{base}/confusion-matrix.png"}
    pictures |= {} if _has_no_maps(experiment) else {"explanations": f"{base}/explanations.png"}
    compared = {"distillation": f"{base}/distillation"} if experiment.kind == "distill" else {}
    compared |= {"verification": f"{base}/verification"} if "verifies" in experiment.related else {}
    compared |= {} if experiment.study_id is None else {"study": f"/studies/{experiment.study_id}"}
    return {
        "self": base,
        "metrics": f"{base}/metrics",
        **pictures,
        **probed,
        **compared,
        "reproduce": f"{base}/reproduce",
        "verify": f"{base}/verify",
        **{verb: f"{base}/{verb}" for verb in ("cancel", "pause", "resume", "retry")},
    }
