"""More than logits: attention maps and hints, the pairs of stages they are of, and a regressor that is nobody's
business after training.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from lab_models.architectures.build import build_model
from lab_models.architectures.misfits import misfits
from lab_models.architectures.pairs import (
    StagePair,
    compared_stages,
    regressor_parameters,
    stage_pairs,
)
from lab_models.architectures.sizes import model_size
from lab_models.building_on.teacher import StoredLogits
from lab_models.common.files import sha256_of
from lab_models.datasets.batches import device_splits
from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running.execution import Execution
from lab_models.specs import (
    AttentionSpec,
    DistillSpec,
    FeatureSpec,
    HintSpec,
    TrainSpec,
    fingerprint,
)
from lab_models.training.accumulation import Gradients
from lab_models.training.checkpoints import TrainState, read_checkpoint
from lab_models.training.matching import Attention, Hints, Matcher, caught, make_matcher, shares
from lab_models.training.objectives import (
    Distillation,
    FeatureMatching,
    LiveLogits,
    Loss,
    make_objective,
)
from lab_models.training.optimization import make_optimizer
from lab_models.training.protocol import EpochCompleted, FoundationFiles, Order, Started
from tests.lab_models.conftest import (
    OWN_LIST,
    OrderMaker,
    of_kind,
    order_in,
    scores_of,
    train,
    train_until,
    weight_hashes,
)

CPU = torch.device("cpu")
MLPS: dict[str, Any] = {
    "teacher": {"hidden": [48, 32]},
    "student": {"depth": 2, "width": 16, "dropout": 0.2},
}
CNNS: dict[str, Any] = {
    "teacher": {"arch": "cnn", "stages": 2, "width": 8, "stem": "3x3", "blocks_per_stage": 1},
    "student": {"arch": "cnn", "stages": 2, "width": 4},
}
SHORT: dict[str, Any] = {
    "dataset": {"train_limit": 200},
    "batch_size": 48,
    "epochs": 3,
    "teacher_outputs": "live",
}
NETWORKS: list[dict[str, Any]] = [
    {"hidden": [12, 8]},
    {"depth": 3, "width": 8, "block": "inverted_bottleneck", "norm": "batch"},
    {"depth": 3, "width": 8, "residual": True, "shortcut_layers": 2},
    {"arch": "cnn", "stages": 3, "width": 4, "residual": True, "dropout": 0.1},
    {"arch": "henet", "depth": 8, "width": 4},
    {"arch": "vgg", "widths": [4, 8], "hidden": 12, "dropout": 0.1},
    {"arch": "resnet18"},
    {"arch": "resnet18", "stem": "imagenet"},
    OWN_LIST,
    {
        "arch": "layers",
        "layers": [
            {"repeat": 1, "layers": [{"conv": 4}, "global_average_pool"]},
            {"repeat": 2, "layers": ["flatten", {"linear": 5}, {"residual": [{"linear": 6}]}]},
        ],
    },
    {"arch": "layers", "layers": [{"repeat": 1, "layers": [{"conv": 4}, "flatten"]}]},
]


def document(networks: dict[str, Any], features: Any, **fields: Any) -> dict[str, Any]:
    """A student's spec on a few digits; its teacher is trained for three epochs on the same."""
    teacher = {
        "dataset": {"train_limit": 200},
        "model": networks["teacher"],
        "epochs": 3,
        "batch_size": 48,
    }
    return {
        "kind": "distill",
        **SHORT,
        "student": networks["student"],
        "teacher": {"spec": teacher},
        "features": features,
        **fields,
    }


def student_spec(networks: dict[str, Any], features: Any, **fields: Any) -> DistillSpec:
    return DistillSpec.model_validate(document(networks, features, **fields))


def faults_of(networks: dict[str, Any], features: Any) -> list[tuple[str, str, str | None]]:
    return [
        (fault.pointer, fault.message, fault.hint)
        for fault in misfits(student_spec(networks, features), DIGITS, DIGITS)
    ]


