"""Teacher, baseline and distilled student in one table and one picture: numbers against scipy's, sentences, drawing,
HTTP.
"""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import stats
from sqlmodel import Session
from starlette.testclient import TestClient

from app.plots.figures.experiments import ComparisonFigure, Line
from app.plots.pictures.experiments.comparison import LINES, PANELS, draw_comparison
from app.services.analyses.distillation.outcomes import (
    ACCURACY,
    NO_BASELINE,
    Arm,
    ArmRole,
    ArmRun,
    DistillationOutcome,
    Gain,
)
from app.services.analyses.distillation.wording import gap_of, sentence, warnings
from app.services.analyses.pairing import PairedScores, pair_scores
from app.services.experiments import experiments
from app.services.experiments.metrics import record_epoch
from app.storage.db import Database
from app.storage.states import RunStatus, StatusReason
from app.storage.tables import Experiment, Run, utc_now
from lab_models.specs import DistillSpec, MLPSpec, TrainSpec, fingerprint
from lab_models.statistics.paired import Paired
from lab_models.statistics.verdicts import ContrastVerdict
from tests.app.pictures import words
from tests.app.series import over_runs
from tests.lab_models.conftest import EXAMPLES

BASELINE = {0: 0.8700, 1: 0.8720, 2: 0.8650, 3: 0.8810, 4: 0.8740}
DISTILLED = {0: 0.8860, 1: 0.8790, 2: 0.8840, 3: 0.8900, 4: 0.8850}
TEACHER = 0.9050


def arm(role: ArmRole, accuracies: Mapping[int, float | RunStatus | None], **differing: Any) -> Arm:
    """An arm of succeeded runs; a status in place of an accuracy is a run that has not succeeded."""
    runs = tuple(
        (
            ArmRun(f"run_{role}{seed}", seed, value, 20)
            if isinstance(value, RunStatus)
            else ArmRun(
                f"run_{role}{seed}",
                seed,
                RunStatus.SUCCEEDED,
                20,
                {"accuracy": value} if value is not None else {},
                "a" * 64,
            )
        )
        for seed, value in accuracies.items()
    )
    return dataclasses.replace(Arm(role, f"exp_{role}", "mlp 2 x 32", 1000, 900, runs), **differing)


def comparison(
    baseline: Mapping[int, Any] | None = BASELINE,
    distilled: Mapping[int, Any] = DISTILLED,
    teacher: Any = TEACHER,
    margin: float = 0.15,
) -> DistillationOutcome:
    alone = None if baseline is None else arm(ArmRole.BASELINE, baseline)
    taught = arm(ArmRole.DISTILLED, distilled)
    return DistillationOutcome(
        "exp_1",
        "a name",
        4.0,
        0.9,
        arm(ArmRole.TEACHER, {7: teacher}),
        alone,
        taught,
        Gain(None, NO_BASELINE) if alone is None else Gain(paired(taught, alone, margin)),
    )


def paired(taught: Arm, alone: Arm, margin: float) -> PairedScores:
    scores = (taught.by_seed("accuracy"), alone.by_seed("accuracy"))
    return pair_scores(ACCURACY, *scores, margin=margin)


def gain_of(measured: DistillationOutcome) -> Paired:
    assert measured.gain.scores is not None
    return measured.gain.scores.paired


def verdict_of(measured: DistillationOutcome) -> ContrastVerdict:
    return measured.gain.judgement.verdict


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    gain = gain_of(comparison())
    expected = stats.ttest_rel(
        [100 * value for value in DISTILLED.values()], [100 * value for value in BASELINE.values()]
    )
    interval = expected.confidence_interval(0.95)
    assert gain.ci95 == pytest.approx((interval.low, interval.high))
    assert gain.p_t == pytest.approx(expected.pvalue)
    assert (gain.n, verdict_of(comparison())) == (5, ContrastVerdict.BETTER)


def test_the_gain_and_the_gap_are_those_computed_by_hand() -> None:
    gain = gain_of(comparison())
    differences = [1.6, 0.7, 1.9, 0.9, 1.1]
    assert gain.differences == pytest.approx(differences)
    assert gain.mean == pytest.approx(1.24)
    assert gain.std == pytest.approx(
        math.sqrt(sum((difference - 1.24) ** 2 for difference in differences) / 4)
    )
    baseline_mean = 0.8724
    assert gap_of(comparison()).closed == pytest.approx(1.24 / (90.50 - 100 * baseline_mean))


