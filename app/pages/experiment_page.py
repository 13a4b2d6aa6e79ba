"""One experiment, and one of its runs, as pages."""

import json
import shlex
from typing import Any

from fastapi import Request
from sqlmodel import Session

from app.api.analyses import reproduction
from app.api.experiments import experiments as experiments_api
from app.api.experiments import records
from app.api.experiments import runs as runs_api
from app.api.experiments.links import experiment_links
from app.api.experiments.schemas import ExperimentRecord
from app.api.http.deps import (
    Body,
    ExperimentId,
    ExperimentToChange,
    ExperimentToPrepare,
    Reading,
    TheAfterwards,
    TheCaller,
    TheDoorbell,
    TheLocalWorkers,
    TheRun,
    TheSettings,
    TheStanding,
    Writing,
)
from app.errors import NotFound
from app.pages.chart_state import TheChart
from app.pages.rendering import and_then, form_of, page, pages, see_other
from app.pages.verbs import VERBS, Verb, patched, steered
from app.pages.walls import TheWall, wall_of
from app.services.experiments.origins import leaves
from app.services.experiments.visibility import visible_whole
from app.services.owners.keys import ANYONE, Caller
from app.settings import Settings
from app.storage.tables import Experiment
from lab_models.architectures.naming import describe
from lab_models.specs import TrainSpec, read_spec

router = pages()

CHOSEN = frozenset({"kind", "arch", "name"})
"""Fields that say which of several a part of a spec is."""


@router.get("/experiments/{experiment_id}")
def show_experiment(
    request: Request,
    session: Reading,
    caller: TheCaller,
    standing: TheStanding,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
    experiment_id: ExperimentId,
    wall: TheWall,
    _chart: TheChart = None,
) -> Any:
    """How it stands, what came out, and everything that can be seen of it."""
    whole = visible_whole(session, caller, experiment_id, standing)
    record = records.experiment_record(whole, local_workers)
    return page(
        request,
        "experiment.html",
        record=record,
        network=describe(read_spec(record.spec).network),
        verbs=[
            verb
            for verb, asked in VERBS.items()
            if any(run.status in asked for run in record.runs) and caller.may_change(record.owner)
        ],
        scores=_scores(record),
        seconds=_seconds(record),
        differs=_differences(record),
        unusual=_unusual(record),
        again=_again(request, record),
        verified=_verified(session, whole.experiment, settings, caller),
        wall=wall_of(request, session, caller, standing, local_workers, wall),
    )


@router.post("/experiments/{experiment_id}/delete")
def delete_experiment(
    session: Writing,
    experiment: ExperimentToChange,
    settings: TheSettings,
    afterwards: TheAfterwards,
) -> Any:
    """Delete it, and go back to the others."""
    experiments_api.delete_experiment(session, experiment, settings, afterwards)
    return see_other("/ui/experiments")


@router.post("/experiments/{experiment_id}/notes")
def note(
    session: Writing,
    body: Body,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
) -> Any:
    """Notes are kept as they are written; none takes them away."""
    notes = form_of(body).get("notes", "").strip() or None
    patched({"notes": notes}, session, caller, experiment, settings, local_workers)
    return see_other(f"/ui/experiments/{experiment.id}#notes")


@router.post("/experiments/{experiment_id}/archive")
def archive(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
) -> Any:
    """Lists leave it out from now on, or show it again."""
    changes = {"archived": not experiment.archived}
    patched(changes, session, caller, experiment, settings, local_workers)
    return see_other(f"/ui/experiments/{experiment.id}")


@router.post("/experiments/{experiment_id}/anywhere")
def let_any_worker(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    local_workers: TheLocalWorkers,
) -> Any:
    """What waits for a kind of device that is not there goes to whichever worker is free."""
    patched({"device": "any"}, session, caller, experiment, settings, local_workers)
    return see_other(f"/ui/experiments/{experiment.id}")