def pairs_of(
    teacher: dict[str, Any],
    student: dict[str, Any],
    features: FeatureSpec,
    shape: tuple[int, int, int] = (3, 32, 32),
) -> list[tuple[str, str]]:
    sizes = (
        model_size(TrainSpec.model_validate({"model": model}).model, shape, 10)
        for model in (teacher, student)
    )
    return [(pair.teacher, pair.student) for pair in stage_pairs(features, *sizes)]


@pytest.fixture(scope="module")
def teachers(
    lab_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, FoundationFiles]:
    """One teacher of vectors and one of maps, trained here."""

    def trained(networks: dict[str, Any]) -> FoundationFiles:
        spec = student_spec(networks, None).teacher.spec
        order = order_in(
            lab_home,
            spec.model_dump(mode="json"),
            run_folder=str(tmp_path_factory.mktemp("teacher")),
        )
        completed = train(order)[-1]
        weights = Path(order.run_folder) / "attempt-1" / "weights.safetensors"
        return FoundationFiles(
            run_id="run_t",
            spec=spec,
            seed=0,
            weights=weights,
            sha256=sha256_of(weights),
            test_accuracy=completed.test["accuracy"],
        )

    return {"mlp": trained(MLPS), "cnn": trained(CNNS)}


@pytest.fixture
def make_student(
    make_order: OrderMaker, teachers: dict[str, FoundationFiles], tmp_path: Path
) -> Any:
    def make(
        folder: str,
        networks: dict[str, Any],
        features: Any,
        *,
        fields: dict[str, Any] | None = None,
        **differing: Any,
    ) -> Order:
        teacher = teachers["mlp" if networks is MLPS else "cnn"]
        usual = {
            "foundation": teacher,
            "folders": {"archives": tmp_path / "archives"},
            "run_folder": str(tmp_path / folder),
        }
        return make_order(document(networks, features, **(fields or {})), **(usual | differing))

    return make


def last_matcher(order: Order, events: list[Any]) -> dict[str, torch.Tensor]:
    """What the last epoch's checkpoint has of what is trained beside the network."""
    checkpoint = of_kind(EpochCompleted, events)[-1].checkpoint
    found: dict[str, torch.Tensor] = read_checkpoint(
        Path(order.run_folder) / checkpoint.path, checkpoint.sha256
    )["matcher"]
    return found


def test_attention_is_the_papers() -> None:
    theirs, ours = torch.randn(5, 7, 4, 4), torch.randn(5, 3, 4, 4)
    expected = torch.zeros(())
    for image in range(5):
        wanted, given = ((maps[image] ** 2).mean(0).flatten() for maps in (theirs, ours))
        expected += ((wanted / wanted.norm() - given / given.norm()) ** 2).sum() / (16 * 5)
    pair = StagePair("t", "s", (7, 4, 4), (3, 4, 4))
    torch.testing.assert_close(Attention([pair])({"t": theirs}, {"s": ours}), expected)
    torch.testing.assert_close(Attention([pair, pair])({"t": theirs}, {"s": ours}), 2 * expected)


def test_attention_asks_where_and_not_how_much() -> None:
    maps = torch.randn(2, 3, 4, 4)
    matcher = Attention([StagePair("t", "s", (3, 4, 4), (3, 4, 4))])
    assert matcher({"t": maps}, {"s": -7.0 * maps}).item() == pytest.approx(0.0, abs=1e-12)
    assert torch.isfinite(matcher({"t": maps}, {"s": torch.zeros(2, 3, 4, 4)}))


@pytest.mark.parametrize(("large", "small"), [((8, 8), (4, 4)), ((7, 7), (4, 4)), ((4, 8), (8, 4))])
def test_a_larger_map_is_averaged_down_to_the_other(
    large: tuple[int, int], small: tuple[int, int]
) -> None:
    theirs, ours = torch.randn(2, 3, *large), torch.randn(2, 5, *small)
    size = (min(large[0], small[0]), min(large[1], small[1]))
    wanted, given = (
        nn.functional.adaptive_avg_pool2d(maps.square().mean(1), size).flatten(1)
        for maps in (theirs, ours)
    )
    expected = (
        (wanted / wanted.norm(dim=1, keepdim=True) - given / given.norm(dim=1, keepdim=True))
        .square()
        .mean()
    )
    pair = StagePair("t", "s", (3, *large), (5, *small))
    assert pair.size == size
    torch.testing.assert_close(Attention([pair])({"t": theirs}, {"s": ours}), expected)
    hints = Hints([pair], seed=0)
    told = hints.regressors[0](nn.functional.adaptive_avg_pool2d(ours, size))
    torch.testing.assert_close(
        hints({"t": theirs}, {"s": ours}),
        (told - nn.functional.adaptive_avg_pool2d(theirs, size)).square().mean(),
    )


