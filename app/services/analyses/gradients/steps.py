"""A parameter's gradient over the steps of training: read from what succeeded runs have published, and its figure."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load
from sqlmodel import Session, col, select

from app.errors import InvalidRequest, NotFound
from app.plots.figures.experiments import LayerGradientFigure
from app.services.analyses.curves import standing
from app.services.analyses.exhibits import Exhibit
from app.services.experiments import experiments, revisions
from app.services.experiments.artifacts import artifact_path
from app.storage.files.store import FileStore
from app.storage.tables import Artifact, Experiment, Run
from lab_models.common.validation import FieldError, did_you_mean
from lab_models.specs import LayerGradientsSpec, read_spec
from lab_models.training.layer_metrics import LAYER_GRADIENTS_NAME, MAGNITUDES, STATISTICS

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RunSteps:
    """One run's gradient of the parameter: `steps` (P,) from 1, `statistics` (P, 3) as STATISTICS, NaN where it was
    frozen; `counts` (P, bins) by magnitude, None without histograms.
    """

    run: Run
    steps: npt.NDArray[np.int64]
    statistics: npt.NDArray[np.float64]
    counts: Counts | None

    def of(self, name: str) -> npt.NDArray[np.float64]:
        """One of the statistics, (P,)."""
        values: npt.NDArray[np.float64] = self.statistics[:, STATISTICS.index(name)]
        return values


@dataclass(frozen=True)
class StepGradients:
    """Of one parameter, over an experiment's runs that have succeeded; `all_runs` are its others too."""

    layer: str
    asked: LayerGradientsSpec
    steps_per_epoch: int | None
    runs: tuple[RunSteps, ...]
    all_runs: tuple[Run, ...]

    @property
    def num_runs(self) -> int:
        """How many there are in all."""
        return len(self.all_runs)

    @property
    def common_steps(self) -> npt.NDArray[np.int64]:
        """The steps that all runs have measured: early stopping ends some before others."""
        if not self.runs:
            return np.zeros(0, dtype=np.int64)
        return min((one.steps for one in self.runs), key=len)

    @property
    def counts(self) -> Counts | None:
        """Elements by magnitude at the common steps, added up over the runs: (P, bins); None without histograms."""
        found = [one.counts for one in self.runs if one.counts is not None]
        if not found:
            return None
        shared = len(self.common_steps)
        summed: Counts = np.sum([counts[:shared] for counts in found], axis=0, dtype=np.int64)
        return summed


def step_gradients(
    session: Session, files: FileStore, experiment: Experiment, layer: str | None
) -> StepGradients:
    """A parameter's gradient over the steps; without a name the first that was asked for. Raises NotFound for an
    experiment that measures none, and InvalidRequest for another parameter than those that it does.
    """
    asked = _asked(experiment)
    name = asked.layers[0] if layer is None else _known(layer, asked)
    runs = experiments.its_runs(session, experiment.id)
    named = (
        col(Artifact.run_id).in_([run.id for run in runs]),
        col(Artifact.name) == LAYER_GRADIENTS_NAME,
    )
    published = {artifact.run_id for artifact in session.exec(select(Artifact).where(*named))}
    found = [_read(session, files, run, name) for run in runs if run.id in published]
    return StepGradients(
        name,
        asked,
        found[0][1] if found else None,
        tuple(one for one, _ in found),
        tuple(runs),
    )


def layer_gradient(
    session: Session, files: FileStore, experiment: Experiment, layer: str | None
) -> Exhibit[LayerGradientFigure]:
    """The figure of it; raises as `step_gradients` does."""
    asked = _asked(experiment)
    name = asked.layers[0] if layer is None else _known(layer, asked)
    return Exhibit(
        "layer-gradient",
        (name,),
        revisions.of_experiments(session, [experiment.id]),
        lambda: _figure(experiment, step_gradients(session, files, experiment, name)),
    )


def _asked(experiment: Experiment) -> LayerGradientsSpec:
    asked = read_spec(experiment.spec).layer_gradients
    if asked is None:
        raise NotFound(
            f"experiment {experiment.id} measures no gradient step by step; send its spec with"
            ' "layer_gradients": {"layers": ["head.weight"]}'
        )
    return asked


def _known(layer: str, asked: LayerGradientsSpec) -> str:
    if layer not in asked.layers:
        message = f"the gradient of {layer!r} was not measured"
        hint = did_you_mean(layer, list(asked.layers))
        raise InvalidRequest(message, [FieldError("/layer", message, hint)])
    return layer


def _read(session: Session, files: FileStore, run: Run, layer: str) -> tuple[RunSteps, int]:
    """One run's file, of which one parameter's numbers are taken; and the steps of an epoch."""
    artifact, path = artifact_path(session, files, run.id, LAYER_GRADIENTS_NAME)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != artifact.sha256:
        raise NotFound(
            f"{LAYER_GRADIENTS_NAME} of run {run.id} is damaged: its SHA-256 is not the recorded one"
        )
    tensors = load(content)
    length = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["layer_gradients"])
    place = about["layers"].index(layer)
    counts = tensors.get("counts")
    steps = RunSteps(
        run,
        tensors["steps"],
        tensors["statistics"][:, place],
        None if counts is None else counts[:, place].astype(np.int64),
    )
    return steps, about["steps_per_epoch"]


def _figure(experiment: Experiment, found: StepGradients) -> LayerGradientFigure:
    shared = len(found.common_steps)
    counts = found.counts
    return LayerGradientFigure(
        title=f"{experiment.name or experiment.id}: gradient of {found.layer}",
        subtitle=_subtitle(experiment, found),
        steps=found.common_steps,
        norms=np.array([one.of("l2")[:shared] for one in found.runs]).reshape(
            len(found.runs), shared
        ),
        steps_per_epoch=found.steps_per_epoch,
        magnitudes=np.array(MAGNITUDES),
        counts=counts,
    )


def _subtitle(experiment: Experiment, found: StepGradients) -> str:
    every = found.asked.every_steps
    said = [
        standing(experiment, found.all_runs),
        "every step" if every == 1 else f"one step of {every}",
    ]
    if 0 < len(found.runs) < found.num_runs:
        said.append(f"{len(found.runs)} of {found.num_runs} runs have succeeded")
    longest = max((len(one.steps) for one in found.runs), default=0)
    if longest > len(found.common_steps):
        said.append("up to where the first of the runs ended")
    return "; ".join(said)
