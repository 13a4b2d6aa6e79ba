"""What a distillation has gained over HTTP: teacher, baseline and distilled student as a table and as a picture."""

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

from fastapi import Response
from sqlmodel import Session

from app.api.experiments.schemas import SummaryAnswer
from app.api.http import passes
from app.api.http.deps import Reading, TheExperiment
from app.api.http.pictures import PICTURE_RESPONSES, IfNoneMatch, PictureFormat, picture
from app.api.schemas import Answer
from app.plots.figures.experiments import ComparisonFigure, Line
from app.plots.series import Series
from app.services.analyses.distillations import (
    Arm,
    ArmRole,
    DistillationOutcome,
    gap_of,
    load_comparison,
    sentence,
    warnings,
)
from app.services.experiments import revisions
from app.services.experiments.metrics import curves_of
from app.services.experiments.results import Summary
from app.tabulation import markdown_text, to_csv
from lab_models.specs import FeatureSpec
from lab_models.statistics.paired import Paired
from lab_models.statistics.verdicts import Verdict

router = passes.router(prefix="/experiments", tags=["distillation"])

CSV, MARKDOWN = "text/csv; charset=utf-8", "text/markdown; charset=utf-8"
LONGEST_NETWORK = 45
SeriesByName = dict[tuple[str, str], Series]
SCORES = ("accuracy", "nll", "ece", "teacher_agreement")


class ArmAnswer(Answer):
    """One row: a network and what it scored on test, over its succeeded runs."""

    role: ArmRole
    experiment_id: str | None
    """null when the experiment is gone."""
    num_runs: int
    seeds: list[int]
    """Those of the succeeded runs: the numbers come from these."""
    network: str
    parameters: int | None
    share_of_teacher: float | None
    """Parameters, as a share of the teacher's."""
    macs_per_sample: int | None
    """Multiply-accumulates of one image's forward pass."""
    accuracy: SummaryAnswer | None
    nll: SummaryAnswer | None
    """Mean negative log-likelihood, nats."""
    ece: SummaryAnswer | None
    """Expected calibration error."""
    teacher_agreement: SummaryAnswer | None
    """Share of test images that get the teacher's class, right or wrong; of the distilled student."""


class PairAnswer(Answer):
    """One seed with and without the teacher; `difference` is distilled minus baseline in percentage points."""

    seed: int
    baseline: float
    distilled: float
    difference: float


class GainAnswer(Answer):
    """Distilled minus baseline on test, in percentage points, paired over the seeds that succeeded in both arms: judged
    as `/comparisons` and a study's contrasts are.
    """

    verdict: Verdict
    """On "the distilled student is better than its baseline"."""
    sentence: str
    """The verdict with the numbers it rests on."""
    mean: float | None
    std: float | None
    n: int
    ci95: tuple[float, float] | None
    """The paired t-test's; null below two pairs, and when all differences are equal."""
    p_t: float | None
    """Of the paired t-test, two-sided."""
    margin: float | None
    """Differences within ± this count as none; by the data set."""
    p_equivalence: float | None
    """Of two one-sided tests (TOST) against the margin."""
    more_seeds: int | None
    """When inconclusive: about how many more seeds would settle it, at this spread."""
    minutes: float | None
    """What those seeds would take, one after the other."""
    pairs: list[PairAnswer]
    gap_closed: float | None
    """(distilled - baseline) / (teacher - baseline)."""
    gap_reason: str | None
    """Why `gap_closed` is null."""


class DistillationAnswer(Answer):
    """Teacher, baseline and distilled student side by side."""

    experiment_id: str
    name: str | None
    complete: bool
    """Whether every run of every arm has succeeded."""
    sentence: str
    temperature: float
    alpha: float
    features: FeatureSpec | None
    """What of the teacher is matched beside its logits; null: nothing."""
    rows: list[ArmAnswer]
    gain: GainAnswer
    warnings: list[str]
    links: dict[str, str]


@router.get(
    "/{experiment_id}/distillation",
    response_model=DistillationAnswer,
    responses={
        200: {"content": {"text/csv": {}, "text/markdown": {}}},
        404: {"description": "No such experiment, or not a distillation"},
    },
)
def read_distillation(
    session: Reading,
    experiment: TheExperiment,
    format: Literal["json", "md", "csv"] = "json",  # noqa: A002
) -> Any:
    """What the student has learned from its teacher, beside the same student without one; at any time, with what there
    is.
    """
    answer = _answer(load_comparison(session, experiment))
    match format:
        case "json":
            return answer
        case "md":
            return Response(_markdown(answer), media_type=MARKDOWN)
        case "csv":
            disposition = f'attachment; filename="{experiment.id}-distillation.csv"'
            return Response(
                _csv(answer), media_type=CSV, headers={"Content-Disposition": disposition}
            )