@pytest.mark.parametrize(("large", "small"), [((7, 9), (4, 4)), ((5, 8), (3, 5)), ((3, 3), (2, 3))])
def test_a_map_is_averaged_down_on_a_gpu_over_the_same_pixels(
    large: tuple[int, int], small: tuple[int, int]
) -> None:
    maps = torch.randn(2, 3, *large)
    down, across = (shares(side, wanted, CPU) for side, wanted in zip(large, small, strict=True))
    torch.testing.assert_close(
        down @ maps @ across.T, nn.functional.adaptive_avg_pool2d(maps, small)
    )


def test_a_hint_is_the_mean_squared_error_of_what_the_regressor_tells() -> None:
    theirs, ours = torch.randn(5, 7), torch.randn(5, 3)
    hints = Hints([StagePair("t", "s", (7,), (3,))], seed=4)
    weight, bias = hints.regressors[0].parameters()
    torch.testing.assert_close(
        hints({"t": theirs}, {"s": ours}), ((ours @ weight.T + bias - theirs) ** 2).sum() / 35
    )
    maps = Hints([StagePair("t", "s", (7, 2, 2), (3, 2, 2))], seed=4)
    assert [tuple(parameter.shape) for parameter in maps.parameters()] == [(7, 3, 1, 1), (7,)]
    again = Hints([StagePair("t", "s", (7,), (3,))], seed=4)
    assert torch.equal(next(again.parameters()), weight)
    assert not torch.equal(
        next(Hints([StagePair("t", "s", (7,), (3,))], seed=5).parameters()), weight
    )


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_shapes_known_without_torch_are_those_of_the_stages(network: dict[str, Any]) -> None:
    spec = TrainSpec.model_validate({"model": network}).model
    shapes = compared_stages(model_size(spec, (3, 32, 32), 10))
    model = build_model(spec, (3, 32, 32), 10, 0)
    with caught(model, set(shapes)) as outputs:
        model(torch.randn(2, 3, 32, 32))
    assert {name: tuple(output.shape[1:]) for name, output in outputs.items()} == shapes
    assert all(not module._forward_hooks for module in model.modules())


def test_pairs_are_found_from_the_top_down_by_the_size_of_their_outputs() -> None:
    cnn: dict[str, Any] = {"arch": "cnn", "stages": 4, "width": 64}
    henet = {"arch": "henet", "depth": 8}
    assert pairs_of(cnn, {"arch": "cnn"}, AttentionSpec()) == [
        ("stages.2", "stages.2"),
        ("stages.1", "stages.1"),
        ("stages.0", "stages.0"),
    ]
    assert pairs_of({"arch": "resnet18"}, henet, HintSpec()) == [
        ("layer3", "stages.2"),
        ("layer2", "stages.1"),
        ("layer1", "stages.0"),
    ]
    assert pairs_of({**cnn, "max_halvings": 1}, henet, AttentionSpec()) == [
        ("stages.3", "stages.1"),
        ("stages.0", "stages.0"),
    ]
    assert pairs_of({"hidden": [9, 8, 7]}, {"depth": 2, "width": 5}, HintSpec()) == [
        ("hidden.2", "hidden.1"),
        ("hidden.1", "hidden.0"),
    ]
    tiny = {"arch": "cnn", "stages": 5}  # on 8x8 images its maps are 8, 4, 2, 1, 1
    assert [ours for _, ours in pairs_of(tiny, tiny, AttentionSpec(), (1, 8, 8))] == [
        "stages.2",
        "stages.1",
        "stages.0",
    ]
    assert len(pairs_of(tiny, tiny, HintSpec(), (1, 8, 8))) == 5
    assert pairs_of(cnn, henet, AttentionSpec(stages=(("stages.3", "stages.0"),))) == [
        ("stages.3", "stages.0")
    ]


