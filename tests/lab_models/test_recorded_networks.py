"""What was recorded before a network was a list of layers is still so: names, sizes, first weights to the bit, logits,
and checkpoints that go on.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lab_models.architectures.build import build_model
from lab_models.inference.export import onnx_file
from lab_models.inference.predictor import Predictor
from lab_models.inference.trained import TrainedNetwork
from lab_models.running.execution import Execution
from lab_models.training.protocol import Completed, SavedCheckpoint, Started
from tests.lab_models import recordings
from tests.lab_models.conftest import OrderMaker, of_kind
from tests.lab_models.recordings import CLASSES, RECORDED, SEED, SMALL, TINY, network_spec

KNOWN: dict[str, Any] = json.loads(recordings.NETWORKS.read_text())
CASES = list(recordings.cases_on_paper())
DRAWN = SMALL | recordings.DRAWN
CLOSE = {"rtol": 0, "atol": 1e-5}


@pytest.mark.parametrize(("name", "document", "shape"), CASES, ids=[case[0] for case in CASES])
def test_names_and_sizes_are_what_they_were(
    name: str, document: Any, shape: tuple[int, int, int]
) -> None:
    assert recordings.on_paper(document, shape) == KNOWN["on_paper"][name]


@pytest.mark.parametrize("name", KNOWN["first_weights"])
def test_first_weights_are_what_they_were_to_the_bit(name: str) -> None:
    if recordings.generators() != KNOWN["generators"]:
        pytest.skip("this processor draws other normals than the one on which they were recorded")
    network, _, shape = name.rpartition(" ")
    sides = tuple(int(side) for side in shape.split("x"))
    assert len(sides) == 3
    assert recordings.first_weights(DRAWN[network], sides) == KNOWN["first_weights"][name]


@pytest.mark.parametrize("name", SMALL)
def test_old_weights_load_and_give_the_old_logits(name: str) -> None:
    network = build_model(network_spec(SMALL[name]), TINY, CLASSES, SEED)
    network.load_state_dict(load_file(RECORDED / f"{name}.safetensors"))
    logits = recordings.logits_of(network.eval(), TINY)
    np.testing.assert_allclose(logits, KNOWN["logits"][name], **CLOSE)


@pytest.mark.parametrize("name", SMALL)
def test_old_weights_give_the_old_logits_as_onnx(name: str) -> None:
    path = RECORDED / f"{name}.safetensors"
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    network = TrainedNetwork(network_spec(SMALL[name]), recordings.pictured(TINY), path, sha256)
    logits = Predictor(onnx_file(network)).predict(recordings.images(TINY).numpy()).logits
    np.testing.assert_allclose(logits, KNOWN["onnx_logits"][name], **CLOSE)


@pytest.mark.parametrize("name", recordings.CHECKPOINTS)
def test_a_run_goes_on_from_an_old_checkpoint_as_if_it_had_never_stopped(
    name: str, make_order: OrderMaker, tmp_path: Path
) -> None:
    """Rounding may differ from the machine that recorded it, so the weights are compared as numbers."""
    spec = {**recordings.RUN, **recordings.CHECKPOINTS[name]}
    content = (RECORDED / f"{name}.checkpoint").read_bytes()
    whole, later = tmp_path / "whole", tmp_path / "later"
    later.mkdir()
    (later / "old.checkpoint").write_bytes(content)
    epoch, step = recordings.AT
    resume = SavedCheckpoint(
        epoch=epoch,
        step=step,
        path="old.checkpoint",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    orders = [
        make_order(spec, run_folder=str(whole)),
        make_order(spec, run_folder=str(later), resume=(resume,)),
    ]
    for order, begun in zip(orders, (None, (epoch, step)), strict=True):
        events = list(Execution(order).events())
        assert [event.resumed_from for event in of_kind(Started, events)] == [begun]
        assert isinstance(events[-1], Completed)
    expected, found = (
        load_file(folder / "attempt-1" / "weights-last.safetensors") for folder in (whole, later)
    )
    assert found.keys() == expected.keys()
    for key, weights in expected.items():
        torch.testing.assert_close(found[key], weights, rtol=1e-3, atol=1e-4)
