"""Reproducing over HTTP: the exact request, versions and data of an experiment; running it again; and whether that gave
the same.
"""

import json
import shlex
from typing import Any

from fastapi import Response
from sqlmodel import Session

from app.api.experiments import records, schemas
from app.api.http import passes
from app.api.http.deps import (
    ExperimentToPrepare,
    Reading,
    TheAfterwards,
    TheCaller,
    TheDoorbell,
    TheExperiment,
    TheLocalWorkers,
    TheSettings,
)
from app.api.schemas import Answer
from app.services.analyses import reproduction
from app.services.analyses.reproduction import Agreement, Repeated, Verification
from app.services.datasets import datasets
from app.services.experiments.artifacts import weights_of
from app.services.experiments.experiments import its_runs
from app.services.experiments.likeness import LABELS
from app.services.experiments.visibility import visible_experiment
from app.services.experiments.wholes import whole
from app.services.lifecycle.local_workers import LocalWorkers
from app.services.submitting.drafts import Stored
from app.settings import Settings
from app.storage.states import RunStatus
from app.storage.tables import Experiment, Study
from lab_models.datasets.references import REFERENCES as DATASET_REFERENCES
from lab_models.recipes.references import RECIPE_BIBTEX
from lab_models.specs import canonical_json, read_spec
from lab_models.statistics.wording import with_sign

router = passes.router(prefix="/experiments", tags=["experiments"])


class ReproducibleRun(Answer):
    """What one seed gave, and where."""

    run_id: str
    seed: int
    environment: dict[str, Any]
    """Versions, device, threads, and the hashes of the data set and of the weights that it was built on: the same of
    all these, the same bits.
    """
    weights_sha256: str | None
    test: dict[str, float] | None


class BibtexAnswer(Answer):
    """An entry each, null where there is none to cite: somebody's own images, a source that is not published."""

    dataset: str | None
    recipe: str | None
    """The source of the recipe whose cell it is."""


class ReproduceAnswer(Answer):
    """All that it takes to do an experiment again."""

    experiment_id: str
    fingerprint: str
    """SHA-256 of the canonical spec; equal experiments have equal ones."""
    canonical_spec: str
    request: dict[str, Any]
    """Body for POST /experiments with every default written out; a file of it is a spec for the trainer alone."""
    seeds: list[int]
    dataset: dict[str, str | None]
    bibtex: BibtexAnswer
    runs: list[ReproducibleRun]
    """The succeeded ones."""
    command: str
    """Sends it to this service again."""
    command_without_service: str | None
    """Trains it here and now, with the lab alone; null for what builds on a network that has gone on: that was trained
    in two steps.
    """
    links: dict[str, str]


class RepeatedAnswer(Answer):
    """One seed done twice."""

    seed: int
    run_id: str
    again_run_id: str
    agreement: Agreement
    accuracy: float | None
    again_accuracy: float | None
    interval: tuple[float, float] | None
    """Where one more run would lie with 95 %."""
    environment_differs: dict[str, tuple[Any, Any]]


class VerificationAnswer(Answer):
    """Whether an experiment done again gave the same."""

    experiment_id: str
    again_experiment_id: str
    agreement: Agreement
    """`bit_equal`: the same weights to the bit and the same test scores, with every seed; else the least of the seeds'
    agreements.
    """
    sentence: str
    runs: list[RepeatedAnswer]
    links: dict[str, str]


@router.get("/{experiment_id}/reproduce")
def read_reproduction(
    session: Reading, experiment: TheExperiment, settings: TheSettings
) -> ReproduceAnswer:
    """The exact spec, seeds, versions, data hash and command, and what to cite."""
    every = its_runs(session, experiment.id)
    runs = [run for run in every if run.status == RunStatus.SUCCEEDED]
    spec = read_spec(experiment.spec)
    seeds = [run.seed for run in every]
    named = reproduction.named_foundation(session, spec, every[0])
    request = reproduction.request_of(session, experiment, every)
    weights = weights_of(session, [run.id for run in runs])
    base = f"/experiments/{experiment.id}"
    return ReproduceAnswer(
        experiment_id=experiment.id,
        fingerprint=experiment.fingerprint,
        canonical_spec=canonical_json(spec),
        request=request,
        seeds=seeds,
        dataset={
            "name": spec.dataset.name,
            "sha256": next(
                (found for run in runs if (found := (run.environment or {}).get("dataset_sha256"))),
                None,
            ),
        },
        bibtex=_bibtex(session, experiment, spec.dataset.name, settings),
        runs=[
            ReproducibleRun(
                run_id=run.id,
                seed=run.seed,
                environment=run.environment or {},
                weights_sha256=weights.get(run.id),
                test=run.test,
            )
            for run in runs
        ],
        command=f"curl -d {shlex.quote(json.dumps(request))} localhost:8000/experiments",
        command_without_service=(
            None
            if named
            else f"echo {shlex.quote(json.dumps(request))} > spec.json && python -P -m lab_models run spec.json"
        ),
        links={"self": f"{base}/reproduce", "experiment": base, "verify": f"{base}/verify"},
    )