def test_what_cannot_be_compared_is_refused_before_anything_is_trained() -> None:
    vgg = {"arch": "vgg", "widths": [4], "hidden": 8}
    assert (
        faults_of(CNNS, "attention")
        == faults_of(CNNS, "hint")
        == faults_of(MLPS, "hint")
        == faults_of(MLPS, None)
        == []
    )
    assert faults_of(MLPS, "attention") == [
        (
            "/features",
            "attention is of maps, and the teacher is an MLP, which has none",
            'for layers without maps there is "hint"',
        )
    ]
    assert (
        faults_of(CNNS | {"student": MLPS["student"]}, "attention")[0][1]
        == "attention is of maps, and the student is an MLP, which has none"
    )
    assert faults_of(
        CNNS, {"name": "hint", "stages": [["stages.1", "stages.1"], ["stage.0", "layer1"]]}
    ) == [
        (
            "/features/stages/1/0",
            "the teacher has no stage 'stage.0' to be compared",
            "did you mean 'stages.0'?",
        ),
        (
            "/features/stages/1/1",
            "the student has no stage 'layer1' to be compared",
            "allowed: stages.0, stages.1",
        ),
    ]
    for unmatched in ("stem", "head"):
        assert (
            faults_of(CNNS, {"stages": [[unmatched, "stages.0"]]})[0][0] == "/features/stages/0/0"
        )
    assert faults_of(
        CNNS | {"student": vgg}, {"name": "hint", "stages": [["stages.0", "hidden"]]}
    ) == [
        (
            "/features/stages/0",
            (
                "the teacher's stages.0 gives 8 maps of 8x8 and the student's hidden gives 8 numbers: only maps and"
                " maps, or vectors and vectors, can be compared"
            ),
            None,
        )
    ]
    small = {"arch": "cnn", "stages": 4, "width": 4}
    assert faults_of(CNNS | {"student": small}, {"stages": [["stages.0", "stages.3"]]}) == [
        (
            "/features/stages/0",
            (
                "the teacher's stages.0 gives 8 maps of 8x8 and the student's stages.3 gives 32 maps of 1x1: "
                "attention needs maps of more than one pixel, which alone show where a stage looks"
            ),
            "the teacher has stages.0, stages.1; the student has stages.0, stages.1, stages.2",
        )
    ]
    assert faults_of(
        {"teacher": vgg, "student": {"arch": "cnn", "stages": 1, "width": 4}}, "attention"
    ) == [
        (
            "/features/stages",
            "no stage of the teacher has outputs of the size of one of the student's",
            (
                "name pairs [teacher's, student's]; the teacher has stages.0 (4 maps of 4x4), hidden (8 numbers); the"
                " student has stages.0 (4 maps of 8x8)"
            ),
        )
    ]
    impossible = {"arch": "vgg", "widths": [4, 4, 4, 4]}
    # that it cannot see digits at all is said elsewhere
    assert faults_of(CNNS | {"student": impossible}, "attention") == []


def test_features_need_a_live_teacher_and_no_pair_twice() -> None:
    with pytest.raises(ValidationError, match="set 'teacher_outputs' to \"live\""):
        student_spec(CNNS, "attention", teacher_outputs="stored")
    with pytest.raises(ValidationError, match="a pair is named twice"):
        student_spec(CNNS, {"stages": [["stages.0", "stages.0"], ["stages.0", "stages.0"]]})
    with pytest.raises(ValidationError, match="union_tag_invalid"):
        student_spec(CNNS, "attentoin")


def test_a_bare_name_stands_for_its_defaults_and_no_features_change_no_fingerprint() -> None:
    assert student_spec(CNNS, "hint") == student_spec(
        CNNS, {"name": "hint", "weight": 1.0, "stages": None}
    )
    assert (
        student_spec(CNNS, {})
        == student_spec(CNNS, "attention")
        == student_spec(CNNS, {"weight": 500.0})
    )
    without = document(CNNS, None)
    del without["features"]
    assert (
        fingerprint(DistillSpec.model_validate(without))
        == fingerprint(student_spec(CNNS, None))
        != fingerprint(student_spec(CNNS, "hint"))
    )
    assert fingerprint(student_spec(CNNS, "attention")) != fingerprint(student_spec(CNNS, "hint"))


