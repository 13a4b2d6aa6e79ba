"""Class activation maps are those that torch's autograd gives; their checks find what is known about networks made by
hand.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx import numpy_helper
from scipy import ndimage, stats
from torch import Tensor, nn
from torch.nn import functional

from lab_models.architectures.build import build_model
from lab_models.architectures.expansion import plan_of
from lab_models.architectures.pixels import as_seen
from lab_models.architectures.plan import Flatten, GlobalPool, Pool
from lab_models.common.errors import LabError
from lab_models.explanations.explaining import explain
from lab_models.explanations.faithfulness import BLUR, STEPS, blurred, faithfulness
from lab_models.explanations.maps import class_maps, enlarged, shares
from lab_models.explanations.network import OpenNetwork, Unexplainable
from lab_models.explanations.question import Method, Question, Show, unexplainable
from lab_models.explanations.randomization import cascade, rank_correlation
from lab_models.inference.export import onnx_file
from lab_models.inference.predictor import Predictor
from tests.lab_models.test_inference import COLOR, GREY, pixels, published, trained, validated

INFO = replace(COLOR, shape=(3, 16, 12))

AVERAGING: dict[str, dict[str, Any]] = {
    "cnn": {"arch": "cnn", "stages": 2, "width": 6},
    "residual cnn": {"arch": "cnn", "stages": 3, "width": 4, "residual": True, "stem": "3x3"},
    "cnn without strides": {
        "arch": "cnn",
        "stages": 2,
        "width": 4,
        "max_halvings": 0,
        "blocks_per_stage": 1,
    },
    "henet": {"arch": "henet", "depth": 8, "width": 4},
    "resnet18": {"arch": "resnet18"},
    "enlarging resnet18": {"arch": "resnet18", "image_size": 64, "statistics": "imagenet"},
}
VGG = {"arch": "vgg", "widths": [4, 6], "hidden": 16}
OWN: dict[str, dict[str, Any]] = {
    name: {"arch": "layers", "layers": layers}
    for name, layers in {
        "LeNet": [
            {"conv": 6, "kernel": 5},
            "tanh",
            "average_pool",
            "flatten",
            {"linear": 12},
            "tanh",
            {"dropout": 0.2},
            {"linear": 8, "bias": False},
            "sigmoid",
        ],
        "without a pool": [{"conv": 4, "stride": 2}, "batch_norm", "relu", "flatten"],
        "overlapping pool": [{"conv": 5}, {"max_pool": 3, "stride": 2}, "flatten"],
        "pooled before the last conv": ["max_pool", {"conv": 6}, "gelu"],
        "every layer of vectors": [
            {"repeat": 2, "layers": [{"conv": 6}, {"group_norm": 2}, "silu"]},
            "average_pool",
            "global_average_pool",
            {"linear": 12},
            "batch_norm",
            "leaky_relu",
            {"residual": [{"linear": 12}, "layer_norm", "gelu"]},
            {"residual": [{"linear": 8}, {"group_norm": 2}, "silu"]},
        ],
    }.items()
}
NETWORKS = {**AVERAGING, "vgg": VGG, **OWN}


def opened(
    document: dict[str, Any], folder: Path, info: Any = INFO
) -> tuple[nn.Module, OpenNetwork]:
    model = trained(document, info)
    return model.eval(), OpenNetwork(onnx_file(published(model, document, info, folder)))


def last_maps_and_logits(
    model: nn.Module, document: dict[str, Any], images: npt.NDArray[np.uint8]
) -> tuple[Tensor, Tensor]:
    """Activations of the last conv layer, and the logits, joined by autograd's graph."""
    kept: list[Tensor] = []
    whole: Any = model
    seen = as_seen(validated(document), INFO)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (seen.mean, seen.std))
    inputs = (torch.from_numpy(images).double() / 255 - mean) / std
    if document["arch"] == "layers":
        layers = plan_of(validated(document), INFO.shape, INFO.num_classes).layers
        end = layers.index(Flatten())
        pool = layers[end - 1]
        if isinstance(pool, GlobalPool) or (isinstance(pool, Pool) and pool.kernel == pool.stride):
            end -= 1
        maps = reduce(lambda signal, step: step(signal), whole._steps[:end], inputs)
        return maps, reduce(lambda signal, step: step(signal), whole._steps[end:], maps)
    layer = {
        "resnet18": lambda: whole.avgpool,
        "vgg": lambda: whole.stages[-1].pool,
    }.get(document["arch"], lambda: whole.pool)()
    handle = layer.register_forward_pre_hook(lambda _module, taken: kept.append(taken[0]))
    logits: Tensor = model(inputs)
    handle.remove()
    return kept[0], logits