@router.get(
    "/{experiment_id}/distillation.{extension}",
    response_class=Response,
    responses=PICTURE_RESPONSES,
)
def draw_distillation(
    session: Reading,
    experiment: TheExperiment,
    extension: PictureFormat,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Training loss, val loss and val accuracy of teacher, baseline and distilled student; means and ranges over
    seeds.
    """
    comparison = load_comparison(session, experiment)
    arms = [
        arm.experiment_id
        for arm in comparison.arms
        if arm.experiment_id is not None and arm.role is not ArmRole.TEACHER
    ]
    shown = [
        "distillation",
        revisions.of_experiments(session, arms, [run.id for run in comparison.teacher.runs]),
    ]
    return picture(shown, lambda: _figure(session, comparison), extension, if_none_match)


def _answer(comparison: DistillationOutcome) -> DistillationAnswer:
    base = f"/experiments/{comparison.experiment_id}"
    return DistillationAnswer(
        experiment_id=comparison.experiment_id,
        name=comparison.name,
        complete=comparison.complete,
        sentence=sentence(comparison),
        temperature=comparison.temperature,
        alpha=comparison.alpha,
        features=comparison.features,
        rows=[_row(arm, comparison.teacher.parameters) for arm in comparison.arms],
        gain=_gain_answer(comparison),
        warnings=warnings(comparison),
        links={
            "self": f"{base}/distillation",
            "picture": f"{base}/distillation.png",
            "experiment": base,
        },
    )


def _row(arm: Arm, teacher_parameters: int | None) -> ArmAnswer:
    return ArmAnswer(
        role=arm.role,
        experiment_id=arm.experiment_id,
        num_runs=len(arm.runs),
        seeds=[run.seed for run in arm.succeeded],
        network=arm.network,
        parameters=arm.parameters,
        share_of_teacher=(
            arm.parameters / teacher_parameters
            if arm.parameters is not None and teacher_parameters
            else None
        ),
        macs_per_sample=arm.macs_per_sample,
        **{name: _summary(arm.summary(name)) for name in SCORES},
    )


def _summary(summary: Summary | None) -> SummaryAnswer | None:
    if summary is None:
        return None
    return SummaryAnswer(
        mean=summary.mean,
        std=summary.std,
        n=summary.n,
        ci95=summary.ci95,
        values=list(summary.values),
    )


def _gain_answer(comparison: DistillationOutcome) -> GainAnswer:
    scores, judgement, gap = comparison.gain.scores, comparison.gain.judgement, gap_of(comparison)
    paired = Paired(0, (), None) if scores is None else scores.paired
    return GainAnswer(
        verdict=judgement.verdict,
        sentence=judgement.sentence,
        mean=paired.mean,
        std=paired.std,
        n=paired.n,
        ci95=paired.ci95,
        p_t=paired.p_t,
        margin=paired.margin,
        p_equivalence=paired.p_tost,
        more_seeds=judgement.more_seeds,
        minutes=judgement.minutes,
        pairs=_pairs(comparison),
        gap_closed=gap.closed,
        gap_reason=gap.reason,
    )


def _pairs(comparison: DistillationOutcome) -> list[PairAnswer]:
    scores, baseline = comparison.gain.scores, comparison.baseline
    if scores is None or baseline is None:
        return []
    alone, taught = baseline.by_seed("accuracy"), comparison.distilled.by_seed("accuracy")
    return [
        PairAnswer(seed=seed, baseline=alone[seed], distilled=taught[seed], difference=points)
        for seed, points in zip(scores.seeds, scores.paired.differences, strict=True)
    ]


def _csv(answer: DistillationAnswer) -> str:
    """One row per network, numbers in full; the gain stands in the distilled student's row."""
    rows = [
        _flat(row) | (_flat_gain(answer.gain) if row.role is ArmRole.DISTILLED else {})
        for row in answer.rows
    ]
    return to_csv(rows, columns=list(rows[-1]))


def _flat(row: ArmAnswer) -> dict[str, Any]:
    plain = {
        "role": row.role.value,
        "experiment_id": row.experiment_id,
        "num_runs": row.num_runs,
        "seeds": " ".join(map(str, row.seeds)),
        "network": row.network,
        "parameters": row.parameters,
        "share_of_teacher": row.share_of_teacher,
        "macs_per_sample": row.macs_per_sample,
    }
    for name in SCORES:
        summary: SummaryAnswer | None = getattr(row, name)
        low, high = (None, None) if summary is None or summary.ci95 is None else summary.ci95
        mean, std, n = (
            (None, None, 0) if summary is None else (summary.mean, summary.std, summary.n)
        )
        plain |= {
            f"{name}_mean": mean,
            f"{name}_std": std,
            f"{name}_n": n,
            f"{name}_ci95_low": low,
            f"{name}_ci95_high": high,
        }
    return plain


def _flat_gain(gain: GainAnswer) -> dict[str, Any]:
    low, high = gain.ci95 or (None, None)
    numbers = {"mean": gain.mean, "std": gain.std, "n": gain.n, "ci95_low": low, "ci95_high": high}
    return {f"gain_points_{name}": value for name, value in numbers.items()} | {
        "verdict": gain.verdict.value,
        "gap_closed": gain.gap_closed,
    }


def _markdown(answer: DistillationAnswer) -> str:
    head = (
        "",
        "network",
        "parameters",
        "of teacher",
        "MACs",
        "runs",
        "test accuracy, %",
        "95 % interval, %",
        "NLL",
        "ECE",
        "agreement with teacher, %",
    )
    lines = [head, ("---", "---", *["---:"] * (len(head) - 2)), *map(_cells, answer.rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    title = markdown_text(answer.name or answer.experiment_id)
    notes = "".join(f"\n- Warning: {warning}." for warning in answer.warnings)
    return f"## {title}\n\n{table}\n\n{answer.sentence}\n{notes and notes + chr(10)}"


def _cells(row: ArmAnswer) -> Sequence[str]:
    none = "-"
    accuracy = row.accuracy
    return (
        row.role.value,
        markdown_text(row.network),
        none if row.parameters is None else f"{row.parameters:,}",
        none if row.share_of_teacher is None else f"{100 * row.share_of_teacher:.3g} %",
        none if row.macs_per_sample is None else f"{row.macs_per_sample:,}",
        f"{len(row.seeds)} of {row.num_runs}",
        _with_spread(accuracy, 100, 2),
        (
            none
            if accuracy is None or accuracy.ci95 is None
            else "{:.2f} to {:.2f}".format(*(100 * end for end in accuracy.ci95))
        ),
        _with_spread(row.nll, 1, 4),
        _with_spread(row.ece, 1, 4),
        _with_spread(row.teacher_agreement, 100, 2),
    )


def _with_spread(summary: SummaryAnswer | None, factor: int, decimals: int) -> str:
    """Mean ± standard deviation over seeds."""
    if summary is None:
        return "-"
    spread = "" if summary.std is None else f" ± {factor * summary.std:.{decimals}f}"
    return f"{factor * summary.mean:.{decimals}f}{spread}"


def _figure(session: Session, comparison: DistillationOutcome) -> ComparisonFigure:
    features = comparison.features
    parts = ["hard_loss", "soft_loss", *([] if features is None else [f"{features.name}_loss"])]
    curves = curves_of(
        session,
        [[run.id for run in arm.runs] for arm in comparison.arms],
        ["loss", "accuracy", *parts],
    )
    found = dict(zip((arm.role for arm in comparison.arms), curves.groups, strict=True))
    return ComparisonFigure(
        title=comparison.name or comparison.experiment_id,
        subtitle=sentence(comparison) + (f" Shown: {curves.note}." if curves.note else ""),
        lines=[line for arm in comparison.arms for line in _lines(arm, found[arm.role], features)],
        labels={arm.role.value: _label(arm, found[arm.role]) for arm in comparison.arms}
        | {
            "soft": f"distilled, soft loss: T² · KL at T = {comparison.temperature:g}",
            "features": ""
            if features is None
            else f"distilled, {features.weight:g} · {features.name} loss",
            "total": (
                f"distilled, total loss: {comparison.alpha:g} · soft + {1 - comparison.alpha:g} · hard"
                + ("" if features is None else f" + {features.weight:g} · {features.name}")
            ),
        },
        epochs=max((run.epochs for arm in comparison.arms for run in arm.runs), default=1),
    )


def _lines(arm: Arm, found: SeriesByName, features: FeatureSpec | None) -> list[Line]:
    """One arm in the three panels. A student's `loss` in training is a mixture: its cross-entropy, which the others' is
    comparable with, is `hard_loss`.
    """
    wanted = {
        ("val_loss", arm.role.value): found.get(("val", "loss")),
        ("val_accuracy", arm.role.value): found.get(("val", "accuracy")),
    }
    total, hard = found.get(("train", "loss")), found.get(("train", "hard_loss"))
    if arm.role is not ArmRole.DISTILLED or hard is None:
        wanted = {("train_loss", arm.role.value): total, **wanted}
    else:
        beside = None if features is None else found.get(("train", f"{features.name}_loss"))
        parts = {"distilled": hard, "soft": found.get(("train", "soft_loss")), "total": total}
        parts["features"] = (
            None if beside is None or features is None else beside.times(features.weight)
        )  # as it counts in the total
        wanted = {("train_loss", part): series for part, series in parts.items()} | wanted
    return [
        Line(panel, part, series) for (panel, part), series in wanted.items() if series is not None
    ]


def _label(arm: Arm, found: SeriesByName) -> str:
    """Such as `baseline, mean and range of 5 runs` and below it the network."""
    begun = max((series.num_runs for series in found.values()), default=0)
    several = f", mean and range of {begun} runs" if begun > 1 else ""
    network = textwrap.shorten(arm.network, LONGEST_NETWORK, placeholder="…")
    hard = "; in training its hard loss" if ("train", "hard_loss") in found else ""
    return f"{arm.role.value}{several}\n{network}{hard}"