@router.post("/experiments/{experiment_id}/verify")
def verify(
    session: Reading,
    experiment: ExperimentToPrepare,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
) -> Any:
    """Train its succeeded seeds once more, and show that experiment."""
    step = reproduction.verify_experiment(
        session, experiment, settings, caller, doorbell, afterwards, local_workers
    )
    return and_then(step, lambda answer: see_other(f"/ui{answer.headers['Location']}"))


@router.post("/experiments/{experiment_id}/{verb}")
def steer_experiment(
    session: Writing,
    caller: TheCaller,
    experiment: ExperimentToChange,
    settings: TheSettings,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
    verb: Verb,
) -> Any:
    """What the API's verb does, and back to the page."""
    steered(verb, session, caller, experiment, settings, doorbell, afterwards, local_workers)
    return see_other(f"/ui/experiments/{experiment.id}")


@router.get("/runs/{run_id}")
def show_run(request: Request, session: Reading, run: TheRun) -> Any:
    """One seed's execution: attempts, history, files, and its network to be tried."""
    experiment = session.get_one(Experiment, run.experiment_id)
    return page(
        request,
        "run.html",
        record=runs_api.read_run(session, run),
        experiment=experiment,
        has_maps="explanations" in experiment_links(experiment, None),
        files=runs_api.list_artifacts(session, run).data,
    )


def _scores(record: ExperimentRecord) -> list[tuple[str, Any, str]]:
    """What came out, the most asked for first: heading, summary, and the score's name."""
    wanted = (
        ("Test accuracy", "test", "accuracy"),
        ("Test loss", "test", "loss"),
        ("Calibration error", "test", "ece"),
        ("Test F1, macro", "test", "f1_macro"),
        ("Val accuracy", "val", "accuracy"),
        ("Train minus test", "gap", "accuracy"),
    )
    return [
        (heading, record.results[split][name], name)
        for heading, split, name in wanted
        if name in record.results.get(split, {})
    ]


def _seconds(record: ExperimentRecord) -> float | None:
    """Of the runs that have ended, on average."""
    took = [
        (run.finished_at - run.started_at).total_seconds()
        for run in record.runs
        if run.started_at is not None and run.finished_at is not None and run.reused_from is None
    ]
    return sum(took) / len(took) if took else None


def _differences(record: ExperimentRecord) -> list[tuple[str, str, str]]:
    """Of an experiment that is like another: path, what it was, what it is."""
    return [
        (path, json.dumps(was), json.dumps(now))
        for path, (was, now) in (record.changed or {}).items()
    ]


def _unusual(record: ExperimentRecord) -> list[tuple[str, str]]:
    """What of the spec is not as it is by default: path and value. What is chosen from several, such as the network, is
    compared with what stands there by default, and its fields with those of what was chosen.
    """
    spec = read_spec(record.spec)
    usual = dict(leaves(TrainSpec().model_dump(mode="json")))
    differing = dict(leaves(spec.model_dump(mode="json", exclude_defaults=True)))
    return [
        (path, json.dumps(value, ensure_ascii=False))
        for path, value in leaves(record.spec)
        if (
            usual.get(path, value) != value
            if path.rpartition(".")[2] in CHOSEN
            else path in differing
        )
    ]


def _again(request: Request, record: ExperimentRecord) -> list[tuple[str, str]]:
    """What does it once more, by what it is done with: a line to copy."""
    base = str(request.base_url).rstrip("/")
    body = json.dumps(record.submitted, ensure_ascii=False)
    has_key = getattr(request.state, "caller", ANYONE) is not ANYONE
    key = '-H "Authorization: Bearer $LAB_API_KEY" ' if has_key else ""
    return [
        ("curl", f"curl {key}-d {shlex.quote(body)} {base}/experiments"),
        ("lab", f"LAB_URL={base} lab again {record.id} --wait"),
    ]


def _verified(
    session: Session, experiment: Experiment, settings: Settings, caller: Caller
) -> reproduction.VerificationAnswer | None:
    """Of what verifies another, while that is there, how far both agree."""
    if "verifies" not in experiment.related:
        return None
    try:
        return reproduction.read_verification(session, experiment, settings, caller)
    except NotFound:
        return None
