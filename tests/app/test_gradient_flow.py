"""Gradient flow: known slopes are found with their intervals, real networks get the verdict that theory gives them, and
the API shows it all.
"""

import functools
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits
from starlette.testclient import TestClient
from torch.nn import functional

from app.plots.figures.experiments import GradientFlowFigure
from app.plots.pictures.experiments.gradient_flow import draw_gradient_flow
from app.services.analyses.gradients.series import LayerSeries, pooled, series_of
from app.services.analyses.gradients.slopes import (
    FlowVerdict,
    Slope,
    pooled_slopes,
    slope_along,
    slopes_of,
    summary,
)
from app.services.experiments.metrics import RunMetrics, paces, record_epoch
from app.storage.db import Database
from lab_models.architectures.build import build_model
from lab_models.specs import TrainSpec
from lab_models.training.gradient_flow import GradientFlow
from lab_models.training.layer_metrics import GRADIENT_L2, LAYER_POSITION, LAYER_SPLITS, WEIGHT_NORM

EXAMPLES = settings(deadline=None, derandomize=True, max_examples=60)

PROBED = {
    "dataset": "digits",
    "model": {"depth": 11, "width": 8},
    "epochs": 3,
    "probes": ["gradient_flow"],
}
LAYERS = [*(f"hidden.{i}.linear" for i in range(11)), "head"]


def along(norms: list[float], epoch: int = 0) -> Slope:
    return slope_along(
        [f"l{i}" for i in range(len(norms))], np.array(norms, dtype=np.float64), epoch
    )


def epoch_metrics(
    norms: list[float | None], names: list[str], *, first: bool = False
) -> dict[str, dict[str, float | None]]:
    """One epoch's rows as the lab sends them; None where a layer has no gradient."""
    found = {name: norm for name, norm in zip(names, norms, strict=True) if norm is not None}
    splits: dict[str, dict[str, float | None]] = {
        split: dict(found) for split in LAYER_SPLITS if split not in (WEIGHT_NORM, LAYER_POSITION)
    }
    splits[WEIGHT_NORM] = dict.fromkeys(names, 2.0)
    return splits | (
        {LAYER_POSITION: {name: float(i) for i, name in enumerate(names)}} if first else {}
    )


def run_of(rows: list[list[float | None]], names: list[str] | None = None) -> LayerSeries:
    names = names or [f"l{i}" for i in range(len(rows[0]) - 1)] + ["head"]
    metrics: RunMetrics = {
        epoch: epoch_metrics(row, names, first=epoch == 0) for epoch, row in enumerate(rows)
    }
    series = series_of(metrics)
    assert series is not None
    return series


@EXAMPLES
@given(slope=st.floats(-3, 3), num_layers=st.integers(3, 110))
@example(slope=0.0, num_layers=3)
def test_a_geometric_sequence_has_its_slope_and_factor(slope: float, num_layers: int) -> None:
    found = along([math.exp(slope * (place - num_layers)) for place in range(num_layers)])
    assert found.slope == pytest.approx(slope, abs=1e-9)
    assert found.ci95 is None
    assert found.factor is not None
    assert math.log(found.factor) == pytest.approx(slope * (num_layers - 1), abs=1e-6)
    assert found.first_over_last == pytest.approx(1 / found.factor)
    decades = slope * (num_layers - 1) / math.log(10)
    if abs(abs(decades) - 2) > 1e-6:
        assert found.verdict is (
            FlowVerdict.HEALTHY
            if abs(decades) < 2
            else FlowVerdict.VANISHING
            if decades > 0
            else FlowVerdict.EXPLODING
        )