def _bibtex(
    session: Session, experiment: Experiment, dataset: str, settings: Settings
) -> BibtexAnswer:
    is_built_in = datasets.catalog(settings).has_built_in(dataset)
    reference = DATASET_REFERENCES.get(dataset) if is_built_in else None
    study = None if experiment.study_id is None else session.get(Study, experiment.study_id)
    recipe = None if study is None or study.recipe is None else study.recipe
    return BibtexAnswer(
        dataset=None if reference is None else reference.bibtex,
        recipe=None if recipe is None else RECIPE_BIBTEX.get(recipe),
    )


@router.post("/{experiment_id}/verify", status_code=201, response_model=schemas.ExperimentRecord)
def verify_experiment(
    session: Reading,
    experiment: ExperimentToPrepare,
    settings: TheSettings,
    caller: TheCaller,
    doorbell: TheDoorbell,
    afterwards: TheAfterwards,
    local_workers: TheLocalWorkers,
) -> Any:
    """Run the succeeded seeds again, trained anew, as an experiment of its own; its `verification` says whether the
    bits are the same.
    """
    prepared = reproduction.prepare_verification(session, experiment, settings, caller.owner)

    def write(session: Session) -> passes.Read:
        stored = reproduction.store_verification(session, prepared, settings)
        afterwards.soon(doorbell.ring, stored.num_queued)
        return passes.Read(lambda session: _created(session, stored, local_workers))

    return passes.Write(write)


def _created(session: Session, stored: Stored, local_workers: LocalWorkers) -> Response:
    record = records.experiment_record(whole(session, stored.id), local_workers)
    return passes.answer(record, 201, {"Location": f"/experiments/{stored.id}"})


@router.get("/{experiment_id}/verification")
def read_verification(
    session: Reading, experiment: TheExperiment, settings: TheSettings, caller: TheCaller
) -> VerificationAnswer:
    """Of an experiment made by `verify`: bit-equal, within the interval, or different, seed by seed."""
    verification = reproduction.verification_of(session, experiment, settings)
    visible_experiment(session, caller, verification.original.id)
    return VerificationAnswer(
        experiment_id=verification.original.id,
        again_experiment_id=experiment.id,
        agreement=verification.agreement,
        sentence=_sentence(verification),
        runs=[_repeated(run) for run in verification.runs],
        links={
            "self": f"/experiments/{experiment.id}/verification",
            "experiment": f"/experiments/{verification.original.id}",
        },
    )


def _repeated(repeated: Repeated) -> RepeatedAnswer:
    return RepeatedAnswer(
        seed=repeated.seed,
        run_id=repeated.first.id,
        again_run_id=repeated.second.id,
        agreement=repeated.agreement,
        accuracy=reproduction.accuracy_of(repeated.first),
        again_accuracy=reproduction.accuracy_of(repeated.second),
        interval=repeated.interval,
        environment_differs=repeated.differs,
    )


def _sentence(verification: Verification) -> str:
    runs, total = verification.runs, len(verification.runs)
    equal = sum(run.agreement is Agreement.BIT_EQUAL for run in runs)
    differing = {name for run in runs for name in run.differs}
    differs = [label for name, label in LABELS.items() if name in differing]
    because = f" The environments differ in {', '.join(differs)}." if differs else ""
    match verification.agreement:
        case Agreement.WAITING:
            done = sum(run.agreement is not Agreement.WAITING for run in runs)
            return f"{done} of {total} runs are done again so far."
        case Agreement.NOT_REPEATED:
            return "Not every run could be done again: see the new experiment's errors." + because
        case Agreement.BIT_EQUAL:
            return (
                f"Bit-equal: {'the run' if total == 1 else f'all {total} runs'} gave the same weights and the same test"
                " scores."
            )
        case Agreement.WITHIN_INTERVAL:
            return (
                f"Within the interval: {equal} of {total} runs are bit-equal, and the others lie where one more run"
                " would with 95 %." + because
            )
        case Agreement.DIFFERENT:
            away = [run for run in runs if run.agreement is Agreement.DIFFERENT]
            worst = max(away, key=lambda run: abs(run.difference or 0.0))
            return (
                f"Different: {len(away)} of {total} runs lie outside where one more run would with 95 %, by up to"
                f" {with_sign(100 * (worst.difference or 0), 2)} points." + because
            )
