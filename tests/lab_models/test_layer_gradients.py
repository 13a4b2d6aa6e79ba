"""Gradients of a few parameters over the steps: what is measured is what was trained on, training does not change by a
bit, and an interruption loses nothing.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from lab_models.architectures.build import build_model
from lab_models.architectures.parameter_names import layer_gradient_faults, parameter_names
from lab_models.architectures.sizes import model_size
from lab_models.datasets.catalog import DIGITS, Catalog
from lab_models.running.reading import SpecRefused, read_plan
from lab_models.specs import LayerGradientsSpec, TrainSpec, fingerprint, read_spec
from lab_models.training import layer_gradients
from lab_models.training.layer_gradients import LayerGradients
from lab_models.training.layer_metrics import LAYER_GRADIENTS_NAME, MAGNITUDES
from tests.lab_models.conftest import (
    TINY,
    OrderMaker,
    order_in,
    scores_of,
    train,
    train_until,
    weight_hashes,
)

ASKED: dict[str, Any] = {
    "layers": ["hidden.1.linear.weight", "hidden.0.linear.bias"],
    "every_steps": 2,
    "histograms": True,
}
MEASURED = TINY | {"layer_gradients": ASKED}
NETWORKS: list[dict[str, Any]] = [
    {"depth": 3, "width": 8, "norm": "batch"},
    {"depth": 3, "width": 8, "norm": "layer", "block": "inverted_bottleneck", "residual": True},
    {"arch": "cnn", "stages": 3, "width": 4, "residual": True, "dropout": 0.1},
    {"arch": "henet", "depth": 8},
    {"arch": "vgg", "widths": [4, 8], "hidden": 8},
    {"arch": "resnet18"},
]


def read(order: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    path = Path(order.run_folder) / f"attempt-{order.attempt}" / LAYER_GRADIENTS_NAME
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(file.metadata()["layer_gradients"])


def faults(**asked: Any) -> list[tuple[str, str, str | None]]:
    spec = TrainSpec.model_validate(
        {"dataset": {"train_limit": 200}, "batch_size": 20, **asked}, strict=False
    )
    return [
        (fault.pointer, fault.message, fault.hint) for fault in layer_gradient_faults(spec, DIGITS)
    ]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: str(network.get("arch", network)))
def test_the_names_are_those_of_the_networks_own_parameters(network: dict[str, Any]) -> None:
    spec = TrainSpec.model_validate({"model": network})
    model = build_model(spec.network, (3, 32, 32), 7, 0)
    named = [name for name, _ in model.named_parameters()]
    assert sorted(parameter_names(model_size(spec.network, (3, 32, 32), 7))) == sorted(named)


def test_every_second_step_is_measured_over_all_epochs(make_order: OrderMaker) -> None:
    order = make_order(MEASURED)
    completed = train(order)[-1]
    assert completed.artifacts[-1].name == LAYER_GRADIENTS_NAME
    tensors, about = read(order)
    assert tensors["steps"].tolist() == [1, 3, 5, 7, 9, 11, 13, 15], "15 steps in 3 epochs"
    assert about["layers"] == ASKED["layers"]
    assert (about["every_steps"], about["steps_per_epoch"]) == (2, 5)
    assert tensors["statistics"].shape == (8, 2, 3)
    assert tensors["counts"].shape == (8, 2, len(MAGNITUDES) + 1)
    assert tensors["counts"].sum(2).tolist() == [[16 * 16, 16]] * 8
    assert (tensors["statistics"] > 0).all()


def test_training_is_the_same_to_the_bit_with_and_without(
    make_order: OrderMaker, tmp_path: Path
) -> None:
    plain = {**TINY, "model": {"depth": 2, "width": 16, "norm": "batch", "dropout": 0.3}}
    measured = {**plain, "layer_gradients": {**ASKED, "every_steps": 1}, "gradient_clip": 0.1}
    orders = [
        make_order(spec, run_folder=str(tmp_path / name))
        for name, spec in (("plain", plain | {"gradient_clip": 0.1}), ("measured", measured))
    ]
    found = [scores_of(train(order)) for order in orders]
    assert found[0] == found[1]
    assert weight_hashes(orders[0]) == weight_hashes(orders[1])


@pytest.mark.parametrize(("epoch", "step"), [(1, 0), (1, 2), (2, 3)])
def test_interrupted_and_resumed_the_file_is_the_same_to_the_bit(
    lab_home: Path, tmp_path: Path, epoch: int, step: int
) -> None:
    def order(name: str, **differing: Any) -> Any:
        return order_in(lab_home, MEASURED, run_folder=str(tmp_path / name), **differing)

    straight = order("straight")
    train(straight)
    _, checkpoint = train_until(order("cut"), epoch, step)
    resumed = order("cut", attempt=2, resume=(checkpoint,))
    train(resumed)
    files = [
        (Path(one.run_folder) / f"attempt-{one.attempt}" / LAYER_GRADIENTS_NAME).read_bytes()
        for one in (straight, resumed)
    ]
    assert files[0] == files[1]


@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_statistics_and_bins_are_those_of_the_gradient(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_gradients, "COUNTED_AT_ONCE", at_once)
    model = nn.Linear(3, 2)
    asked = LayerGradientsSpec(layers=("weight", "bias"), histograms=True)
    measured = LayerGradients(model, asked, torch.device("cpu"))
    model.weight.grad = torch.tensor([[0.0, -3.0, 4.0], [1e-12, 0.5, 1e3]])
    model.bias.grad = None  # frozen
    measured.record(0)
    measured.record(1)  # not one of those measured
    state = measured.state()
    assert state["steps"].tolist() == [1]
    norm = (9 + 16 + 0.25 + 1e6) ** 0.5
    assert state["statistics"][0, 0].tolist() == pytest.approx([norm, 1007.5 / 6, 1000.0])
    assert state["statistics"][0, 1].isnan().all()
    counts = state["counts"][0]
    # of 0.5, 3, 4 and 1000; the first bin has exactly 0 and what is below 1e-10
    assert counts[0].nonzero().flatten().tolist() == [0, 39, 42, 43, len(MAGNITUDES)]
    assert (counts[0, 0].item(), counts[1].sum().item()) == (2, 0)


def test_an_unknown_parameter_is_refused_with_what_was_probably_meant() -> None:
    (one,) = faults(layer_gradients={"layers": ["head.weight", "hidden.0.linear.wieght"]})
    assert one[0] == "/layer_gradients/layers/1"
    assert one[2] == "did you mean 'hidden.0.linear.weight'?"
    (other,) = faults(layer_gradients={"layers": ["xyz"]}, model="resnet20")
    assert "named as the layers of a dry run are: stem.conv.weight" in str(other[2])
    assert faults(layer_gradients={"layers": ["head.weight"]}) == []


def test_more_steps_than_can_be_kept_are_refused_with_how_often_they_could_be() -> None:
    (one,) = faults(epochs=300, layer_gradients={"layers": ["head.weight"], "every_steps": 1})
    assert one[0] == "/layer_gradients/every_steps"
    assert "3,000 of 3,000 steps" in one[1]
    assert one[2] == "set every_steps to 2 or more"
    assert not faults(epochs=300, layer_gradients={"layers": ["head.weight"], "every_steps": 2})


@pytest.mark.parametrize(
    "asked",
    [
        {"layers": []},
        {"layers": [f"hidden.{i}.linear.weight" for i in range(9)]},
        {"layers": ["head.weight", "head.weight"]},
        {"layers": ["head.weight"], "every_steps": 0},
        {},
    ],
    ids=str,
)
def test_what_asks_for_nothing_twice_or_too_much_is_no_spec(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="layer_gradients"):
        read_spec({"kind": "train", "layer_gradients": asked})


def test_a_spec_that_asks_for_none_has_the_fingerprint_that_it_had() -> None:
    assert fingerprint(TrainSpec()) == fingerprint(TrainSpec(layer_gradients=None))
    assert fingerprint(TrainSpec()) != fingerprint(
        TrainSpec(layer_gradients=LayerGradientsSpec(layers=("head.weight",)))
    )


def test_a_file_for_the_command_line_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({"layer_gradients": {"layers": ["head.wheight"]}}))
    with pytest.raises(SpecRefused) as refused:
        read_plan(path, Catalog(tmp_path))
    assert refused.value.lines[-1] == "did you mean 'head.weight'?"