def test_only_seeds_that_succeeded_in_both_arms_are_paired() -> None:
    """Seed 3 fails in one arm and seed 4 is unknown to the other: neither may move the difference."""
    partly = comparison(
        {0: 0.80, 1: 0.82, 3: RunStatus.FAILED, 5: 0.10}, {1: 0.85, 0: 0.84, 3: 0.99, 4: 0.99}
    )
    assert partly.gain.scores is not None
    assert partly.gain.scores.seeds == (1, 0)
    assert gain_of(partly).differences == pytest.approx((3.0, 4.0))
    assert gain_of(partly).mean == pytest.approx(3.5)
    assert gap_of(partly).closed == pytest.approx(3.5 / (90.5 - 81.0))


accuracies = st.integers(0, 1000).map(lambda right: right / 1000)


@EXAMPLES
@given(st.lists(st.tuples(accuracies, accuracies), min_size=2, max_size=8), accuracies)
def test_any_numbers_give_scipys_interval_and_a_gain_is_said_only_where_it_is_shown(
    pairs: list[tuple[float, float]], teacher: float
) -> None:
    measured = comparison(
        dict(enumerate(pair[0] for pair in pairs)),
        dict(enumerate(pair[1] for pair in pairs)),
        teacher,
    )
    gain, verdict = gain_of(measured), verdict_of(measured)
    if gain.ci95 is None:
        assert np.ptp(gain.differences) == pytest.approx(0, abs=1e-8)
        assert verdict is ContrastVerdict.OPEN
    else:
        tested = stats.ttest_1samp([100 * (taught - alone) for alone, taught in pairs], 0)
        interval = tested.confidence_interval(0.95)
        assert gain.ci95 == pytest.approx((interval.low, interval.high))
        if verdict is ContrastVerdict.BETTER:
            assert interval.low > 0
        if verdict is ContrastVerdict.OPEN:
            wider = tested.confidence_interval(0.96)  # as the planned look is decided
            assert wider.low <= 1e-9
            assert wider.high >= -1e-9
    gap = gap_of(measured)
    assert (
        (gap.closed is None)
        == (gap.reason is not None)
        == (teacher <= sum(pair[0] for pair in pairs) / len(pairs) + 1e-11)
    )
    said = sentence(measured)
    assert measured.gain.judgement.sentence in said
    assert said.endswith(measured.gain.judgement.sentence) == (
        verdict is not ContrastVerdict.BETTER
    )


def interval(measured: DistillationOutcome) -> str:
    ci95 = gain_of(measured).ci95
    assert ci95 is not None
    return "95 % interval {:+.2f} to {:+.2f}".format(*ci95).replace("-", "−")


def test_a_gain_is_said_with_its_interval_and_the_share_of_the_gap() -> None:
    measured = comparison()
    assert (
        sentence(measured)
        == f"Better on test than the baseline? Better: +1.24 percentage points, {interval(measured)} over 5 paired"
        " seeds, p = 0.0051 (level 4 %). That closes 38 % of the gap to the teacher."
    )


def test_a_student_better_than_its_teacher_is_said_to_pass_it() -> None:
    assert sentence(comparison(teacher=0.88)).endswith(
        "p = 0.0051 (level 4 %). That passes the teacher: 163 % of the gap to it."
    )


def test_a_gain_under_a_teacher_worse_than_the_baseline_closes_no_gap() -> None:
    measured = comparison(teacher=0.87)
    gap = gap_of(measured)
    assert gap.closed is None
    assert (
        gap.reason
        == "the teacher (87.00 %) is not better than the baseline (87.24 %), so there is no gap to close"
    )
    assert sentence(measured).endswith(
        " The teacher (87.00 %) is not better than the baseline (87.24 %), so there is no gap to close."
    )


def test_an_interval_that_includes_zero_shows_no_gain() -> None:
    measured = comparison({0: 0.87, 1: 0.88, 2: 0.86}, {0: 0.88, 1: 0.875, 2: 0.868})
    assert sentence(measured).startswith(
        f"Better on test than the baseline? Open: +0.43 percentage points, {interval(measured)} over 3 paired"
        " seeds, p = 0.45 (level 4 %); to show a difference as large as the margin, or that there is none, takes about "
    )
    assert "gap" not in sentence(measured)