def by_autograd(
    model: nn.Module,
    document: dict[str, Any],
    images: npt.NDArray[np.uint8],
    classes: Sequence[int],
    method: Method,
) -> npt.NDArray[np.float32]:
    """Grad-CAM's equations 1 and 2; Grad-CAM++'s 10 and 19 with its own third derivatives of exp(logit), in float64."""
    maps, logits = last_maps_and_logits(model.double(), document, images)
    chosen = logits[torch.arange(len(classes)), torch.tensor(classes)]
    (gradient,) = torch.autograd.grad(chosen.sum(), maps)
    if method is Method.GRAD_CAM:
        weights = gradient.mean(dim=(2, 3))
    else:
        # exp(logit) has the derivatives exp(logit) · g, · g² and · g³, because what follows the maps is piecewise
        # linear
        score = torch.exp(chosen - chosen.detach())[:, None, None, None]
        second, third = score * gradient**2, score * gradient**3
        total = maps.sum(dim=(2, 3), keepdim=True).clamp(min=0)
        denominator = 2 * second + total * third
        alphas = torch.where(
            denominator != 0, second / torch.where(denominator != 0, denominator, 1.0), 0.0
        )
        weights = (alphas * functional.relu(score * gradient)).sum(dim=(2, 3))
    found: npt.NDArray[np.float32] = (
        functional.relu((weights[:, :, None, None] * maps).sum(dim=1)).detach().numpy()
    )
    return found


@pytest.mark.parametrize("method", [Method.GRAD_CAM, Method.GRAD_CAM_PLUS_PLUS])
@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_those_of_autograd(name: str, method: Method, tmp_path: Path) -> None:
    model, network = opened(NETWORKS[name], tmp_path)
    images, classes = pixels(INFO, 4), [0, 1, 4, 1]
    seen = network.look(images)
    assert network.stage == {
        "resnet18": "layer4",
        "enlarging resnet18": "layer4",
        "cnn": "stages.1",
        "cnn without strides": "stages.1",
        "vgg": "stages.1",
        "LeNet": "layers.0",
        "without a pool": "layers.0",
        "overlapping pool": "layers.0",
        "pooled before the last conv": "layers.1",
        "every layer of vectors": "layers.0",
    }.get(name, "stages.2")
    found = class_maps(method, seen, network.tail, np.array(classes))
    expected = by_autograd(model, NETWORKS[name], images, classes, method)
    assert found.shape == expected.shape
    largest = expected.max()
    assert largest > 0, "something is compared"
    np.testing.assert_allclose(found / largest, expected / largest, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "residual cnn", "henet"])
def test_a_cam_adds_up_to_the_logit_and_its_positive_part_is_grad_cam(
    name: str, tmp_path: Path
) -> None:
    model, network = opened(AVERAGING[name], tmp_path)
    weight, bias = (one.detach().numpy() for one in model.get_submodule("head").parameters())
    images, classes = pixels(INFO, 3), np.array([2, 0, 3])
    seen = network.look(images)
    cam = class_maps(Method.CAM, seen, network.tail, classes)
    logits = cam.mean(axis=(1, 2)) + bias[classes]  # Zhou et al. 2016, section 2
    expected = seen.features @ weight.T + bias
    np.testing.assert_allclose(logits, expected[range(3), classes], rtol=1e-4, atol=1e-4)
    places = cam[0].size
    np.testing.assert_allclose(
        class_maps(Method.GRAD_CAM, seen, network.tail, classes),
        np.maximum(cam, 0) / places,
        rtol=1e-9,
    )


def test_opening_a_network_does_not_change_what_it_says(tmp_path: Path) -> None:
    model = trained(AVERAGING["cnn"], INFO)
    content = onnx_file(published(model, AVERAGING["cnn"], INFO, tmp_path))
    images = pixels(INFO, 70)
    np.testing.assert_allclose(
        OpenNetwork(content).look(images).probabilities,
        Predictor(content).predict(images).probabilities,
        atol=1e-6,
    )


def test_networks_without_such_maps_say_why(tmp_path: Path) -> None:
    mlp = {"arch": "mlp", "depth": 1, "width": 8}
    assert "an MLP has no feature maps" in str(unexplainable(validated(mlp), Method.GRAD_CAM))
    assert "method=gradcam" in str(unexplainable(validated(VGG), Method.CAM))
    assert unexplainable(validated(VGG), Method.GRAD_CAM) is None
    assert unexplainable(validated(AVERAGING["cnn"]), Method.CAM) is None
    assert "takes every place" in str(unexplainable(validated(OWN["without a pool"]), Method.CAM))
    assert "a hidden layer between" in str(
        unexplainable(validated(OWN["every layer of vectors"]), Method.CAM)
    )
    assert unexplainable(validated(OWN["pooled before the last conv"]), Method.CAM) is None
    with pytest.raises(Unexplainable, match="no conv stands before its head"):
        opened(mlp, tmp_path)