@pytest.mark.parametrize(
    ("networks", "features"),
    [(CNNS, "attention"), (CNNS, "hint"), (MLPS, "hint")],
    ids=["attention", "hint of maps", "hint of vectors"],
)
def test_with_weight_0_the_student_is_the_distilled_one_to_the_bit(
    make_student: Any, networks: dict[str, Any], features: str
) -> None:
    ignoring = make_student(
        "ignoring", networks, {"name": features, "weight": 0.0}, fields={"gradient_clip": 0.5}
    )
    plain = make_student("plain", networks, None, fields={"gradient_clip": 0.5})
    found = of_kind(EpochCompleted, train(ignoring))
    train(plain)
    assert all(epoch.metrics["train"][f"{features}_loss"] > 0 for epoch in found)
    assert weight_hashes(ignoring) == weight_hashes(plain)


@pytest.mark.parametrize(
    ("networks", "features", "weight"),
    [(CNNS, "attention", 500.0), (CNNS, "hint", 1.0), (MLPS, "hint", 30.0)],
)
def test_a_run_names_the_distance_and_brings_the_student_nearer(
    make_student: Any, networks: dict[str, Any], features: str, weight: float
) -> None:
    part = f"{features}_loss"
    near, far = (
        [
            epoch.metrics["train"]
            for epoch in of_kind(
                EpochCompleted,
                train(make_student(str(value), networks, {"name": features, "weight": value})),
            )
        ]
        for value in (weight, 0.0)
    )
    for numbers in near:
        logits = 0.9 * numbers["soft_loss"] + 0.1 * numbers["hard_loss"]
        assert numbers["loss"] == pytest.approx(logits + weight * numbers[part], rel=1e-5)
    assert near[-1][part] < near[0][part]
    assert near[-1][part] < far[-1][part]


def test_a_regressor_is_trained_and_saved_but_never_published(
    make_student: Any, digits: PreparedDataset
) -> None:
    order = make_student("hinted", MLPS, "hint")
    events = train(order)
    saved = last_matcher(order, events)
    first = make_matcher(order.spec, digits.info, order.seed, CPU)
    assert first is not None
    sizes = (
        model_size(model, DIGITS.shape, 10)
        for model in (order.spec.teacher.spec.model, order.spec.student)
    )
    assert (
        regressor_parameters(order.spec.features, *sizes)
        == sum(parameter.numel() for parameter in first.parameters())
        == 48 * 17 + 32 * 17
    )
    assert (
        saved.keys()
        == first.state_dict().keys()
        == {f"regressors.{i}.{part}" for i in (0, 1) for part in ("weight", "bias")}
    )
    assert all(not torch.equal(saved[name], value) for name, value in first.state_dict().items())
    student = build_model(order.spec.student, digits.info.shape, 10, 0)
    for name in ("weights.safetensors", "weights-last.safetensors"):
        assert (
            load_file(Path(order.run_folder) / "attempt-1" / name).keys()
            == student.state_dict().keys()
        )