def test_a_loss_is_worse() -> None:
    measured = comparison(DISTILLED, BASELINE)
    assert verdict_of(measured) is ContrastVerdict.WORSE
    assert (
        sentence(measured)
        == f"Better on test than the baseline? Worse: −1.24 percentage points, {interval(measured)} over 5"
        " paired seeds, p = 0.0051 (level 4 %)."
    )


def test_one_pair_and_equal_differences_have_no_interval() -> None:
    one = comparison({3: 0.8}, {3: 0.81})
    assert (
        sentence(one)
        == "Better on test than the baseline? Open: +1.00 percentage points with the one paired seed; one pair"
        " has no interval: add seeds."
    )
    equal = comparison({0: 0.80, 1: 0.70}, {0: 0.81, 1: 0.71})
    assert gain_of(equal).ci95 is None
    assert (
        "+1.00 percentage points with each of the 2 paired seeds; equal differences have neither interval nor p"
        in sentence(equal)
    )
    assert "0.00 percentage points with each of the 5 paired seeds" in sentence(
        comparison(BASELINE, BASELINE)
    )


def test_without_a_baseline_it_is_said_what_to_send() -> None:
    assert (
        sentence(comparison(baseline=None))
        == "The distilled student reaches 88.48 % on test (mean of 5 seeds), the teacher 90.50 %."
        ' There is no baseline, so no gain can be computed: send the experiment again with "baseline": true.'
    )
    assert gap_of(comparison(baseline=None)).reason == "there is no baseline"
    assert verdict_of(comparison(baseline=None)) is ContrastVerdict.NOT_MEASURED


def test_what_is_missing_is_counted() -> None:
    begun = comparison(
        {0: RunStatus.FAILED, 1: RunStatus.QUEUED},
        {0: 0.5, 1: RunStatus.RUNNING},
        RunStatus.SUCCEEDED,
    )
    assert not begun.complete
    assert (
        sentence(begun)
        == "The distilled student reaches 50.00 % on test (one seed). Better on test than the baseline? Not measured:"
        " no seed has a number in both arms. Not all runs have succeeded: teacher 0 of 1 (1 untested); baseline 0 of 2"
        " (1 failed, 1 queued); distilled 1 of 2 (1 running)."
    )
    assert gap_of(begun).reason == "no seed has succeeded in both arms"
    some = comparison(BASELINE, DISTILLED | {4: RunStatus.RUNNING})
    assert "over 4 paired seeds" in sentence(some)
    assert sentence(some).endswith(
        " That closes 39 % of the gap to the teacher. Not all runs have succeeded: distilled 4 of 5 (1 running)."
    )
    waiting = comparison(BASELINE, DISTILLED, RunStatus.RUNNING)
    assert gap_of(waiting).reason == "the teacher's test accuracy is not known"


def test_a_tiny_end_of_an_interval_keeps_its_sign() -> None:
    measured = comparison(
        {0: 0.5, 1: 0.5, 2: 0.5}, {0: 0.50001, 1: 0.50001, 2: 0.50002}, margin=1e-4
    )
    assert "+0.001 percentage points, 95 % interval −0.0001 to +0.003 " in sentence(measured)


def test_arms_that_are_not_comparable_are_warned_of() -> None:
    usual = comparison()
    assert warnings(usual) == []
    moved = dataclasses.replace(
        usual.distilled,
        runs=tuple(
            dataclasses.replace(run, dataset_sha256="b" * 64) for run in usual.distilled.runs
        ),
    )
    assert (
        "different versions of the data set"
        in warnings(dataclasses.replace(usual, distilled=moved))[0]
    )
    seen = tuple(
        dataclasses.replace(run, test={"accuracy": 0.9, "teacher_accuracy": 0.8})
        for run in usual.distilled.runs
    )
    [warning] = warnings(
        dataclasses.replace(usual, distilled=dataclasses.replace(usual.distilled, runs=seen))
    )
    assert (
        warning
        == "the teacher scored 90.50 % on test in its own run, but 80.00 % when the students were tested beside it"
    )