def test_norms_of_groups_are_drawn_anew_with_their_stage(tmp_path: Path) -> None:
    _, network = opened(OWN["every layer of vectors"], tmp_path)
    assert network.stages == ("layers.0", "layers.3", "layers.4", "layers.6", "layers.7", "head")
    anew = network.redrawn(network.stages, np.random.default_rng(0))
    weights = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in anew._model.graph.initializer
    }
    for name, value in (("layers.0.1.1.weight", 1), ("layers.7.residual.1.bias", 0)):
        assert (weights[name] == value).all()
    assert (weights["layers.0.0.0.bias"] == 0).all()


# --- enlarging


def test_a_map_is_enlarged_as_torch_enlarges_it() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4))
    expected = functional.interpolate(
        torch.from_numpy(maps)[:, None], size=(16, 10), mode="bilinear", align_corners=False
    )[:, 0].numpy()
    np.testing.assert_allclose(enlarged(maps, (16, 10)), expected, atol=1e-12)
    np.testing.assert_array_equal(enlarged(maps, (3, 4)), maps)


def test_shares_go_from_nothing_to_one() -> None:
    maps = np.array(
        [
            [[0.0, 2.0], [4.0, 1.0]],
            [[-1.0, 3.0], [0.0, 1.0]],
            [[0.0, 0.0], [0.0, 0.0]],
            [[2.0, 2.0], [2.0, 2.0]],
        ]
    )
    expected = [
        [[0.0, 0.5], [1.0, 0.25]],
        [[0.0, 1.0], [0.25, 0.5]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[1.0, 1.0], [1.0, 1.0]],
    ]
    np.testing.assert_array_equal(shares(maps), expected)


# --- deletion and insertion