@pytest.mark.parametrize("place", [(1, 2), (2, 0)])
@pytest.mark.parametrize(
    ("networks", "features"),
    [(MLPS, "hint"), (CNNS, "hint"), (CNNS, "attention")],
    ids=["vectors", "maps", "attention"],
)
def test_a_resumed_student_gives_the_same_bits(
    make_student: Any, networks: dict[str, Any], features: str, place: tuple[int, int]
) -> None:
    fields = {"gradient_clip": 1.0, "ema_decay": 0.9}
    whole = make_student("whole", networks, features, fields=fields)
    undisturbed = train(whole)
    before, checkpoint = train_until(
        make_student("broken", networks, features, fields=fields), *place
    )
    torch.manual_seed(99)
    again = make_student(
        "broken", networks, features, fields=fields, attempt=2, resume=(checkpoint,)
    )
    after = train(again)
    assert of_kind(Started, after)[0].resumed_from == place
    assert weight_hashes(again) == weight_hashes(whole)
    assert scores_of(before + after) == scores_of(undisturbed)
    expected, found = (
        last_matcher(order, events) for order, events in ((whole, undisturbed), (again, after))
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_the_teacher_gets_no_gradient_and_keeps_no_hook(make_student: Any) -> None:
    execution = Execution(make_student("student", CNNS, "attention"))
    list(execution.events())
    model = execution._prepared.teacher.logits.model  # type: ignore[union-attr]
    assert not model.training
    assert all(
        parameter.grad is None and not parameter.requires_grad for parameter in model.parameters()
    )
    assert all(not module._forward_hooks for module in model.modules())


def loss_of(
    digits: PreparedDataset, networks: dict[str, Any], features: Any, micro_batches: int
) -> tuple[torch.Tensor, Loss, nn.Module]:
    """The gradient of student and regressors (P,), the loss of the first 48 images, and the teacher, both networks as
    they were drawn.
    """
    spec = student_spec(networks, features)
    train_split = device_splits(digits, spec.dataset, CPU).train
    model, teacher = (
        build_model(network, digits.info.shape, 10, seed).eval()
        for seed, network in enumerate((spec.student, spec.teacher.spec.model))
    )
    matcher = make_matcher(spec, digits.info, 0, CPU)
    state = TrainState(
        model, make_optimizer(spec.optimizer, model, beside=matcher), CPU, matcher=matcher
    )
    objective = make_objective(spec, LiveLogits(teacher), matcher)
    loss, _ = Gradients(state, spec, train_split, objective, micro_batches)(torch.arange(48), None)
    return (
        torch.cat(
            [
                parameter.grad.flatten()
                for parameter in state.parameters
                if parameter.grad is not None
            ]
        ),
        loss,
        teacher,
    )


@pytest.mark.parametrize(
    ("networks", "features"), [(CNNS, "attention"), (CNNS, "hint"), (MLPS, "hint")]
)
def test_parts_of_a_batch_have_the_gradient_of_the_whole(
    digits: PreparedDataset, networks: dict[str, Any], features: str
) -> None:
    """In evaluation mode: batch norm and dropout would see other images, or draw other units."""
    whole, loss, teacher = loss_of(digits, networks, features, 1)
    parts, of_parts, _ = loss_of(digits, networks, features, 4)
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5)
    assert set(of_parts.parts) == {"hard_loss", "soft_loss", f"{features}_loss"}
    for name, value in of_parts.parts.items():
        torch.testing.assert_close(value, loss.parts[name])
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_gradient_is_that_of_the_weighed_sum(digits: PreparedDataset) -> None:
    zero, half, one = (
        loss_of(digits, CNNS, {"name": "attention", "weight": weight}, 1)[0]
        for weight in (0.0, 250.0, 500.0)
    )
    torch.testing.assert_close(one - zero, 2 * (half - zero), rtol=1e-3, atol=1e-5)
    assert (one - zero).norm() > 0


def test_an_objective_of_features_is_made_of_a_live_teacher_alone() -> None:
    spec, stored = student_spec(CNNS, "attention"), StoredLogits(torch.zeros(1, 4, 10))
    matcher: Matcher | None = make_matcher(spec, DIGITS, 0, CPU)
    with pytest.raises(ValueError, match="live teacher"):
        make_objective(spec, stored, matcher)
    assert isinstance(make_objective(spec, LiveLogits(nn.Identity()), matcher), FeatureMatching)
    assert isinstance(make_objective(student_spec(CNNS, None), stored), Distillation)
    assert make_matcher(student_spec(CNNS, None), DIGITS, 0, CPU) is None


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("features", ["attention", "hint"])
def test_students_in_either_precision_with_probes_have_finite_losses(
    make_student: Any, features: str, precision: str
) -> None:
    fields = {
        "precision": precision,
        "epochs": 1,
        "probes": ["gradient_flow"],
        "on_out_of_memory": "halve_batch",
    }
    events = train(make_student("student", CNNS, features, fields=fields, micro_batches=4))
    (epoch,) = of_kind(EpochCompleted, events)
    assert 0 < epoch.metrics["train"][f"{features}_loss"] < 10
    assert {"hard_loss", "soft_loss"} <= set(epoch.metrics["train"])