# The picture


def falling(num_runs: int, height: float, epochs: int) -> list[dict[int, float | None]]:
    return [
        {epoch: height / epoch + 0.02 * run for epoch in range(1, epochs + 1)}
        for run in range(num_runs)
    ]


def figure(epochs: int = 6, num_runs: int = 3, **differing: Any) -> ComparisonFigure:
    arms = {"teacher": 1, "baseline": num_runs, "distilled": num_runs}
    lines = [
        Line(panel, name, over_runs(*falling(count, 1 + len(name) / 10, epochs)))
        for panel in PANELS
        for name, count in arms.items()
    ]
    lines += [
        Line("train_loss", part, over_runs(*falling(num_runs, 3, epochs)))
        for part in ("soft", "features", "total")
    ]
    usual = ComparisonFigure(
        "a title", "a sentence", lines, {part: (f"{part} in words", "a note") for part in LINES}, 20
    )
    return dataclasses.replace(usual, **differing)


@pytest.mark.parametrize(
    ("extension", "beginning"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_every_format_is_drawn_and_equal_figures_give_equal_bytes(
    extension: str, beginning: bytes
) -> None:
    drawn = draw_comparison(figure(), extension)
    assert drawn.startswith(beginning)
    assert drawn == draw_comparison(figure(), extension)


def test_the_picture_says_what_it_shows_and_its_legend_stands_once() -> None:
    shown = words(draw_comparison(figure(), "svg"))
    assert {"a title", "a sentence", *PANELS.values(), "Epoch"} <= set(shown)
    assert [shown.count(f"{part} in words") for part in LINES] == [1] * len(LINES)
    alone = words(
        draw_comparison(
            figure(lines=[Line("val_loss", "teacher", over_runs(*falling(1, 1, 3)))]), "svg"
        )
    )
    assert [part for part in LINES if f"{part} in words" in alone] == ["teacher"]
    assert alone.count("no epoch finished yet") == 2


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [Line("val_loss", "teacher", over_runs({}, {1: None}))],
        [Line("train_loss", "soft", over_runs({1: 0.5}, {}))],
    ],
)
def test_a_picture_with_little_in_it_is_drawn(lines: Sequence[Line]) -> None:
    assert draw_comparison(figure(lines=lines), "png").startswith(b"\x89PNG")


def test_numbers_that_were_not_finite_leave_a_gap_and_no_error() -> None:
    gap = [
        Line(
            "val_loss", "baseline", over_runs({1: 1.0, 2: None, 3: 0.5}, {1: 0.9, 2: None, 4: 0.4})
        )
    ]
    assert draw_comparison(figure(lines=gap), "png") != draw_comparison(figure(lines=[]), "png")


def test_a_long_sentence_is_wrapped_and_a_long_title_cut() -> None:
    shown = words(
        draw_comparison(figure(subtitle="several words " * 25, title="$100 " * 60), "svg")
    )
    assert sum(text.startswith(("several words", "words several")) for text in shown) == 3
    assert any(text.startswith("$100 $100") and text.endswith("…") for text in shown)


def test_every_line_differs_in_color_and_dashes_so_that_it_is_told_apart_in_grey() -> None:
    assert (
        len({look.color for look in LINES.values()})
        == len({look.dashes for look in LINES.values()})
        == len(LINES)
    )
    drawn = np.asarray(
        Image.open(io.BytesIO(draw_comparison(figure(), "png"))).convert("RGB")
    ).astype(int)
    for look in LINES.values():
        wanted = np.round(255 * np.array(to_rgb(look.color)))
        assert (np.abs(drawn - wanted).sum(axis=2) < 12).sum() > 40, look


# Over HTTP

STUDENT, LARGE = MLPSpec(depth=1, width=16), MLPSpec(depth=3, width=64)


