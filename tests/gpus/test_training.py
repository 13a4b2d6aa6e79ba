"""The code that trains, unchanged, on a pretend card: it does nothing that a card refuses, it asks for no more than it
must, and it comes to what the CPU comes to.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from lab_models.specs import AugmentationSpec
from lab_models.specs.presets import ARCHITECTURE_NAMES
from tests.gpus import comparing
from tests.gpus.cases import CASES, Case
from tests.gpus.stand_ins import pretend_card
from tests.lab_models.conftest import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.costly, pytest.mark.sqlite]
SECONDS = 280
"""For all cases in one process; on one idle core they take about 40."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each case."""
    environment = pretend_card(tmp_path_factory.mktemp("card"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpus.comparing", "pretend"],
        input=json.dumps([case.document() for case in CASES]),
        env={**os.environ, **environment},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_card_refuses_nothing_and_waits_for_nothing(
    case: Case, found: dict[str, dict[str, Any]]
) -> None:
    one = found[case.name]
    assert one["faults"] == {}
    assert one["warnings"] == []
    most = [max(step[i] for step in [*one["steps"], [0, 0, 0]]) for i in range(3)]
    assert most[0] <= case.kernels, one["operations"]
    assert most[1:] == [case.waits, case.copies], one["waited_at"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_card_comes_to_what_the_cpu_comes_to(
    case: Case, found: dict[str, dict[str, Any]]
) -> None:
    one = found[case.name]
    assert one["difference"] <= case.differs_by
    on_cpu, on_card = (scores[2] for scores in one["scores"])
    assert on_card.keys() == on_cpu.keys()
    if "loss" in on_cpu:
        assert on_card["loss"] == pytest.approx(on_cpu["loss"], rel=max(case.differs_by, 1e-6))
    else:
        assert on_card == on_cpu
    assert one["resumed_difference"] == 0.0


def test_every_architecture_augmentation_and_objective_is_among_them() -> None:
    specs = [case.document()["spec"] for case in CASES]
    networks = [spec[key] for spec in specs for key in ("model", "student") if key in spec]
    assert {network.get("arch", "mlp") for network in networks} == set(ARCHITECTURE_NAMES)
    augmentations = {name for spec in specs for name in spec["dataset"].get("augmentation", {})}
    assert augmentations == set(AugmentationSpec.model_fields)
    assert {spec.get("kind", "train") for spec in specs} == {"train", "distill", "transfer"}
    assert {spec.get("strategy") for spec in specs} >= {"features", "linear_probe", "staged"}


def test_a_trainer_has_loaded_what_convolutions_need_before_its_order(
    found: dict[str, dict[str, Any]],
) -> None:
    warmed = found[comparing.WARMED]
    assert warmed["faults"] == {}
    assert {"convolution", "convolution_backward", "_fused_adam_", "_fused_sgd_"} <= set(
        warmed["operations"]
    )


def test_what_a_card_would_refuse_is_noticed(found: dict[str, dict[str, Any]]) -> None:
    noted = {fault.partition(" at ")[0] for fault in found[comparing.REFUSED]["faults"]}
    assert noted == {
        "add mixes devices: a tensor (2, 1, 6, 6) is on the CPU",
        "cat mixes devices: a tensor (2, 1, 6, 6) is on the CPU",
        "bernoulli_ on the card is given a generator of the CPU",
        "_adaptive_avg_pool2d_backward has no deterministic form on CUDA",
    }
