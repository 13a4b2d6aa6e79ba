"""Two experiments side by side: their paired scores, what differs between their specs, and what to beware of."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from sqlmodel import Session

from app.errors import NotFound
from app.services.analyses.looks import Looks
from app.services.analyses.pairing import (
    ONE_AND_THE_SAME,
    PairedScores,
    on_survivors,
    pair_sides,
)
from app.services.analyses.scores import ScoreKind, Scores
from app.services.analyses.sides import Side
from app.services.analyses.spec_paths import (
    Difference,
    all_paths,
    comparable,
    covers,
    differences,
    meant_by,
    spelled_out,
)
from app.services.experiments.artifacts import artifact_path
from app.services.experiments.likeness import UNKNOWN, conditions
from app.storage.files.store import FileStore
from app.storage.tables import Run
from lab_models.statistics.paired import discordant, mcnemar
from lab_models.statistics.verdicts import Judgement, not_measured
from lab_models.training.assessment import PREDICTIONS_NAME

SETS_THE_SIZE = re.compile(
    r"^(model|model\.(arch|depth|width|widths|hidden|stages|blocks_per_stage|convs_per_stage|block|head.*|layers"
    r"|layers\..*\.(conv|linear|kernel|groups|repeat|residual|layers)))$"
)
"""Fields that are varied in order to change the number of parameters: then a difference in size is no surprise."""

MOST_NAMED = 6
MADE_OTHERWISE = {
    "device": "the runs were trained on different kinds of device",
    "torch": "the runs were trained by different versions of torch",
    "micro_batches": "batches were computed in different numbers of parts, where memory ran out",
}
"""By fact what is said where it is not the same on both sides. Threads are not the same for all networks anyway."""


@dataclass(frozen=True)
class McNemar:
    """One seed's two checkpoints on the same test images; `p` is exact and two-sided."""

    seed: int
    only_treatment_right: int
    only_control_right: int
    p: float


@dataclass(frozen=True)
class Comparison(PairedScores):
    """Paired scores with all that is known of the two sides: what differs, what to beware of, and what single
    checkpoints say.
    """

    treatment: Side
    control: Side
    differs: tuple[Difference, ...]
    warnings: tuple[str, ...]
    mcnemar: tuple[McNemar, ...]

    def judged(self, p_adjusted: float | None = None) -> Judgement:
        """As of any pairs, unless both sides train the same: then further seeds would show nothing."""
        if self.treatment.effect == self.control.effect:
            return not_measured(ONE_AND_THE_SAME)
        return super().judged(p_adjusted)


class Evidence:
    """What comparisons of the given runs read: each metric, and each run's predictions, once for all of them."""

    def __init__(self, session: Session, files: FileStore, runs: Sequence[Run]) -> None:
        self.scores = Scores(session, runs)
        self.looks = Looks(session, runs)
        self._session, self._files = session, files
        self._marks: dict[str, Marks | None] = {}

    def marks(self, run_id: str) -> "Marks | None":
        """Which test images the run gets right; None where it kept no predictions, or the file is damaged."""
        if run_id not in self._marks:
            self._marks[run_id] = _marks(self._session, self._files, run_id)
        return self._marks[run_id]


@dataclass(frozen=True)
class Marks:
    """`is_right` (images,) of one run's predictions; `labels` is a hash of the true classes, which say what images
    these are.
    """

    is_right: npt.NDArray[np.bool_]
    labels: str


def compare_sides(
    evidence: Evidence,
    treatment: Side,
    control: Side,
    metric: ScoreKind,
    *,
    margin: float | None,
    factor: str = "",
) -> Comparison:
    """Pair the succeeded runs of the same seeds. `factor`: dotted paths or their last parts, separated by commas, that
    are meant to differ; empty: any one.

    Raises Conflict where the two cannot be compared at all: other data sets, or other test images.
    """
    found = pair_sides(evidence.scores, evidence.looks, treatment, control, metric, margin=margin)
    remarks = evidence.scores.remarks([*treatment.runs, *control.runs], metric)
    factor = spelled_out(factor, treatment.experiment.spec, control.experiment.spec)
    differs = tuple(differences(treatment.experiment.spec, control.experiment.spec))
    return Comparison(
        **vars(found),
        treatment=treatment,
        control=control,
        differs=differs,
        warnings=(
            *_warnings(treatment, control, differs, factor, found.seeds),
            *remarks,
            *on_survivors(evidence.scores, (control, treatment), metric),
        ),
        mcnemar=tuple(_mcnemar(evidence, treatment, control, found.seeds))
        if metric.name == "test.accuracy"
        else (),
    )