def write(
    session: Session,
    spec: TrainSpec | DistillSpec,
    size: tuple[int, int],
    seeds: Sequence[int],
    **differing: Any,
) -> Experiment:
    """An experiment with running runs."""
    now, document = utc_now(), spec.model_dump(mode="json")
    usual = {
        "created_at": now,
        "kind": spec.kind,
        "fingerprint": fingerprint(spec),
        "submitted": {},
        "spec": document,
        "request_hash": "0",
    }
    experiment = Experiment(**usual, parameters=size[0], macs_per_sample=size[1])
    for name, value in differing.items():
        setattr(experiment, name, value)
    session.add(experiment)
    session.flush()
    for position, seed in enumerate(seeds):
        state = {"status": RunStatus.RUNNING, "status_reason": StatusReason.TRAINING}
        session.add(
            Run(
                experiment_id=experiment.id,
                seed=seed,
                position=position,
                created_at=now,
                epochs=3,
                num_steps=5,
                **state,
            )
        )
    session.flush()
    return experiment


def runs_of(session: Session, experiment: Experiment) -> list[Run]:
    return experiments.its_runs(session, experiment.id)


def finish(session: Session, run: Run, **test: float) -> None:
    run.status, run.status_reason = RunStatus.SUCCEEDED, StatusReason.COMPLETED
    run.test = {"loss": 0.4, "nll": 0.41, "ece": 0.02, **test}
    run.environment = {"dataset_sha256": "c" * 64}
    session.add(run)


def train_epochs(session: Session, run: Run, epochs: int, **parts: float) -> None:
    for epoch in range(1, epochs + 1):
        train = {
            "loss": 1 / epoch,
            "accuracy": 0.5,
            **{name: value / epoch for name, value in parts.items()},
        }
        record_epoch(
            session,
            run.id,
            epoch,
            {"train": train, "val": {"loss": 1.2 / epoch, "accuracy": 1 - 0.5 / epoch}},
        )


@pytest.fixture
def distillation(database: Database) -> dict[str, str]:
    """Ids of a teacher that has succeeded and of two arms of two seeds that are running, one of them done."""
    with database.writing() as session:
        teacher_spec, alone = TrainSpec(model=LARGE, epochs=3), TrainSpec(model=STUDENT, epochs=3)
        taught = DistillSpec(
            student=STUDENT,
            epochs=3,
            teacher={"spec": teacher_spec, "seed": 7},
            temperature=2.0,
            alpha=0.75,
        )
        teacher = write(session, teacher_spec, (13_130, 12_928), [6, 7])
        teacher_run = runs_of(session, teacher)[1]
        finish(session, teacher_run, accuracy=0.95)
        train_epochs(session, teacher_run, 3)
        baseline = write(session, alone, (1_210, 1_184), [0, 1])
        related = {
            "teacher_run": teacher_run.id,
            "teacher_experiment": teacher.id,
            "baseline": baseline.id,
        }
        distilled = write(
            session, taught, (1_210, 1_184), [0, 1], name="small | from large", related=related
        )
        for experiment, accuracy in ((baseline, 0.90), (distilled, 0.92)):
            for run in runs_of(session, experiment):
                train_epochs(
                    session,
                    run,
                    2,
                    **({"hard_loss": 0.8, "soft_loss": 2.5} if experiment is distilled else {}),
                )
            agreement = (
                {"teacher_agreement": 0.94, "teacher_accuracy": 0.95}
                if experiment is distilled
                else {}
            )
            finish(session, runs_of(session, experiment)[0], accuracy=accuracy, **agreement)
        return {"teacher": teacher.id, "baseline": baseline.id, "distilled": distilled.id}


def complete(database: Database, ids: dict[str, str]) -> None:
    with database.writing() as session:
        for role, accuracy in (("baseline", 0.91), ("distilled", 0.928)):
            experiment = session.get(Experiment, ids[role])
            assert experiment is not None
            finish(
                session,
                runs_of(session, experiment)[1],
                accuracy=accuracy,
                **({"teacher_agreement": 0.96} if role == "distilled" else {}),
            )


def test_the_loss_of_a_student_is_held_against_val_by_its_hard_part(
    api: TestClient, distillation: dict[str, str]
) -> None:
    address = f"/experiments/{distillation['distilled']}/curves"
    shown = words(api.get(f"{address}.svg?metric=loss").content)
    assert "Loss (nats; of train its hard part)" in shown
    assert "0.8" in api.get(f"{address}.tex?metric=loss").text
    alone = f"/experiments/{distillation['baseline']}/curves.svg?metric=loss"
    assert "Loss (cross-entropy, nats)" in words(api.get(alone).content)


