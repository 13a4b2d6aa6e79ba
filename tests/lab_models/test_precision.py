"""Which number format a step and a forward pass are computed in, and what is said where the device has it not."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lab_models.common.errors import LabError
from lab_models.datasets.batches import Batch
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running.environment import environment, make_deterministic
from lab_models.specs import TrainSpec, fingerprint
from lab_models.training.accumulation import Gradients
from lab_models.training.objectives import Loss
from lab_models.training.precision import forward_context, notes_of_precision

CPU, CARD = torch.device("cpu"), torch.device("cuda:0")


def rounds() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def _as_in_a_run() -> None:
    make_deterministic(torch.get_num_threads())


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("tf32", CARD, (True, True)),
        ("float32", CARD, (False, False)),
        ("tf32", CPU, (False, False)),
    ],
)
def test_only_tf32_on_a_card_rounds_what_is_multiplied_and_only_there(
    precision: str, device: torch.device, expected: tuple[bool, bool]
) -> None:
    with forward_context(precision, device)():
        assert rounds() == expected
    with pytest.raises(LabError), forward_context(precision, device)():
        raise LabError("a loss that is not finite")
    assert rounds() == (False, False)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_step_is_rounded_forth_and_back_and_a_teacher_of_another_precision_is_not(
    micro_batches: int,
) -> None:
    seen: dict[str, set[tuple[bool, bool]]] = {"forth": set(), "back": set(), "float32": set()}
    model = nn.Linear(2, 2)

    def objective(network: nn.Module, batch: Any) -> Loss:
        seen["forth"].add(rounds())
        logits = network(batch.images)
        logits.register_hook(lambda _: seen["back"].add(rounds()))
        with forward_context("float32", CARD)():
            seen["float32"].add(rounds())
        return Loss(logits.sum(), logits)

    batches = SimpleNamespace(
        batch=lambda rows, _: Batch(torch.ones(len(rows), 2), rows, rows),
        labels_of=lambda rows: rows,
    )
    state: Any = SimpleNamespace(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), device=CARD
    )
    spec = TrainSpec(precision="tf32", batch_size=4)
    gradients = Gradients(state, spec, batches, objective, micro_batches)  # type: ignore[arg-type]
    gradients(torch.arange(4), None)
    assert seen["forth"] == seen["back"] == {(True, True)}
    assert seen["float32"] == {(False, False)}
    assert rounds() == (False, False)


def test_tf32_is_another_spec_and_the_record_says_what_was_done(
    digits: PreparedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fingerprint(TrainSpec(precision="tf32")) != fingerprint(TrainSpec())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L4")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 92400)
    for major, said, notes in ((8, "on", 0), (7, "off", 1)):
        card = SimpleNamespace(major=major, minor=5, multi_processor_count=58)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, card=card: card)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, major=major: (major, 5))
        assert environment(digits, CARD, threads=1, precision="tf32")["tf32"] == said
        assert environment(digits, CARD, threads=1)["tf32"] == "off"
        assert len(notes_of_precision("tf32", CARD)) == notes
    assert "tf32" not in environment(digits, CPU, threads=1, precision="tf32")
    assert notes_of_precision("tf32", CPU) == [
        "precision tf32: a CPU has no TF32, so this is float32"
    ]
    assert notes_of_precision("float32", CPU) == []