def _warnings(
    treatment: Side, control: Side, differs: Sequence[Difference], factor: str, seeds: Sequence[int]
) -> Iterator[str]:
    of_one_kind = {
        "kind",
        *(set(comparable(treatment.experiment.spec)) ^ set(comparable(control.experiment.spec))),
    }
    meant = [
        difference
        for difference in differs
        if covers(factor, difference.path)
        or (covers(factor, "kind") and difference.path in of_one_kind)
    ]
    others = [difference for difference in differs if difference not in meant]
    if not differs:
        yield "nothing differs between the two specs: this compares an experiment with itself"
    elif factor and not meant:
        paths = all_paths(treatment.experiment.spec, control.experiment.spec)
        yield f"the two do not differ in {factor}{meant_by(factor, paths)}"
    if factor and others:
        yield (
            f"the two differ in more than {factor}: {_named(others)}; the difference cannot be put down to {factor}"
            " alone"
        )
    elif not factor and len(others) > 1:
        yield (
            f"the two differ in {len(others)} fields: {_named(others)}; the difference cannot be put down to one of"
            " them"
        )
    sizes = treatment.experiment.parameters, control.experiment.parameters
    if sizes[0] != sizes[1] and not any(
        SETS_THE_SIZE.search(difference.path) for difference in meant
    ):
        yield f"the networks differ in size: {sizes[0]:,} parameters against {sizes[1]:,}"
    unpaired = {run.seed for side in (treatment, control) for run in side.succeeded} - set(seeds)
    if unpaired:
        yield (
            f"without a partner, and left out: seed{'s' if len(unpaired) > 1 else ''}"
            f" {', '.join(map(str, sorted(unpaired)))}"
        )
    for name, said in MADE_OTHERWISE.items():
        values = {
            str(value)
            for side in (treatment, control)
            for run in side.succeeded
            if (value := conditions(run.environment or {})[name]) is not UNKNOWN
        }
        if len(values) > 1:
            yield f"{said}: {', '.join(sorted(values))}"


def _named(differs: Sequence[Difference]) -> str:
    listed = [
        f"{difference.path} ({_short(difference.treatment)} against {_short(difference.control)})"
        for difference in differs[:MOST_NAMED]
    ]
    return ", ".join(listed) + (
        f" and {len(differs) - MOST_NAMED} more" if len(differs) > MOST_NAMED else ""
    )


def _short(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _mcnemar(
    evidence: Evidence, treatment: Side, control: Side, seeds: Sequence[int]
) -> Iterator[McNemar]:
    runs = [{run.seed: run.id for run in side.succeeded} for side in (treatment, control)]
    for seed in seeds:
        treated, plain = (evidence.marks(side[seed]) for side in runs)
        if treated is not None and plain is not None and treated.labels == plain.labels:
            only_treatment, only_control = discordant(
                treated.is_right, plain.is_right, np.ones_like(plain.is_right)
            )
            yield McNemar(seed, only_treatment, only_control, mcnemar(only_treatment, only_control))


def _marks(session: Session, files: FileStore, run_id: str) -> Marks | None:
    try:
        _, path = artifact_path(session, files, run_id, PREDICTIONS_NAME)
        with safe_open(path, framework="numpy") as file:
            predictions, labels = file.get_tensor("predictions"), file.get_tensor("labels")
    except (NotFound, SafetensorError, OSError, TypeError):
        # TypeError: a number format that NumPy has not
        return None
    if predictions.shape != labels.shape or labels.ndim != 1:
        return None
    return Marks(
        predictions == labels, hashlib.sha256(labels.astype(np.int64).tobytes()).hexdigest()
    )