def test_a_table_is_answered_while_it_runs_and_when_it_is_complete(
    api: TestClient, database: Database, distillation: dict[str, str]
) -> None:
    address = f"/experiments/{distillation['distilled']}/distillation"
    early = api.get(address).json()
    assert early["complete"] is False
    assert (early["gain"]["verdict"], early["gain"]["n"], early["gain"]["ci95"]) == (
        "open",
        1,
        None,
    )
    assert early["sentence"].endswith(
        "Not all runs have succeeded: baseline 1 of 2 (1 running); distilled 1 of 2 (1 running)."
    )
    complete(database, distillation)
    answer = api.get(address).json()
    assert answer["complete"] is True
    assert (answer["temperature"], answer["alpha"], answer["warnings"]) == (2.0, 0.75, [])
    teacher, baseline, distilled = answer["rows"]
    assert [row["role"] for row in answer["rows"]] == ["teacher", "baseline", "distilled"]
    assert [row["experiment_id"] for row in answer["rows"]] == [
        distillation[role] for role in ("teacher", "baseline", "distilled")
    ]
    assert (
        teacher["network"],
        teacher["seeds"],
        teacher["num_runs"],
        teacher["share_of_teacher"],
    ) == ("mlp 3 x 64", [7], 1, 1.0)
    assert (
        teacher["accuracy"]["mean"],
        teacher["accuracy"]["ci95"],
        teacher["teacher_agreement"],
    ) == (0.95, None, None)
    assert (distilled["network"], distilled["parameters"], distilled["macs_per_sample"]) == (
        "mlp 1 x 16",
        1_210,
        1_184,
    )
    assert distilled["share_of_teacher"] == pytest.approx(1_210 / 13_130)
    assert distilled["teacher_agreement"]["mean"] == pytest.approx(0.95)
    assert baseline["teacher_agreement"] is None
    low, high = stats.t.interval(0.95, 1, loc=0.905, scale=stats.sem([0.90, 0.91]))
    assert baseline["accuracy"]["ci95"] == pytest.approx([low, high])
    assert (baseline["nll"]["mean"], baseline["ece"]["mean"]) == (
        pytest.approx(0.41),
        pytest.approx(0.02),
    )
    gain = answer["gain"]
    assert [(pair["seed"], round(pair["difference"], 6)) for pair in gain["pairs"]] == [
        (0, 2.0),
        (1, 1.8),
    ]
    assert gain["mean"] == pytest.approx(1.9)
    assert gain["gap_closed"] == pytest.approx(1.9 / 4.5)
    assert answer["sentence"].startswith(
        "Better on test than the baseline? Better: +1.90 percentage points, 95 % interval +0.63 to +3.17 over 2"
        " paired seeds, p = 0.033 (level 4 %). That closes 42 % of the gap to the teacher."
    )