@EXAMPLES
@given(st.lists(st.floats(-40, 40), min_size=3, max_size=40, unique=True))
def test_the_slope_is_that_of_a_textbook_regression(logs: list[float]) -> None:
    found = along([math.exp(value) for value in logs])
    assert found.slope is not None
    book = stats.linregress(range(len(logs)), logs)
    half_width = stats.t.ppf(0.975, len(logs) - 2) * book.stderr
    assert found.slope == pytest.approx(book.slope, abs=1e-9)
    if (
        abs(book.slope) * (len(logs) - 1) > math.log(100) + 1e-6
        and abs(abs(book.slope) - half_width) > 1e-6
    ):
        assert (found.verdict is FlowVerdict.UNCLEAR) == (abs(book.slope) < half_width)


@EXAMPLES
@given(st.lists(st.floats(-20, 20), min_size=3, max_size=30), st.floats(-10, 10))
def test_turning_the_layers_round_swaps_vanishing_and_exploding_and_scale_is_no_matter(
    logs: list[float], shift: float
) -> None:
    opposite = {
        FlowVerdict.VANISHING: FlowVerdict.EXPLODING,
        FlowVerdict.EXPLODING: FlowVerdict.VANISHING,
    }
    found = along([math.exp(value) for value in logs])
    assert found.factor is not None
    book = stats.linregress(range(len(logs)), logs)
    half_width = stats.t.ppf(0.975, len(logs) - 2) * book.stderr
    is_near = abs(abs(book.slope) - half_width) < 1e-9
    if abs(abs(math.log(found.factor)) - math.log(100)) < 1e-6 or is_near:
        return
    assert along([math.exp(value) for value in reversed(logs)]).verdict is opposite.get(
        found.verdict, found.verdict
    )
    assert along([math.exp(value + shift) for value in logs]).verdict is found.verdict


@EXAMPLES
@given(
    st.lists(st.just(0.0) | st.just(math.nan) | st.floats(1e-300, 1e300), max_size=30),
    st.integers(0, 5),
)
def test_whatever_was_measured_gets_a_verdict_and_a_readable_sentence(
    norms: list[float], epoch: int
) -> None:
    found = along(norms, epoch)
    assert found.sentence.startswith(found.verdict.value.replace("_", " "))
    assert "nan" not in found.sentence
    assert "inf" not in found.sentence
    assert (found.slope is None) == (
        sum(norm > 0 for norm in norms) < 3 or sum(not math.isnan(norm) for norm in norms) < 3
    )
    assert len(found.zero_layers) == norms.count(0.0)


def test_the_sentence_says_verdict_factor_slope_and_threshold() -> None:
    noise = [0.1, -0.1, 0.0, 0.1, -0.1] * 4
    found = along([math.exp(0.545 * place + noise[place]) for place in range(20)])
    assert (
        found.sentence
        == "vanishing at initialization: along 20 layers the gradient falls by a factor of 3.1e4 toward the input "
        "(slope +0.54 per layer; threshold: factor 100)"
    )
    grown = along([math.exp(-0.05 * place) for place in range(5)], epoch=7).sentence
    assert grown.startswith(
        "healthy in epoch 7: along 5 layers the gradient grows by a factor of 1.2 toward the input (slope −0.050 per"
        " layer"
    )
    assert (
        "the gradient keeps its size toward the input (slope +0.000 per layer"
        in along([0.3] * 5).sentence
    )


def test_past_the_threshold_by_layers_that_follow_no_line_nothing_is_claimed() -> None:
    found = along([1e-4, 1.0, 1e-1])
    assert found.verdict is FlowVerdict.UNCLEAR
    assert found.sentence.endswith(
        "; that is past the threshold, but the layers scatter too much about a line"
    )