def upper_left(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """A network that looks at the upper left quadrant alone: the probability of class 0 is how white it is."""
    height, width = images.shape[2:]
    white = images[:, 0, : height // 2, : width // 2].mean(axis=(1, 2)) / 255
    return np.stack([white, 1 - white], axis=1)


def test_the_areas_of_a_network_that_looks_at_one_quadrant_are_known() -> None:
    images = np.full((12, 1, 20, 20), 255, np.uint8)
    relevance = np.zeros((12, 20, 20))
    relevance[:, :10, :10] = 1
    classes = np.zeros(12, dtype=np.int64)
    found = faithfulness(upper_left, images, relevance, classes, blank=(0.0,), seed=0)
    # The quadrant goes first, evenly: 1, 0.6, 0.2 and 0 from then on, by 40 of 100 pixels a step. Trapezoids: (0.8 +
    # 0.4 + 0.1) / 10.
    assert found.num_images == 12
    assert found.deletion.by_map.mean == pytest.approx(0.13, abs=1e-9)
    # In a random order the share of the quadrant left is the share of all left, on average: the area is 1/2.
    assert found.deletion.random.mean == pytest.approx(0.5, abs=0.02)
    # A fixed order, the same for all images: a quarter of each ring about the center is the quadrant's.
    assert found.deletion.center.mean == pytest.approx(0.5, abs=0.02)
    low, high = found.deletion.map_minus_random.ci95 or (0, 0)
    assert low < found.deletion.map_minus_random.mean < high < -0.3
    # A white image stays white however it is blurred: insertion starts at 1 and changes nothing.
    assert found.insertion.by_map.mean == found.insertion.random.mean == pytest.approx(1)


def test_insertion_rises_where_the_map_is_right_and_stays_where_it_is_wrong() -> None:
    images = np.zeros((6, 1, 20, 20), np.uint8)
    # a pattern that the blur smears: a quarter of the quadrant is white
    images[:, :, :10:2, :10:2] = 255
    right, wrong = np.zeros((6, 20, 20)), np.zeros((6, 20, 20))
    right[:, :10:2, :10:2] = 1
    wrong[:, :10, :10] = 1 - right[:, :10, :10]  # the black between
    classes = np.zeros(6, dtype=np.int64)
    good, bad = (
        faithfulness(upper_left, images, relevance, classes, blank=(0.0,), seed=0).insertion
        for relevance in (right, wrong)
    )
    start, end = upper_left(blurred(images))[0, 0], upper_left(images)[0, 0]
    assert (start, end) == (pytest.approx(0.155, abs=0.005), 0.25)
    assert good.by_map.mean > good.random.mean > bad.by_map.mean
    assert good.map_minus_random.mean == pytest.approx(good.by_map.mean - good.random.mean)
    assert (good.map_minus_random.ci95 or (0, 0))[0] > 0 > (bad.map_minus_random.ci95 or (0, 0))[1]


def test_pixels_of_equal_relevance_come_in_random_order() -> None:
    images, classes = np.full((30, 1, 20, 20), 255, np.uint8), np.zeros(30, dtype=np.int64)
    found = faithfulness(upper_left, images, np.ones((30, 20, 20)), classes, blank=(0.0,), seed=3)
    assert found.deletion.by_map.mean == pytest.approx(0.5, abs=0.02), (
        "by number the upper half would go first"
    )
    again = faithfulness(upper_left, images, np.ones((30, 20, 20)), classes, blank=(0.0,), seed=3)
    assert again == found
    assert (
        faithfulness(upper_left, images, np.ones((30, 20, 20)), classes, blank=(0.0,), seed=4)
        != found
    )


def test_one_image_has_no_interval() -> None:
    found = faithfulness(
        upper_left,
        np.full((1, 1, 6, 5), 255, np.uint8),
        np.ones((1, 6, 5)),
        np.zeros(1, dtype=np.int64),
        blank=(0.5,),
        seed=0,
    )
    assert found.deletion.map_minus_random.ci95 is None
    assert STEPS == 10


def test_the_blur_is_a_gaussian() -> None:
    image = pixels(INFO, 1)[0, 0]
    values, ones = (
        ndimage.gaussian_filter(plane, BLUR * 12, mode="constant", truncate=8)
        for plane in (image.astype(float), np.ones(image.shape))
    )
    np.testing.assert_allclose(blurred(image[None, None])[0, 0], values / ones, atol=0.51)
    flat = np.full((1, 3, 9, 7), 200, np.uint8)
    np.testing.assert_array_equal(blurred(flat), flat)


# --- randomization


def test_ranks_correlate_as_scipy_says() -> None:
    generator = np.random.default_rng(0)
    ones, others = (
        generator.integers(0, 4, (5, 3, 4)).astype(float),
        generator.normal(size=(5, 3, 4)),
    )
    expected = [
        stats.spearmanr(one.ravel(), other.ravel()).statistic
        for one, other in zip(ones, others, strict=True)
    ]
    np.testing.assert_allclose(rank_correlation(ones, others), expected, atol=1e-12)
    assert np.isnan(rank_correlation(np.zeros((1, 2, 2)), others[:1, :2, :2])).all()


def test_a_cascade_goes_from_the_head_to_the_first_layer_and_leaves_less_and_less(
    tmp_path: Path,
) -> None:
    _, network = opened(AVERAGING["residual cnn"], tmp_path)
    images = pixels(INFO, 8)
    classes = network.look(images).probabilities.argmax(axis=1)
    steps = cascade(network, Method.CAM, images, classes, seed=0)
    assert [step.stage for step in steps] == ["head", "stages.2", "stages.1", "stages.0", "stem"]
    assert all(
        step.correlation is not None
        and step.correlation.n == 8
        and abs(step.correlation.mean) < 0.75
        for step in steps
    )
    assert cascade(network, Method.CAM, images, classes, seed=0) == steps
    assert cascade(network, Method.CAM, images, classes, seed=1) != steps


def test_redrawn_stages_have_new_weights_and_all_others_the_old_ones(tmp_path: Path) -> None:
    _, network = opened(AVERAGING["residual cnn"], tmp_path)
    images, generator = pixels(INFO, 3), np.random.default_rng(0)
    seen, new_head = network.look(images), network.redrawn(("head",), generator).look(images)
    np.testing.assert_array_equal(new_head.maps, seen.maps)
    assert not np.allclose(new_head.probabilities, seen.probabilities)
    other = network.redrawn(("stages.2", "head"), generator)
    assert not np.allclose(other.look(images).maps, seen.maps)
    np.testing.assert_array_equal(network.look(images).maps, seen.maps)


def test_a_whole_redrawn_network_is_one_of_the_lab_s_before_training(tmp_path: Path) -> None:
    document = {"arch": "cnn", "stages": 2, "width": 32, "stem": "3x3"}
    fresh = build_model(validated(document), INFO.shape, INFO.num_classes, 5)
    network = OpenNetwork(onnx_file(published(fresh, document, INFO, tmp_path)))
    other = network.redrawn(network.stages, np.random.default_rng(0))
    images = pixels(INFO, 16)
    ours, torchs = (each.look(images).maps for each in (other, network))
    assert ours.std() == pytest.approx(torchs.std(), rel=0.3)


def test_maps_that_ignore_the_weights_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge detector calls itself an explanation: what it shows is the image's, not the network's."""
    _, network = opened(AVERAGING["cnn"], tmp_path)
    images = pixels(INFO, 6)
    edges = np.abs(np.diff(images.astype(float).mean(axis=1), axis=1))
    monkeypatch.setattr("lab_models.explanations.randomization.class_maps", lambda *_: edges)
    steps = cascade(network, Method.GRAD_CAM, images, np.zeros(6, dtype=np.int64), seed=0)
    assert [step.correlation.mean for step in steps if step.correlation] == [
        pytest.approx(1)
    ] * len(steps)


# --- all of it


def question(**differing: Any) -> Question:
    return Question(
        **{"method": Method.GRAD_CAM, "num_examples": 6, "show": Show.BOTH, "seed": 0, **differing}
    )


def test_examples_are_right_and_wrong_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    _, network = opened(AVERAGING["cnn"], tmp_path)
    content = onnx_file(
        published(trained(AVERAGING["cnn"], INFO), AVERAGING["cnn"], INFO, tmp_path)
    )
    images = pixels(INFO, 150)
    predicted = network.probabilities(images).argmax(axis=1)
    labels = np.where(np.arange(150) % 3 > 0, predicted, (predicted + 1) % 5)  # a third is wrong
    rows = np.arange(10, 150)

    def ask(**differing: Any) -> Any:
        return explain(
            content, images, labels, rows, question(**differing), macs=10**8, blank=INFO.mean
        )

    found = ask()
    assert [example.is_right for example in found.examples] == [True] * 3 + [False] * 3
    assert (found.num_seen, found.faithfulness.num_images) == (64, 9), (
        "a batch was enough for the examples"
    )
    assert found.num_wrong == pytest.approx(64 / 3, abs=10)
    for example in found.examples:
        assert example.row >= 10
        np.testing.assert_array_equal(example.pixels, images[example.row])
        assert (example.predicted, example.label) == (predicted[example.row], labels[example.row])
        assert example.probability >= example.label_probability
        assert example.map.shape == network.look(images[:1]).maps.shape[2:]
    assert [example.row for example in ask().examples] == [
        example.row for example in found.examples
    ]
    assert [example.row for example in ask(seed=1).examples] != [
        example.row for example in found.examples
    ]
    assert [example.is_right for example in ask(show=Show.WRONG, num_examples=5).examples] == [
        False
    ] * 5
    assert [example.is_right for example in ask(show=Show.RIGHT, num_examples=1).examples] == [True]
    scarce = explain(content, images, predicted, rows, question(), macs=10**8, blank=INFO.mean)
    assert (
        [example.is_right for example in scarce.examples],
        scarce.num_seen,
        scarce.num_wrong,
    ) == ([True] * 3, 140, 0)


def test_large_networks_are_checked_by_fewer_images(tmp_path: Path) -> None:
    content = onnx_file(
        published(trained(AVERAGING["cnn"], INFO), AVERAGING["cnn"], INFO, tmp_path)
    )
    images, labels = pixels(INFO, 150), np.zeros(150, dtype=np.int64)
    found = explain(
        content, images, labels, np.arange(150), question(), macs=10**7, blank=INFO.mean
    )
    assert found.faithfulness.num_images == 90
    found = explain(
        content, images, labels, np.arange(150), question(), macs=10**12, blank=INFO.mean
    )
    assert (found.faithfulness.num_images, found.num_seen) == (8, 64)


def test_maps_of_one_place_and_logits_beyond_all_bounds_are_refused(tmp_path: Path) -> None:
    tiny = replace(GREY, shape=(1, 4, 4))
    document = {"arch": "cnn", "stages": 3, "width": 4}
    content = onnx_file(published(trained(document, tiny), document, tiny, tmp_path))
    with pytest.raises(
        Unexplainable,
        match="its last feature maps are 1x1 for images of 4x4, which says nothing about places",
    ):
        explain(
            content,
            pixels(tiny, 3),
            np.zeros(3, dtype=np.int64),
            np.arange(3),
            question(),
            macs=1000,
            blank=tiny.mean,
        )
    model = trained(AVERAGING["cnn"], INFO)
    for parameter in model.parameters():
        parameter.data *= 1e30
    with pytest.raises(LabError, match="is not finite"):
        OpenNetwork(onnx_file(published(model, AVERAGING["cnn"], INFO, tmp_path))).look(
            pixels(INFO, 1)
        )