def test_the_table_comes_as_csv_and_markdown_with_the_same_numbers(
    api: TestClient, database: Database, distillation: dict[str, str]
) -> None:
    complete(database, distillation)
    address = f"/experiments/{distillation['distilled']}/distillation"
    answer, table = api.get(address).json(), api.get(f"{address}?format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["role"] for row in rows] == ["teacher", "baseline", "distilled"]
    assert [float(row["accuracy_mean"]) for row in rows] == [
        row["accuracy"]["mean"] for row in answer["rows"]
    ]
    assert (rows[0]["accuracy_std"], rows[0]["gain_points_mean"], rows[1]["verdict"]) == (
        "",
        "",
        "",
    )
    assert (float(rows[2]["gain_points_mean"]), rows[2]["verdict"]) == (
        answer["gain"]["mean"],
        "better",
    )
    assert [
        float(rows[2]["gain_points_ci95_low"]),
        float(rows[2]["gain_points_ci95_high"]),
    ] == answer["gain"]["ci95"]
    assert rows[2]["seeds"] == "0 1"
    text = api.get(f"{address}?format=md")
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    lines = text.text.splitlines()
    assert lines[0] == r"## small \| from large"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert (
        lines[4]
        == "| teacher | mlp 3 x 64 | 13,130 | 100 % | 12,928 | 1 of 1 | 95.00 | - | 0.4100 | 0.0200 | - |"
    )
    assert lines[6].startswith(
        "| distilled | mlp 1 x 16 | 1,210 | 9.22 % | 1,184 | 2 of 2 | 92.40 ± 0.57 | "
    )
    assert lines[-1] == answer["sentence"]
    assert api.get(f"{address}?format=latex").status_code == 422


def test_missing_arms_leave_the_rest(
    api: TestClient, database: Database, distillation: dict[str, str]
) -> None:
    with database.writing() as session:
        experiment = session.get(Experiment, distillation["distilled"])
        assert experiment is not None
        experiment.related = {**experiment.related, "baseline": None}
    address = f"/experiments/{distillation['distilled']}/distillation"
    answer = api.get(address).json()
    assert [row["role"] for row in answer["rows"]] == ["teacher", "distilled"]
    assert (answer["gain"]["verdict"], answer["gain"]["mean"], answer["gain"]["gap_reason"]) == (
        "not_measured",
        None,
        "there is no baseline",
    )
    with database.writing() as session:
        experiment = session.get(Experiment, distillation["distilled"])
        assert experiment is not None
        experiment.related = {}
    answer = api.get(address).json()
    assert (
        answer["rows"][0]["network"],
        answer["rows"][0]["parameters"],
        answer["rows"][1]["share_of_teacher"],
    ) == ("mlp 3 x 64", None, None)
    assert "teacher is gone" in answer["sentence"]
    for form in ("distillation?format=md", "distillation?format=csv", "distillation.png"):
        assert api.get(f"/experiments/{distillation['distilled']}/{form}").status_code == 200


def test_the_picture_shows_all_arms_and_is_sent_again_only_when_it_changed(
    api: TestClient, database: Database, distillation: dict[str, str]
) -> None:
    address = f"/experiments/{distillation['distilled']}/distillation"
    shown = words(api.get(f"{address}.svg").content)
    assert {
        "small | from large",
        "teacher",
        "baseline, mean and range of 2 runs",
        "mlp 1 x 16; in training its hard loss",
    } <= set(shown)
    assert {
        "distilled, soft loss in training",
        "T² · KL at T = 2",
        "distilled, total loss in training",
        "0.75 · soft + 0.25 · hard",
    } <= set(shown)
    assert "no epoch finished yet" not in shown
    picture = api.get(f"{address}.png")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert api.get(f"{address}.pdf").headers["content-type"] == "application/pdf"
    unchanged = {"If-None-Match": picture.headers["etag"]}
    assert api.get(f"{address}.png", headers=unchanged).status_code == 304
    complete(database, distillation)
    assert api.get(f"{address}.png", headers=unchanged).status_code == 200


def test_what_is_no_distillation_has_no_such_table(
    api: TestClient, distillation: dict[str, str]
) -> None:
    for address in (
        f"/experiments/{distillation['baseline']}/distillation",
        f"/experiments/{distillation['teacher']}/distillation.png",
    ):
        answer = api.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (
            404,
            "application/problem+json",
        )
        assert "has kind 'train', and only a distillation has a teacher" in answer.json()["detail"]
    assert api.get("/experiments/exp_none/distillation").status_code == 404


@pytest.mark.parametrize("panel", list(PANELS))
def test_each_panel_is_a_picture_of_its_own(panel: str) -> None:
    shown = words(draw_comparison(figure(panels=(panel,)), "svg"))
    assert [title for title in PANELS.values() if title in shown] == [PANELS[panel]]
    parts = [part for part in LINES if f"{part} in words" in shown]
    assert parts == (list(LINES) if panel == "train_loss" else ["teacher", "baseline", "distilled"])


def test_the_three_panels_of_the_source_are_three_files(
    api: TestClient, distillation: dict[str, str]
) -> None:
    address = f"/experiments/{distillation['distilled']}/distillation"
    links = api.get(address).json()["links"]
    files = [api.get(links[panel]) for panel in PANELS]
    assert [file.status_code for file in files] == [200, 200, 200]
    assert len({file.content for file in (*files, api.get(links["picture"]))}) == 4
    shown = words(api.get(f"{address}.svg?panel=val_accuracy").content)
    assert PANELS["val_accuracy"] in shown
    assert PANELS["train_loss"] not in shown
    refused = api.get(f"{address}.png?panel=accuracy")
    assert refused.status_code == 422
