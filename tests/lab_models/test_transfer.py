"""Transfer: the source's backbone, a new head, and nothing moved that should stand still."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lab_models.architectures.build import build_model
from lab_models.architectures.sizes import model_size
from lab_models.architectures.stages import parameters_in, stage_of, stages_of, trained_stages
from lab_models.building_on.transfer import take_backbone
from lab_models.common.errors import TeacherUnusable
from lab_models.common.files import sha256_of
from lab_models.specs import SGDSpec, TrainSpec, TransferSpec, Tuning, read_spec
from lab_models.training.freezing import Freezer, parameter_groups
from lab_models.training.optimization import make_optimizer, set_learning_rate
from lab_models.training.protocol import FoundationFiles, Order, Started
from tests.lab_models.conftest import (
    OWN_LIST,
    TINY,
    OrderMaker,
    of_kind,
    order_in,
    scores_of,
    train,
    train_until,
    weight_hashes,
)

CNN: dict[str, Any] = {
    "arch": "cnn",
    "stages": 3,
    "width": 4,
    "stem": "3x3",
    "residual": True,
    "dropout": 0.1,
}
SOURCE: dict[str, Any] = TINY | {"model": CNN, "epochs": 2}
NETWORKS = [
    CNN,
    {"depth": 3, "width": 8, "norm": "batch"},
    {"arch": "henet", "depth": 8},
    {"arch": "vgg", "widths": [4, 8], "hidden": 8},
    {"arch": "resnet18"},
    OWN_LIST,
]


@pytest.fixture(scope="module")
def source(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> FoundationFiles:
    order = order_in(lab_home, SOURCE, run_folder=str(tmp_path_factory.mktemp("source")))
    accuracy = train(order)[-1].test["accuracy"]
    weights = Path(order.run_folder) / "attempt-1" / "weights.safetensors"
    return FoundationFiles(
        run_id="run_source",
        spec=TrainSpec.model_validate(SOURCE),
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=accuracy,
    )


@pytest.fixture
def make_transfer(make_order: OrderMaker, source: FoundationFiles, tmp_path: Path) -> Any:
    def make(
        folder: str = "transfer", spec: dict[str, Any] | None = None, **differing: Any
    ) -> Order:
        document = (
            {key: value for key, value in TINY.items() if key != "model"}
            | {"kind": "transfer", "source": {"spec": SOURCE}}
            | (spec or {})
        )
        return make_order(
            document, **({"foundation": source, "run_folder": str(tmp_path / folder)} | differing)
        )

    return make


def spec_of(model: dict[str, Any], **tuning: Any) -> TransferSpec:
    spec = read_spec({"kind": "transfer", "source": {"spec": {"model": model}}, **tuning})
    assert isinstance(spec, TransferSpec)
    return spec


@pytest.mark.parametrize("model", NETWORKS, ids=lambda model: model.get("arch", "mlp"))
def test_every_parameter_belongs_to_a_stage_and_counts_agree(model: dict[str, Any]) -> None:
    spec = spec_of(model)
    size = model_size(spec.network, (1, 16, 16), 5)
    network = build_model(spec.network, (1, 16, 16), 5, 0)
    stages = stages_of(size)
    assert {stage_of(name) for name, _ in network.named_parameters()} == set(stages)
    for last in range(len(stages)):
        trained = trained_stages(
            size, Tuning(last_stages=last) if last else Tuning(strategy="linear_probe")
        )
        assert len(trained) == last + 1
        assert trained[-1] == stages[-1]
        assert parameters_in(size, trained) == sum(
            parameter.numel()
            for name, parameter in network.named_parameters()
            if stage_of(name) in trained
        )
    assert trained_stages(size, Tuning()) == stages


@pytest.mark.parametrize("tuning", [{"strategy": "linear_probe"}, {"last_stages": 1}, {}], ids=str)
def test_what_is_frozen_stands_still_and_all_else_moves(
    make_transfer: Any, source: FoundationFiles, tuning: dict[str, Any]
) -> None:
    order = make_transfer(spec=tuning)
    train(order)
    before, after = (
        load_file(source.weights),
        load_file(Path(order.run_folder) / "attempt-1" / "weights-last.safetensors"),
    )
    size = model_size(order.spec.network, (1, 8, 8), 10)
    trained = trained_stages(size, order.spec)
    for name, tensor in after.items():
        if stage_of(name) in trained:
            assert not torch.equal(tensor, before[name]), name
        else:
            assert torch.equal(tensor, before[name]), f"{name}: running statistics stand still, too"


def test_the_backbone_is_the_sources_and_the_head_is_new(source: FoundationFiles) -> None:
    network = TrainSpec.model_validate(SOURCE).model
    model, fresh = build_model(network, (1, 8, 8), 7, 5), build_model(network, (1, 8, 8), 7, 5)
    take_backbone(model, source, model_size(network, (1, 8, 8), 7))
    theirs = load_file(source.weights)
    for name, tensor in model.state_dict().items():
        assert torch.equal(
            tensor, fresh.state_dict()[name] if name.startswith("head") else theirs[name]
        )


def test_another_network_or_damaged_weights_are_refused(source: FoundationFiles) -> None:
    network = TrainSpec.model_validate(SOURCE | {"model": CNN | {"width": 8}}).model
    with pytest.raises(TeacherUnusable, match="another network"):
        take_backbone(
            build_model(network, (1, 8, 8), 10, 0), source, model_size(network, (1, 8, 8), 10)
        )
    own = TrainSpec.model_validate(SOURCE).model
    with pytest.raises(TeacherUnusable, match="damaged"):
        take_backbone(
            build_model(own, (1, 8, 8), 10, 0),
            source.model_copy(update={"sha256": "0" * 64}),
            model_size(own, (1, 8, 8), 10),
        )


def test_learning_rates_decay_from_the_head_down() -> None:
    spec = spec_of(CNN, last_stages=2, layer_decay=0.5)
    size = model_size(spec.network, (1, 8, 8), 10)
    model = build_model(spec.network, (1, 8, 8), 10, 0)
    assert Freezer(model, spec, size).begin_epoch(1)
    optimizer = make_optimizer(
        SGDSpec(learning_rate=0.8), model, parameter_groups(model, spec, size)
    )
    set_learning_rate(optimizer, 0.4)
    assert [group["lr"] for group in optimizer.param_groups] == [0.4, 0.2, 0.1]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == sum(
        parameter.requires_grad for parameter in model.parameters()
    )


def test_staged_unfreezing_thaws_one_stage_after_another() -> None:
    spec = spec_of(CNN, strategy="staged", unfreeze_every=2, last_stages=2)
    size = model_size(spec.network, (1, 8, 8), 10)
    assert [trained_stages(size, spec, epoch) for epoch in (1, 2, 3, 5, 9)] == [
        ("head",),
        ("head",),
        ("stages.2", "head"),
        ("stages.1", "stages.2", "head"),
        ("stages.1", "stages.2", "head"),
    ]
    model = build_model(spec.network, (1, 8, 8), 10, 0)
    freezer = Freezer(model, spec, size)
    for epoch in (1, 5, 3):
        freezer.begin_epoch(epoch)
        moving = {
            stage_of(name)
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        assert moving == set(trained_stages(size, spec, epoch))


def test_a_stage_that_is_thawed_later_stands_still_until_then(
    make_transfer: Any, source: FoundationFiles
) -> None:
    order = make_transfer(spec={"strategy": "staged", "unfreeze_every": 2, "epochs": 3})
    _, checkpoint = train_until(order, 2, 0)
    before = load_file(source.weights)
    saved = torch.load(Path(order.run_folder) / checkpoint.path, weights_only=True)["model"]
    assert all(
        torch.equal(saved[name], tensor) == (not name.startswith("head"))
        for name, tensor in before.items()
    )
    train(make_transfer("whole", {"strategy": "staged", "unfreeze_every": 2, "epochs": 3}))
    after = load_file(
        Path(order.run_folder).parent / "whole" / "attempt-1" / "weights-last.safetensors"
    )
    assert {stage_of(name) for name in after if not torch.equal(after[name], before[name])} == {
        "head",
        "stages.2",
    }


@pytest.mark.parametrize("place", [(1, 2), (2, 0)])
@pytest.mark.parametrize("tuning", [{"last_stages": 1}, {"strategy": "staged"}], ids=str)
def test_a_resumed_transfer_gives_the_same_bits(
    make_transfer: Any, place: tuple[int, int], tuning: dict[str, Any]
) -> None:
    tuning = {**tuning, "layer_decay": 0.5, "ema_decay": 0.9, "probes": ["gradient_flow"]}
    whole = make_transfer("whole", tuning)
    expected = scores_of(train(whole))
    before, checkpoint = train_until(make_transfer("broken", tuning), *place)
    again = make_transfer("broken", tuning, attempt=2, resume=(checkpoint,))
    after = train(again)
    assert of_kind(Started, after)[0].resumed_from == place
    assert weight_hashes(again) == weight_hashes(whole)
    assert scores_of(before + after) == expected


@pytest.mark.parametrize(
    ("before", "here", "warns"),
    [
        ({}, {}, False),
        ({}, {"val": "published"}, True),
        ({"val": "published"}, {}, True),
        ({"val": "published"}, {"val": "published"}, False),
        ({}, {"split_seed": 1}, True),
        ({"val_fraction": 0.3}, {}, True),
        ({"stratified": False}, {}, True),
        ({"train_limit": 100}, {"augmentation": "shift_rotate"}, False),
        ({"name": "mnist", "split_seed": 1}, {}, False),
    ],
)
def test_a_source_that_has_seen_what_is_val_here_is_doubted(
    before: dict[str, Any], here: dict[str, Any], warns: bool
) -> None:
    spec = read_spec({"kind": "transfer", "source": {"spec": {"dataset": before}}, "dataset": here})
    assert any("val flatters" in doubt for doubt in spec.doubts) is warns


def test_the_doubt_stands_in_the_notes_of_the_run(make_transfer: Any) -> None:
    for split_seed, expected in ((0, 0), (1, 1)):
        dataset = {**TINY["dataset"], "split_seed": split_seed}
        events = train(make_transfer(f"split-{split_seed}", {"dataset": dataset}))
        (started,) = (event for event in events if isinstance(event, Started))
        assert sum("val flatters" in note for note in started.notes) == expected