def test_over_runs_the_slope_is_the_mean_of_theirs_with_students_interval() -> None:
    slopes = (0.52, 0.56, 0.55)
    runs = [
        run_of([[math.exp(slope * place) for place in range(20)] + [1.0]] * 2) for slope in slopes
    ]
    first, last = pooled_slopes(runs)
    expected = stats.t.interval(0.95, 2, np.mean(slopes), stats.sem(slopes))
    assert last.slope == pytest.approx(np.mean(slopes))
    assert last.ci95 == pytest.approx(expected)
    assert last.factor == pytest.approx(math.exp(19 * np.mean(slopes)))
    assert (last.verdict, last.num_runs) == (FlowVerdict.VANISHING, 3)
    assert "per layer, 95 % interval +0.49 to +0.60 over 3 runs; threshold" in last.sentence
    assert first.ci95 == last.ci95
    alone = pooled_slopes(runs[:1])[-1]
    assert (alone.ci95, alone.slope) == (None, pytest.approx(0.52))
    assert "interval" not in alone.sentence


def test_runs_that_disagree_about_the_direction_leave_it_open() -> None:
    runs = [
        run_of([[math.exp(slope * place) for place in range(20)] + [1.0]])
        for slope in (1.6, -0.4, 0.2)
    ]
    found = pooled_slopes(runs)[0]
    assert found.verdict is FlowVerdict.UNCLEAR
    assert found.sentence.endswith("; that is past the threshold, but the interval includes 0")


@pytest.mark.parametrize(
    "norms", [[], [1.0], [1.0, 2.0], [1.0, math.nan, 2.0], [1.0, 0.0, 0.0, 2.0], [0.0, 1.0]]
)
def test_fewer_than_three_layers_have_no_slope(norms: list[float]) -> None:
    found = along(norms)
    assert (found.verdict, found.slope, found.ci95, found.factor) == (
        FlowVerdict.TOO_FEW_LAYERS,
        None,
        None,
        None,
    )
    assert "a slope needs 3 layers before the head that have a gradient, here " in found.sentence


