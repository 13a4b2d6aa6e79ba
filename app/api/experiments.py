"""Experiments over HTTP."""

import csv
import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.api import records, schemas
from app.api.deps import Body, ExperimentToChange, Reading, TheDoorbell, TheExperiment, TheSettings, Writing
from app.api.dry_runs import DryRun
from app.api.dry_runs import dry_run as dry_run_of
from app.errors import BadBody, InvalidRequest
from app.services import datasets, experiments
from app.services.estimates import refusals
from app.services.experiments import earlier
from app.services.metrics import metrics_of
from app.services.submissions import WORDS, Plan, plan, submit
from app.services.workers import largest_memory
from app.settings import Settings
from app.states import RunStatus
from app.tables import Run
from lab_models.architectures.stages import misfits
from lab_models.datasets.catalog import DatasetInfo
from lab_models.specs import Request, read_request
from lab_models.validation import FieldError, InvalidDocument, NotJSON, did_you_mean, parse_json

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
    submitted, request = _parse(body)
    experiment = earlier(session, idempotency_key, submitted) if idempotency_key is not None and not dry_run else None
    if experiment is not None:  # whatever has become of workers, data sets and teachers since
        response.status_code = 200
    else:
        info = _dataset(request, submitted, settings)
        planned = plan(session, request, submitted, datasets.catalog(settings))
        _refuse_what_cannot_be(request, planned, info, settings, largest_memory(session))
        if dry_run:
            response.status_code = 200
            return Response(dry_run_of(planned.spec, request.seeds, info).model_dump_json(), media_type="application/json")
        experiment = submit(session, request, planned, info, submitted, idempotency_key)
        background.add_task(doorbell.ring, len(request.seeds))
    response.headers["Location"] = f"/experiments/{experiment.id}"
    session.flush()
    return records.experiment_record(experiments.whole(session, experiment))


@router.get("")
def list_experiments(session: Reading, query: Annotated[ListQuery, Query()]) -> schemas.ExperimentPage:
    """Experiments, the newest first."""
    labels = tuple((key, value) for key, _, value in (label.partition(":") for label in query.label))
    rows, cursor = experiments.page(session, experiments.Filters(query.status, query.kind, labels), query.limit, query.cursor)
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


def _parse(body: bytes) -> tuple[dict[str, Any], Request]:
    """The body as sent and as validated; raises BadBody or InvalidRequest."""
    try:
        submitted = parse_json(body)
        return submitted, read_request(submitted)
    except NotJSON as error:
        raise BadBody(str(error)) from error
    except InvalidDocument as error:
        raise InvalidRequest(str(error), error.errors) from error


def _dataset(request: Request, submitted: dict[str, Any], settings: Settings) -> DatasetInfo:
    catalog = datasets.catalog(settings)
    name = request.dataset.name
    info = catalog.get(name)
    if info is None:
        place = "/dataset" if isinstance(submitted.get("dataset"), str) else "/dataset/name"
        error = FieldError(place, f"there is no data set {name!r}", did_you_mean(name, [known.name for known in catalog.all()]))
        raise InvalidRequest(error.message, [error])
    return info


def _refuse_what_cannot_be(request: Request, planned: Plan, info: DatasetInfo, settings: Settings, memory: int | None) -> None:
    refused = []
    if planned.built_on is not None and planned.its_data is not None:
        if planned.built_on.run is None:  # it would be trained first, so it is looked at first
            found = refusals(planned.built_on.trained.spec, 1, planned.its_data, settings, memory)
            refused = [FieldError(f"/{WORDS[request.kind].role}/spec{error.pointer}", error.message, error.hint) for error in found]
        refused = refused or misfits(planned.spec, planned.its_data, info)
    refused = refused or refusals(planned.spec, len(request.seeds), info, settings, memory)
    if refused:
        raise InvalidRequest("; ".join(error.message for error in refused), refused)
