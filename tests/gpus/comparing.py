"""Trains on a card and on the CPU, and says what the card was asked for and how the results compare.

`python -m tests.gpus.comparing pretend` reads cases as JSON from its standard input and writes one line of JSON for
each; `cuda:0` in place of `pretend` takes a real card, of which nothing is counted.
"""

import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from tests.gpus.pretend import Card, pretended

if TYPE_CHECKING:
    from lab_models.training.protocol import FoundationFiles, Order

CARD = "cuda:0"
REFUSED = "what a card refuses"
WARMED = "what a trainer does before its order"


def main(device: str) -> None:
    """All cases in their order; `on` names a case whose network, as the CPU trained it, is built on."""
    torch.set_num_threads(1)  # before the thread of the card's backward passes is there
    cases = json.load(sys.stdin)
    with (
        TemporaryDirectory() as folder,
        pretended() if device == "pretend" else nullcontext() as card,
    ):
        if card is not None:
            print(json.dumps({"name": REFUSED, "faults": _refused(card)}), flush=True)
            print(json.dumps({"name": WARMED, **_warmed(card)}), flush=True)
        for case in cases:
            print(json.dumps(_compared(Path(folder), case, card)), flush=True)


def _compared(home: Path, case: dict[str, Any], card: Card | None) -> dict[str, Any]:
    # within `pretended`, which must be there first
    from lab_models.datasets.batches import RESIDENT_BYTES
    from lab_models.running import preparing
    from tests.lab_models.conftest import scores_of, train

    on_cpu, on_card = (order_of(home, case, device) for device in ("cpu", CARD))
    limit = case.get("resident_bytes", RESIDENT_BYTES)
    with mock.patch.object(preparing, "resident_bytes", return_value=limit):
        expected = founded(home, case, on_cpu)
        with warnings.catch_warnings(record=True) as said, _counted(card) as steps:
            warnings.simplefilter("always")
            found = scores_of(train(on_card))
    resumed = _resumed(on_card, case["resumed_after"]) if case.get("resumed_after") else on_card
    return {
        "name": case["name"],
        **steps,
        "warnings": sorted({str(one.message).splitlines()[0] for one in said}),
        "scores": [expected[-1], found[-1]],
        "difference": _difference(_weights(on_cpu), _weights(on_card)),
        "resumed_difference": _difference(_weights(on_card), _weights(resumed)),
    }


def _resumed(order: "Order", step: int) -> "Order":
    """The same run, stopped after a step of its first epoch, when another process goes on."""
    from tests.lab_models.conftest import train, train_until

    again = order.model_copy(update={"run_folder": order.run_folder.with_name("resumed")})
    _, checkpoint = train_until(again, 0, step)
    train(again.model_copy(update={"resume": (checkpoint,)}))
    return again


def _refused(card: Card) -> dict[str, int]:
    """What it notes where a card would refuse something, or do it in any order."""
    there, here = torch.zeros(2, 1, 6, 6, device=CARD, requires_grad=True), torch.ones(2, 1, 6, 6)
    there + here
    torch.cat([here, there])
    there + torch.tensor(1.0)  # a number, which may lie anywhere
    here.to(CARD).bernoulli_(0.5, generator=torch.Generator())
    torch.nn.functional.adaptive_avg_pool2d(there, 4).sum().backward()
    return dict(card.counts.faults)


def _warmed(card: Card) -> dict[str, Any]:
    from lab_models.running.warming import warm_up

    card.counts.clear()
    warm_up(torch.device(CARD), 1)
    return {"faults": dict(card.counts.faults), "operations": dict(card.counts.operations)}


def order_of(home: Path, case: dict[str, Any], device: str) -> "Order":
    """To train a case on the device, in the folder of its name; what it builds on was trained on the CPU before."""
    from tests.lab_models.conftest import order_in

    spec = case["spec"]
    return order_in(
        home,
        spec,
        run_folder=str(home / case["name"] / device.partition(":")[0]),
        device=device,
        foundation=_foundation(home, case["on"]) if "on" in case else None,
        **case.get("order", {}),
    )


def founded(home: Path, case: dict[str, Any], on_cpu: "Order") -> list[Any]:
    """Scores of a case, trained so that others can build on it."""
    from tests.lab_models.conftest import scores_of, train

    scores = scores_of(train(on_cpu))
    (home / f"{case['name']}.json").write_text(json.dumps(scores[-1][2]))
    return scores


def _foundation(home: Path, name: str) -> "FoundationFiles":
    from lab_models.common.files import sha256_of
    from lab_models.specs import read_spec
    from lab_models.training.protocol import FoundationFiles

    attempt = home / name / "cpu" / "attempt-1"
    weights = attempt / "weights.safetensors"
    return FoundationFiles(
        run_id=f"run_{name}",
        spec=read_spec(json.loads((attempt / "spec.json").read_text())["spec"]),
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=json.loads((home / f"{name}.json").read_text())["accuracy"],
    )


@contextmanager
def _counted(card: Card | None) -> Iterator[dict[str, Any]]:
    """Kernels, waits and copies of each epoch's first step, of every other, and of what follows the last."""
    found: dict[str, Any] = {"first": [], "steps": [], "ends": []}
    if card is None:
        yield found
        return
    from lab_models.running import execution
    from lab_models.training import fitting

    def fit(*args: Any) -> Iterator[Any]:
        began = card.counts.now()
        for event in fitting.fit(*args):
            asked = [now - then for now, then in zip(card.counts.now(), began, strict=True)]
            match event:
                case fitting.Stepped():
                    found["first" if event.step == 1 else "steps"].append(asked)
                case fitting.EpochEnded():
                    found["ends"].append(asked)
            yield event
            began = card.counts.now()

    card.counts.clear()
    with mock.patch.object(execution, "fit", fit):
        yield found
    found["faults"] = dict(card.counts.faults)
    found["waited_at"] = dict(card.counts.waited_at)
    found["operations"] = dict(card.counts.operations)


def _weights(order: "Order") -> dict[str, Any]:
    """As they were last; none where nothing is trained."""
    from safetensors.torch import load_file

    file = Path(order.run_folder) / "attempt-1" / "weights-last.safetensors"
    return load_file(file) if file.exists() else {}


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """L2 norm of all differences over that of all weights; 0 is the same bits."""
    assert ours.keys() == theirs.keys()
    pairs = [(one.double(), theirs[name].double()) for name, one in ours.items()]
    apart, size = (
        sum(float(tensor.square().sum()) for tensor in tensors)
        for tensors in ([one - other for one, other in pairs], [one for one, _ in pairs])
    )
    return math.sqrt(apart / size) if apart else 0.0


if __name__ == "__main__":
    main(sys.argv[1])