def test_exact_zeros_that_no_gradient_passes_are_vanishing_whatever_the_rest_does() -> None:
    found = along([0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    assert (found.verdict, found.zero_layers, found.first_over_last) == (
        FlowVerdict.VANISHING,
        ("l0", "l1"),
        0.0,
    )
    assert found.sentence.startswith(
        "vanishing at initialization: no gradient at all reaches the first 2 of 6 layers; along the other 4 layers"
    )
    nothing = along([0.0, 0.0, 0.0])
    assert (nothing.verdict, nothing.slope, nothing.first_over_last) == (
        FlowVerdict.VANISHING,
        None,
        None,
    )
    assert (
        nothing.sentence
        == "vanishing at initialization: no gradient at all reaches the first 3 of 3 layers"
    )


def test_exact_zeros_that_the_gradient_flows_past_are_counted_and_left_out() -> None:
    found = along([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert (found.verdict, found.zero_layers, found.slope) == (
        FlowVerdict.HEALTHY,
        ("l2", "l4"),
        0.0,
    )
    assert found.sentence.endswith(
        "; 2 more layers have a gradient of exactly 0, but it flows past"
    )


def test_frozen_layers_before_the_others_do_not_count_as_blocked() -> None:
    found = along([math.nan, math.nan, 0.1, 0.1, 0.1])
    assert (found.verdict, found.num_layers, found.zero_layers) == (FlowVerdict.HEALTHY, 3, ())


def test_layers_stand_in_the_order_of_the_network_not_of_their_names() -> None:
    series = run_of([[2.0**i for i in range(12)]], LAYERS)
    assert series.layers == tuple(LAYERS)
    (found,) = slopes_of(series)
    assert found.slope == pytest.approx(math.log(2))
    assert found.num_layers == 11


def test_the_head_and_projections_on_shortcuts_stay_out_of_the_slope() -> None:
    names = [
        "conv1",
        "layer1.0.conv1",
        "layer1.0.shortcut.0",
        "layer2.0.conv1",
        "layer2.0.downsample.0",
        "layer3.projection",
        "layer3.conv",
        "fc",
    ]
    series = run_of([[1.0, 1.0, 9e9, 1.0, 9e9, 9e9, 1.0, 9e9]], names)
    assert [name for name, is_fitted in zip(names, series.is_fitted, strict=True) if is_fitted] == [
        "conv1",
        "layer1.0.conv1",
        "layer2.0.conv1",
        "layer3.conv",
    ]
    assert slopes_of(series)[0].factor == 1.0
    assert run_of([[1.0, 1.0, 1.0]], ["a", "head", "x.shortcut"]).is_fitted.tolist() == [
        True,
        False,
        False,
    ]


def test_the_ratio_is_gradient_over_weight() -> None:
    series = run_of([[1.0, None, 3.0]])
    assert series.ratio[0, 0] == 0.5
    assert np.isnan(series.ratio[0, 1])
    assert series.ratio[0, 2] == 1.5


def test_runs_are_pooled_by_the_mean_of_logarithms_with_their_count() -> None:
    short = run_of([[1.0, 4.0, 0.0, 0.0, 1.0]])
    long = run_of([[4.0, 9.0, 2.0, 0.0, None], [5.0, 5.0, 5.0, 5.0, 5.0]])
    mean = pooled([short, long])
    assert mean.epochs.tolist() == [0, 1]
    assert mean.l2[0] == pytest.approx([2.0, 6.0, 2.0, 0.0, 1.0])
    assert mean.num_runs.tolist() == [[2, 2, 1, 2, 1], [1, 1, 1, 1, 1]]
    assert mean.l2[1] == pytest.approx([5.0] * 5)
    assert mean.layers == long.layers
    assert pooled([long]).l2 == pytest.approx(long.l2, nan_ok=True)


def test_the_summary_is_of_the_first_epoch_and_of_the_last() -> None:
    series = run_of([[1e-6, 1e-3, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    first, last = summary(slopes_of(series))
    assert first.startswith("vanishing at initialization")
    assert last.startswith("healthy in epoch 2")
    assert len(summary(slopes_of(series)[:1])) == 1
    assert summary([]) == []


@functools.cache
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None]
    return (images - images.mean()) / images.std(), torch.tensor(found.target)


def at_initialization(model_document: dict[str, Any], seed: int = 0) -> Slope:
    """What a network shows on digits before any training."""
    torch.set_num_threads(1)
    images, labels = digits()
    model = build_model(
        TrainSpec.model_validate({"model": model_document}).model, (1, 8, 8), 10, seed
    )
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))

    def gradients(index: int) -> None:
        batch = rows[64 * index : 64 * (index + 1)]
        functional.cross_entropy(model(images[batch]), labels[batch]).backward()

    found = GradientFlow(model).at_initialization(gradients)
    series = series_of({0: {split: dict(values) for split, values in found.items()}})
    assert series is not None
    return slopes_of(series)[0]


@pytest.mark.parametrize(
    ("model", "verdict"),
    [
        ({}, FlowVerdict.VANISHING),
        ({"residual": True}, FlowVerdict.HEALTHY),
        ({"norm": "batch"}, FlowVerdict.HEALTHY),
        ({"norm": "batch", "residual": True}, FlowVerdict.HEALTHY),
        ({"norm": "layer"}, FlowVerdict.HEALTHY),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_twenty_plain_layers_vanish_and_shortcuts_or_norms_prevent_it(
    model: dict[str, Any], verdict: FlowVerdict, seed: int
) -> None:
    found = at_initialization({"depth": 20, "width": 64, **model}, seed)
    assert found.verdict is verdict, found.sentence
    assert found.num_layers == 20


def test_a_plain_network_loses_the_square_root_of_six_per_layer() -> None:
    """Weights of variance 1 / (3 fan_in), torch's own, behind a ReLU that passes half: each layer back keeps 1/6 of the
    squared gradient.
    """
    found = at_initialization({"depth": 60, "width": 256})
    assert found.slope == pytest.approx(math.log(6) / 2, rel=0.05)


def test_batch_norm_lets_the_gradient_grow_by_the_rate_of_mean_field_theory() -> None:
    """Yang et al. 2019 (arXiv:1902.08129): with ReLU the squared gradient grows by pi / (pi - 1) per layer; 40 layers
    explode.
    """
    found = at_initialization({"depth": 40, "width": 128, "norm": "batch"})
    assert found.slope == pytest.approx(-math.log(math.pi / (math.pi - 1)) / 2, rel=0.1)
    assert found.verdict is FlowVerdict.EXPLODING


def test_a_chain_too_long_for_float32_ends_in_exact_zeros_and_that_is_vanishing() -> None:
    found = at_initialization({"depth": 150, "width": 16})
    assert found.zero_layers[0] == "hidden.0.linear"
    assert found.num_blocked == len(found.zero_layers) > 10
    assert found.verdict is FlowVerdict.VANISHING
    assert "no gradient at all reaches the first" in found.sentence


def submit(api: TestClient, **body: Any) -> dict[str, Any]:
    answer = api.post("/experiments", json={**PROBED, **body})
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def write(
    database: Database, run_id: str, epoch: int, splits: dict[str, dict[str, float | None]]
) -> None:
    with database.writing() as session:
        record_epoch(session, run_id, epoch, splits)  # type: ignore[arg-type]


def scores(epoch: int) -> dict[str, dict[str, float | None]]:
    return {
        split: {"loss": 1.0 / epoch, "accuracy": 0.5, "seconds": 2.0} for split in ("train", "val")
    }


def measure(database: Database, run_id: str, epochs: int = 2, slope: float = 0.7) -> None:
    """Rows of a run that vanishes at initialization and is even afterwards."""
    write(
        database,
        run_id,
        0,
        epoch_metrics([math.exp(slope * (i - 11)) for i in range(12)], LAYERS, first=True),
    )
    for epoch in range(1, epochs + 1):
        write(database, run_id, epoch, {**scores(epoch), **epoch_metrics([0.25] * 12, LAYERS)})


def test_the_json_has_every_layer_every_epoch_and_the_verdicts(
    api: TestClient, database: Database
) -> None:
    record = submit(api, seeds=3)
    first, second, third = (run["id"] for run in record["runs"])
    measure(database, first, slope=0.7)
    measure(database, second, epochs=1, slope=0.9)
    answer = api.get(f"/experiments/{record['id']}/gradient-flow.json").json()
    assert [(run["run_id"], run["seed"]) for run in answer["runs"]] == [
        (first, 0),
        (second, 1),
        (third, 2),
    ]
    one = answer["runs"][0]
    assert one["layers"] == LAYERS
    assert one["in_slope"] == [True] * 11 + [False]
    assert one["epochs"] == [0, 1, 2]
    assert one["l2"][0] == pytest.approx([math.exp(0.7 * (i - 11)) for i in range(12)])
    assert one["ratio"][1] == [0.125] * 12
    assert all(
        len(one[name]) == 3 and len(one[name][0]) == 12
        for name in ("l2", "mean_abs", "bias_l2", "weight_norm", "ratio")
    )
    assert [slope["verdict"] for slope in one["slopes"]] == ["vanishing", "healthy", "healthy"]
    assert one["slopes"][0]["slope"] == pytest.approx(0.7)
    assert one["verdict"] == [one["slopes"][0]["sentence"], one["slopes"][2]["sentence"]]
    assert answer["threshold"] == 100
    assert answer["runs"][2]["layers"] == answer["runs"][2]["slopes"] == []
    mean = answer["pooled"]
    assert mean["slopes"][0]["slope"] == pytest.approx(0.8)
    assert mean["num_runs"] == [[2] * 12, [2] * 12, [1] * 12]
    assert mean["verdicts"] == [{"vanishing": 2}, {"healthy": 2}, {"healthy": 1}]


def test_a_layer_that_was_not_measured_is_null(api: TestClient, database: Database) -> None:
    record = submit(api)
    write(
        database,
        record["runs"][0]["id"],
        0,
        epoch_metrics([None, 1.0, 1.0, 1.0, math.inf], ["a", "b", "c", "d", "head"], first=True),
    )
    one = api.get(f"/experiments/{record['id']}/gradient-flow.json").json()["runs"][0]
    assert one["l2"] == [[None, 1.0, 1.0, 1.0, None]]
    assert one["weight_norm"] == [[2.0] * 5]


def test_before_anything_is_measured_the_lists_are_empty_and_the_picture_says_so(
    api: TestClient,
) -> None:
    record = submit(api)
    answer = api.get(f"/experiments/{record['id']}/gradient-flow.json").json()
    assert answer["pooled"] is None
    assert answer["runs"][0]["l2"] == []
    svg = api.get(f"/experiments/{record['id']}/gradient-flow.svg").text
    assert ">nothing measured yet</text>" in svg


def test_the_picture_shows_the_verdicts_and_changes_only_with_the_numbers(
    api: TestClient, database: Database
) -> None:
    record = submit(api, name="my network", seeds=2)
    for run in record["runs"]:
        measure(database, run["id"], epochs=1)
    address = f"/experiments/{record['id']}/gradient-flow"
    svg = api.get(f"{address}.svg").text
    for text in ("my network", "head", "hidden.10.linear", "init", "epoch 1", "not in slope"):
        assert f">{text}</text>" in svg, text
    assert "geometric mean of 2 runs" in svg
    assert (
        "Vanishing at initialization: along 11 layers the gradient falls by a factor of 1.1e3"
        in svg
    )
    first = api.get(f"{address}.png")
    assert first.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(first.content)).size[0] > 1000
    assert (
        api.get(f"{address}.png", headers={"If-None-Match": first.headers["etag"]}).status_code
        == 304
    )
    measure(database, record["runs"][0]["id"], epochs=2)
    assert ">epoch 2 (1 of 2 runs)</text>" in api.get(f"{address}.svg").text
    assert (
        api.get(f"{address}.png", headers={"If-None-Match": first.headers["etag"]}).status_code
        == 200
    )
    assert api.get(f"{address}.pdf").content.startswith(b"%PDF")
    assert api.get(f"{address}.gif").status_code == 422


def test_an_experiment_that_did_not_ask_for_it_says_how_to_ask(api: TestClient) -> None:
    record = submit(api, probes=[])
    assert "gradient_flow" not in record["links"]
    for extension in ("json", "png"):
        answer = api.get(f"/experiments/{record['id']}/gradient-flow.{extension}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert 'send its spec with "probes": ["gradient_flow"]' in answer.json()["detail"]
    assert api.get("/experiments/exp_nothing/gradient-flow.json").status_code == 404


def test_the_record_links_to_the_picture(api: TestClient) -> None:
    record = submit(api)
    assert record["links"]["gradient_flow"] == f"/experiments/{record['id']}/gradient-flow.png"
    assert api.get(record["links"]["gradient_flow"]).status_code == 200


def test_layers_do_not_show_among_the_scores(api: TestClient, database: Database) -> None:
    plain, probed = submit(api, probes=[]), submit(api, seeds=[7])
    for epoch in (1, 2):
        write(database, plain["runs"][0]["id"], epoch, scores(epoch))
    measure(database, probed["runs"][0]["id"])
    shown = [
        api.get(record["links"]["metrics"]).json()["runs"][0]["epochs"]
        for record in (plain, probed)
    ]
    assert shown[0] == shown[1]
    assert [epoch["epoch"] for epoch in shown[1]] == [1, 2]
    tables = [
        api.get(record["links"]["metrics"], params={"format": "csv"}).text
        for record in (plain, probed)
    ]
    assert tables[0].splitlines()[0] == tables[1].splitlines()[0]
    assert len(tables[1].splitlines()) == 3
    curves = [api.get(f"/experiments/{record['id']}/curves.svg").text for record in (plain, probed)]
    assert ">0</text>" not in curves[1]
    with database.reading() as session:
        run_id = probed["runs"][0]["id"]
        assert paces(session, [run_id]) == {run_id: 4.0}


def test_a_run_at_initialization_has_no_epoch_to_show_in_its_curves(
    api: TestClient, database: Database
) -> None:
    record = submit(api)
    measure(database, record["runs"][0]["id"], epochs=0)
    assert api.get(record["links"]["metrics"]).json()["runs"][0]["epochs"] == []
    assert (
        ">no epoch finished yet</text>" in api.get(f"/experiments/{record['id']}/curves.svg").text
    )
    assert api.get(f"/experiments/{record['id']}/gradient-flow.json").json()["runs"][0][
        "epochs"
    ] == [0]


def drawing(num_layers: int, num_epochs: int, *, hole: float | None = None) -> GradientFlowFigure:
    norms = np.logspace(-6, 0, num_layers)[None, :].repeat(num_epochs, axis=0)
    if hole is not None:
        norms[:, 0] = hole
    layers = [f"layer{i}.conv" for i in range(num_layers - 1)] + ["fc"]
    fitted = [True] * (num_layers - 1) + [False]
    return GradientFlowFigure(
        "a title",
        "a subtitle",
        ["a verdict"],
        layers,
        fitted,
        list(range(num_epochs)),
        norms,
        [1] * num_epochs,
        1,
    )


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.mark.parametrize(("num_layers", "num_epochs"), [(1, 1), (3, 2), (110, 2), (12, 3000)])
def test_a_few_layers_and_many_are_drawn_with_the_first_and_the_last_named(
    num_layers: int, num_epochs: int
) -> None:
    svg = draw_gradient_flow(drawing(num_layers, num_epochs), "svg").decode()
    for text in (
        "a title",
        "a subtitle",
        "A verdict",
        "init",
        "fc",
        *["layer0.conv"][: num_layers - 1],
    ):
        assert f">{text}</text>" in svg, text
    assert svg.count(".conv -->") <= 46


@pytest.mark.parametrize("extension", ["png", "svg", "pdf"])
def test_equal_gradient_flow_gives_equal_bytes(extension: str) -> None:
    assert draw_gradient_flow(drawing(4, 3), extension) == draw_gradient_flow(
        drawing(4, 3), extension
    )


@pytest.mark.parametrize(("hole", "named"), [(0.0, "exactly 0"), (math.nan, "not measured")])
def test_zero_and_not_measured_have_colors_of_their_own_that_are_named(
    hole: float, named: str
) -> None:
    assert f">{named}</text>" in draw_gradient_flow(drawing(6, 3, hole=hole), "svg").decode()
    assert f">{named}</text>" not in draw_gradient_flow(drawing(6, 3), "svg").decode()
    color = np.array([0xD5, 0x5E, 0x00] if hole == 0 else [0xE5, 0xE7, 0xEB])
    counts = [
        (
            np.abs(pixels(draw_gradient_flow(drawing(6, 3, hole=value), "png")) - color).max(axis=2)
            < 3
        ).sum()
        for value in (None, hole)
    ]
    assert counts[1] > counts[0] + 10_000


def test_a_network_without_any_gradient_is_drawn_too() -> None:
    empty = drawing(4, 2)
    silent = GradientFlowFigure(**{**vars(empty), "norms": np.zeros_like(empty.norms)})
    assert ">exactly 0</text>" in draw_gradient_flow(silent, "svg").decode()


def test_the_splits_of_a_measurement_are_those_that_are_read() -> None:
    assert GRADIENT_L2 in LAYER_SPLITS
    assert not set(LAYER_SPLITS) & {"train", "val", "test"}
