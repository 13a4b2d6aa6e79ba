"""What an experiment would be and cost, answered without storing anything."""

from typing import Any

from sqlmodel import Session

from app.api.experiments.schemas import EstimateAnswer
from app.api.schemas import Answer, LayerAnswer, PartAnswer, layers_of, part_answers
from app.services import lifecycle
from app.services.datasets.obstacles import obstacles
from app.services.experiments.estimates import warnings
from app.services.experiments.speeds import LatestSpeeds, Speeds, basis
from app.services.submitting.submissions import Prepared
from app.settings import Settings
from lab_models.architectures.parts import parts_of
from lab_models.specs import fingerprint
from lab_models.specs.request import many_seeds


class CostAnswer(EstimateAnswer):
    """Size and cost of one run, known before anything runs."""

    trainable_parameters: int
    """Those that are trained; the others are frozen."""
    steps: int
    """Optimizer steps of one run."""
    seconds: float
    """What one run takes here, as `based_on` says."""
    nominal_seconds: float
    """What it would take on two CPU cores of the machine of docs/results.md."""
    based_on: str
    """On what `seconds` rests: runs like it that finished here lately; nominal, before there are three."""
    memory_bytes: int
    """The least memory that training takes: weights, gradients, the optimizer's numbers, and one batch's activations.
    """
    dead_weights: int
    """Weights that can never get a gradient, because on this image size they only ever meet padding."""
    layers: list[LayerAnswer]
    parts: list[PartAnswer]
    """The network as it is drawn: blocks with what stands in them, what comes several times in a row once."""


class FoundationAnswer(Answer):
    """What would be trained first, since nothing equal is there."""

    role: str
    """`teacher` or `source`."""
    seeds: list[int]
    """One run each."""
    seconds: float
    """What all of them take here, one after the other."""
    nominal_seconds: float
    based_on: str


class DryRun(Answer):
    """What an experiment would be; nothing was stored."""

    valid: bool = True
    spec: dict[str, Any]
    """The effective spec: every default written out."""
    fingerprint: str
    seeds: list[int]
    changed: dict[str, tuple[Any, Any]] | None
    """With `like`: in what the spec differs from that experiment's, by dotted path: what it was, what it is."""
    estimate: CostAnswer
    foundation: FoundationAnswer | None
    """What it would be built on and has to be trained first; null where that is there or under way, or where it is
    built on nothing.
    """
    warnings: list[str]


def dry_run(prepared: Prepared, lately: Speeds, warned: list[str]) -> DryRun:
    """The answer to a request that is valid and possible."""
    spec, cost = prepared.plan.spec, prepared.cost
    expected = lately.of(cost)
    return DryRun(
        spec=spec.model_dump(mode="json"),
        fingerprint=fingerprint(spec),
        seeds=list(prepared.own.seeds),
        changed=prepared.changed,
        estimate=CostAnswer(
            parameters=cost.parameters,
            macs_per_sample=cost.macs_per_sample,
            trainable_parameters=cost.trainable_parameters,
            steps=cost.steps,
            seconds=round(expected.seconds, 1),
            nominal_seconds=cost.seconds,
            based_on=basis([expected]),
            memory_bytes=cost.memory_bytes,
            dead_weights=cost.size.dead_weights,
            layers=layers_of(cost.size),
            parts=part_answers(parts_of(cost.size, prepared.info.num_classes)),
        ),
        foundation=_foundation(prepared, lately),
        warnings=warned,
    )


def priced(
    session: Session, prepared: Prepared, settings: Settings, speeds: LatestSpeeds
) -> DryRun:
    """The same, with this service's speeds and with what it warns of."""
    return dry_run(prepared, speeds(session), warnings_of(session, prepared, settings))


def _foundation(prepared: Prepared, lately: Speeds) -> FoundationAnswer | None:
    first, seeds = prepared.foundation, prepared.plan.missing
    if first is None or not seeds:
        return None
    expected = lately.of(first.cost)
    return FoundationAnswer(
        role=str(prepared.request.role),
        seeds=list(seeds),
        seconds=round(len(seeds) * expected.seconds, 1),
        nominal_seconds=len(seeds) * expected.nominal_seconds,
        based_on=basis([expected]),
    )


def warnings_of(session: Session, prepared: Prepared, settings: Settings) -> list[str]:
    """What is probably not meant, and what will be in its way."""
    many = many_seeds(prepared.submitted)
    own = [*([] if many is None else [many]), *warnings(prepared.plan.spec, prepared.info)]
    own += lifecycle.absence_of(session, prepared.request.device)
    if prepared.plan.spec.precision == "tf32" and prepared.request.device != "cuda":
        own.append(
            "precision 'tf32' is float32 where a CPU trains it: device 'cuda' keeps it on a GPU"
        )
    return [*own, *obstacles(settings, prepared.datasets.values())]
