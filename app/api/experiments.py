"""Experiments over HTTP."""

import csv
import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.api import records, schemas
from app.api.bodies import read_body
from app.api.deps import Body, ExperimentToChange, Reading, TheDoorbell, TheExperiment, TheSettings, Writing
from app.api.dry_runs import DryRun
from app.api.dry_runs import dry_run as dry_run_of
from app.services import deletion, experiments, retrying
from app.services.experiments import earlier
from app.services.metrics import metrics_of
from app.services.submissions import prepare, submit
from app.states import RunStatus
from app.tables import Run
from lab_models.specs import read_request

router = APIRouter(prefix="/experiments", tags=["experiments"])

CSV = "text/csv; charset=utf-8"


class ListQuery(BaseModel):
    """Filters of the list."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    status: RunStatus | None = None
    """Only experiments with this status."""
    kind: Literal["train", "distill", "transfer"] | None = None
    """Only experiments of this kind."""
    label: list[str] = Field(default=[], max_length=20)
    """`key:value`; may be given several times, all must match."""
    study: str | None = Field(default=None, max_length=100)
    """Only the cells of this study."""
    limit: int = Field(default=50, ge=1, le=500)
    """Most rows of one page."""
    cursor: str | None = Field(default=None, max_length=500)
    """`next_cursor` of the page before."""

    @field_validator("label")
    @classmethod
    def _has_key_and_value(cls, value: list[str]) -> list[str]:
        if not all(":" in label for label in value):
            raise ValueError("a label filter is written key:value")
        return value


@router.post(
    "",
    status_code=201,
    response_model=schemas.ExperimentRecord,
    responses={200: {"model": DryRun, "description": "With `dry_run`: what it would be; or, with a known Idempotency-Key, the experiment it made"}},
)
def create_experiment(
    session: Writing,
    body: Body,
    settings: TheSettings,
    doorbell: TheDoorbell,
    background: BackgroundTasks,
    response: Response,
    dry_run: Annotated[bool, Query(description="Check and price the spec, store nothing")] = False,
    idempotency_key: Annotated[str | None, Header(max_length=200, description="Makes a repeated POST return the first experiment")] = None,
) -> Any:
    """Store an experiment and queue one run per seed. Everything has a default: `{}` is a complete experiment."""
    submitted, request = read_body(body, read_request)
    experiment = earlier(session, idempotency_key, submitted) if idempotency_key is not None and not dry_run else None
    if experiment is not None:  # whatever has become of workers, data sets and teachers since
        response.status_code = 200
    else:
        prepared = prepare(session, request, submitted, settings)
        if dry_run:
            response.status_code = 200
            return Response(dry_run_of(prepared.plan.spec, request.seeds, prepared.info).model_dump_json(), media_type="application/json")
        experiment = submit(session, prepared, idempotency_key)
        background.add_task(doorbell.ring, len(request.seeds))
    response.headers["Location"] = f"/experiments/{experiment.id}"
    session.flush()
    return records.experiment_record(experiments.whole(session, experiment))


@router.get("")
def list_experiments(session: Reading, query: Annotated[ListQuery, Query()]) -> schemas.ExperimentPage:
    """Experiments, the newest first."""
    labels = tuple((key, value) for key, _, value in (label.partition(":") for label in query.label))
    rows, cursor = experiments.page(session, experiments.Filters(query.status, query.kind, labels, query.study), query.limit, query.cursor)
    runs = experiments.runs_of(session, [row.id for row in rows])
    return schemas.ExperimentPage(data=[records.experiment_row(row, runs[row.id]) for row in rows], has_more=cursor is not None, next_cursor=cursor)


@router.get("/{experiment_id}")
def read_experiment(session: Reading, experiment: TheExperiment) -> schemas.ExperimentRecord:
    """Everything a poller needs: status, progress, runs, results, links."""
    return records.experiment_record(experiments.whole(session, experiment))


@router.post("/{experiment_id}/cancel")
def cancel_experiment(session: Writing, experiment: ExperimentToChange) -> schemas.ExperimentRecord:
    """Cancel every unfinished run: queued ones at once, running ones within two seconds."""
    experiments.cancel(session, experiment)
    return records.experiment_record(experiments.whole(session, experiment))


@router.post("/{experiment_id}/retry")
def retry_experiment(session: Writing, experiment: ExperimentToChange, doorbell: TheDoorbell, background: BackgroundTasks) -> schemas.ExperimentRecord:
    """Queue every failed or cancelled run again: a new attempt, which goes on from the last checkpoint if there is one.

    409 when there is none, and when one needs a run, such as a teacher, that has itself failed or been cancelled.
    """
    background.add_task(doorbell.ring, retrying.retry(session, experiment))
    return records.experiment_record(experiments.whole(session, experiment))


@router.delete("/{experiment_id}", status_code=204)
def delete_experiment(session: Writing, experiment: ExperimentToChange, settings: TheSettings, background: BackgroundTasks) -> None:
    """Delete an experiment with its runs, numbers and files; `disk_bytes` of its record says how much that frees.

    409 while a run is unfinished, and while another experiment builds on it or is compared with it. What was made beside it stays.
    """
    background.add_task(deletion.remove_folders, settings.runs_folder, deletion.delete(session, experiment))


@router.get("/{experiment_id}/metrics", response_model=schemas.MetricsAnswer, responses={200: {"content": {"text/csv": {}}}})
def read_metrics(session: Reading, experiment: TheExperiment, format: Literal["json", "csv"] = "json") -> Any:  # noqa: A002
    """Every number of every epoch of every run."""
    runs = experiments.runs_of(session, [experiment.id])[experiment.id]
    return metrics_response(session, experiment.id, runs, format)


def metrics_response(session: Reading, experiment_id: str, runs: list[Run], wanted: str) -> Any:
    """The numbers of some runs of one experiment, as JSON or as one CSV row per run and epoch."""
    metrics = metrics_of(session, [run.id for run in runs])
    answer = schemas.MetricsAnswer(experiment_id=experiment_id, runs=[records.run_metrics(run, metrics[run.id]) for run in runs])
    if wanted == "json":
        return answer
    return Response(_csv(answer), media_type=CSV, headers={"Content-Disposition": f'attachment; filename="{experiment_id}-metrics.csv"'})


def _csv(answer: schemas.MetricsAnswer) -> str:
    rows = [
        {"run_id": run.run_id, "seed": run.seed, "epoch": epoch.epoch}
        | {f"{split}.{name}": "" if value is None else value for split in ("train", "val") for name, value in getattr(epoch, split).items()}
        for run in answer.runs
        for epoch in run.epochs
    ]
    columns = ["run_id", "seed", "epoch", *sorted({column for row in rows for column in row} - {"run_id", "seed", "epoch"})]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
