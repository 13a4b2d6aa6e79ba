"""The spec: defaults, short forms, strictness, and one fingerprint for each thing that can be trained."""

import copy
import hashlib
import json
from typing import Any, get_args

import pytest
from hypothesis import given
from pydantic import BaseModel, ValidationError

from lab_models.common.validation import InvalidDocument
from lab_models.specs import (
    ARCHITECTURES,
    MAX_SEED,
    PRESETS,
    AdamSpec,
    AttentionSpec,
    AugmentationSpec,
    CNNSpec,
    ContinueSpec,
    DatasetSpec,
    DistillRequest,
    DistillSpec,
    EarlyStoppingSpec,
    ExperimentRequest,
    HintSpec,
    LayerGradientsSpec,
    MLPSpec,
    OptimizerSpec,
    Origin,
    Pretrained,
    ScheduleSpec,
    SGDSpec,
    Trained,
    TrainSpec,
    TransferSpec,
    canonical_json,
    fingerprint,
    read_request,
    read_spec,
)
from lab_models.specs.request import many_seeds
from lab_models.training.protocol import Folders, Order, read_order, to_line
from tests.lab_models.conftest import EXAMPLES, spec_documents


def members(union: Any) -> tuple[type[BaseModel], ...]:
    """The specs that a discriminated union can be."""
    found: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return found


EVERY_SPEC: tuple[type[BaseModel], ...] = (
    *(
        TrainSpec,
        DistillSpec,
        TransferSpec,
        ContinueSpec,
        Trained,
        Origin,
        Pretrained,
        DatasetSpec,
        AugmentationSpec,
    ),
    *ARCHITECTURES,
    *members(OptimizerSpec),
    *members(ScheduleSpec),
    EarlyStoppingSpec,
    LayerGradientsSpec,
    *(AttentionSpec, HintSpec),
)


def parsed(**fields: Any) -> TrainSpec:
    return TrainSpec.model_validate(fields)


def test_an_empty_document_is_a_complete_spec() -> None:
    spec = TrainSpec.model_validate({})
    assert spec == TrainSpec()
    assert (
        spec.dataset.name,
        spec.dataset.val_fraction,
        spec.dataset.stratified,
        spec.dataset.train_limit,
    ) == ("digits", 0.2, True, None)
    assert (spec.model.arch, spec.model.depth, spec.model.width, spec.model.widths) == (
        "mlp",
        2,
        512,
        (512, 512),
    )
    assert spec.optimizer == AdamSpec(learning_rate=0.001, weight_decay=0.0)
    assert (spec.batch_size, spec.epochs, spec.label_smoothing, spec.precision) == (
        64,
        10,
        0.0,
        "float32",
    )


def test_an_empty_request_runs_once_with_seed_0() -> None:
    request = ExperimentRequest.model_validate({})
    assert (request.seeds, request.name, request.labels, request.priority) == ((0,), None, {}, 0)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"dataset": "mnist"}, {"dataset": {"name": "mnist"}}),
        ({"model": "mlp"}, {"model": {"arch": "mlp"}}),
        ({"optimizer": "sgd"}, {"optimizer": {"name": "sgd"}}),
        ({"schedule": "constant"}, {"schedule": {"name": "constant"}}),
        ({"dataset": {}}, {"dataset": {"name": "digits"}}),
        ({"model": {}}, {"model": {"arch": "mlp", "depth": 2, "width": 512}}),
        ({"optimizer": {}}, {"optimizer": {"name": "adam"}}),
        ({"schedule": {}}, {}),
        ({"model": {"depth": 3}}, {"model": {"depth": 3, "width": 512}}),
        ({"model": {"width": 30}}, {"model": {"depth": 2, "width": 30}}),
        ({"model": {"depth": None, "width": None, "hidden": None}}, {}),
        (
            {"label_smoothing": 0, "optimizer": {"weight_decay": 0}},
            {"label_smoothing": 0.0, "optimizer": {"weight_decay": 0.0}},
        ),
    ],
)
def test_a_short_form_stands_for_the_long_one(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert parsed(**short) == parsed(**long)
    assert fingerprint(parsed(**short)) == fingerprint(parsed(**long))


def test_defaults_of_an_object_are_those_of_its_name_and_not_of_the_field() -> None:
    assert parsed(optimizer="sgd").optimizer == SGDSpec(
        learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0
    )


def test_equal_hidden_widths_become_depth_and_width() -> None:
    by_layer, by_depth = (
        MLPSpec.model_validate({"hidden": [64, 64, 64]}),
        MLPSpec.model_validate({"depth": 3, "width": 64}),
    )
    assert by_layer == by_depth
    assert (by_layer.depth, by_layer.width, by_layer.hidden) == (3, 64, None)
    assert fingerprint(TrainSpec(model=by_layer)) == fingerprint(TrainSpec(model=by_depth))


def test_unequal_hidden_widths_stay_a_list() -> None:
    model = MLPSpec.model_validate({"hidden": [128, 64]})
    assert (model.depth, model.width, model.hidden, model.widths) == (
        None,
        None,
        (128, 64),
        (128, 64),
    )


@pytest.mark.parametrize("also", [{"depth": 2}, {"width": 128}, {"depth": 2, "width": 64}])
def test_hidden_beside_depth_or_width_is_refused(also: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="not both"):
        MLPSpec.model_validate({"hidden": [128, 64], **also})


def test_a_residual_mlp_needs_equal_widths() -> None:
    with pytest.raises(ValidationError, match=r"all widths must be equal, not \[128, 64\]"):
        MLPSpec.model_validate({"hidden": [128, 64], "residual": True})
    assert MLPSpec.model_validate({"hidden": [64, 64], "residual": True}).widths == (64, 64)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValidationError, match="'nesterov' needs 'momentum' above 0"):
        parsed(optimizer={"name": "sgd", "nesterov": True})
    assert parsed(optimizer={"name": "sgd", "nesterov": True, "momentum": 0.9})


@pytest.mark.parametrize(
    ("given_", "seeds"),
    [(1, (0,)), (3, (0, 1, 2)), ([7, 5], (7, 5)), ((4,), (4,)), ([MAX_SEED], (MAX_SEED,))],
)
def test_seeds_are_a_list_or_how_many_to_count_from_0(given_: Any, seeds: tuple[int, ...]) -> None:
    assert ExperimentRequest.model_validate({"seeds": given_}).seeds == seeds


@pytest.mark.parametrize(
    "refused",
    [
        0,
        -1,
        1001,
        [],
        [0, 0],
        [-1],
        [MAX_SEED + 1],
        True,
        3.0,
        "3",
        [1, "2"],
        [True],
        [1.0],
        None,
        list(range(1001)),
    ],
)
def test_seeds_that_are_none_or_twice_or_no_integers_are_refused(refused: Any) -> None:
    with pytest.raises(ValidationError):
        ExperimentRequest.model_validate({"seeds": refused})


@pytest.mark.parametrize(
    "refused",
    [
        {"epochs": True},
        {"epochs": "1"},
        {"epochs": 3.0},
        {"epochs": 0},
        {"epochs": 100_001},
        {"epochs": None},
        {"batch_size": 65537},
        {"label_smoothing": "0.1"},
        {"label_smoothing": True},
        {"label_smoothing": 1.0},
        {"label_smoothing": float("nan")},
        {"label_smoothing": float("inf")},
        {"label_smoothing": 10**400},
        {"class_weights": [1.0, 2.0]},
        {"class_weights": "balanced", "batch_size": 1},
        {"precision": "float16"},
        {"early_stopping": True},
        {"early_stopping": {"patience": 0}},
        {"gradient_clip": 0.0},
        {"ema_decay": 1.0},
        {"best_by": "val_loss"},
        {"probes": "gradient_flow"},
        {"schedule": {"name": "cosine", "warmup_epochs": -1.0}},
        {"schedule": {"name": "multi_step", "milestones": []}},
        {"schedule": {"name": "one_cycle", "peak_at": 1.0}},
        {"dataset": {"augmentation": None}},
        {"dataset": {"augmentation": {"shift": 1, "crop_padding": 1}}},
        {"dataset": {"name": ""}},
        {"model": {"arch": "cnn", "stages": 0}},
        {"model": {"arch": "cnn", "stages": 2, "widths": [8, 16]}},
        {"model": {"arch": "henet", "depth": 18}},
        {"model": {"block": "inverted_bottleneck", "hidden": [4, 5]}},
        {"model": {"residual": True, "depth": 4, "shortcut_layers": 2}},
        {"model": {"depth": 3, "shortcut_layers": 2}},
        {"kind": "sweep"},
        {"dataset": {"stratified": 1}},
        {"dataset": {"stratified": "true"}},
        {"dataset": {"val_fraction": 0.0}},
        {"dataset": {"val_fraction": float("nan")}},
        {"dataset": {"split_seed": -1}},
        {"dataset": {"train_limit": 0}},
        {"dataset": None},
        {"model": {"hidden": []}},
        {"model": {"hidden": [0, 3]}},
        {"model": {"hidden": [True, 3]}},
        {"model": {"hidden": ["4", 3]}},
        {"model": {"hidden": [16385]}},
        {"model": {"hidden": [4] * 201}},
        {"model": {"dropout": 1.0}},
        {"model": {"residual": 0}},
        {"model": {"residual": None}},
        {"optimizer": {"learning_rate": 0.0}},
        {"optimizer": {"learning_rate": float("inf")}},
        {"optimizer": {"name": "adam", "momentum": 0.9}},
        {"optimizer": ["adam"]},
        {"seeds": [0]},
        {"name": "a spec has no name"},
        {"labels": {}},
    ],
    ids=str,
)
def test_nothing_is_coerced_and_nothing_unknown_is_taken(refused: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainSpec.model_validate(refused)


@pytest.mark.parametrize("single", [{"batch_size": 1}, {"dataset": {"train_limit": 1}}])
def test_batch_norm_on_batches_of_one_image_is_refused_before_it_trains(
    single: dict[str, Any],
) -> None:
    assert parsed(**single)
    assert parsed(**single, model={"norm": "layer"})
    with pytest.raises(ValidationError, match="batch"):
        parsed(**single, model={"norm": "batch"})


def test_labels_have_plain_keys_and_a_bounded_number() -> None:
    assert ExperimentRequest.model_validate({"labels": {"a.b_c-1": "größer als 3"}}).labels == {
        "a.b_c-1": "größer als 3"
    }
    for refused in (
        {"a b": "x"},
        {"": "x"},
        {"k": [1]},
        {"k": None},
        {"k": "x" * 201},
        {"k" * 61: "x"},
        {f"k{i}": "x" for i in range(51)},
    ):
        with pytest.raises(ValidationError):
            ExperimentRequest.model_validate({"labels": refused})


def test_a_spec_cannot_be_changed() -> None:
    spec = TrainSpec()
    for part, field in (
        (spec, "epochs"),
        (spec.model, "width"),
        (spec.dataset, "name"),
        (spec.optimizer, "learning_rate"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, getattr(part, field))


def test_the_spec_of_a_request_has_neither_seeds_nor_names() -> None:
    fields = {"model": {"width": 32}, "optimizer": "sgd", "epochs": 2}
    request = ExperimentRequest.model_validate(
        {**fields, "seeds": [3, 4], "name": "a name", "labels": {"k": "v"}, "priority": 5}
    )
    assert request.spec == parsed(**fields)
    assert type(request.spec) is TrainSpec
    assert not {"seeds", "name", "labels", "priority"} & set(
        json.loads(canonical_json(request.spec))
    )
    assert fingerprint(request.spec) == fingerprint(parsed(**fields))


def test_the_canonical_json_is_what_it_always_was() -> None:
    assert (
        canonical_json(TrainSpec())
        == '{"dataset":{"name":"digits"},"kind":"train","model":{"arch":"mlp","depth":2,"width":512},'
        '"optimizer":{"name":"adam"},"schedule":{"name":"constant"}}'
    )
    assert (
        fingerprint(TrainSpec())
        == "e7f8d50e05f3016a491961c47adebb5b4675bf5139a66933097be3970a60cbfa"
    )
    assert (
        canonical_json(
            parsed(
                model="student",
                dataset={"name": "cifar10", "augmentation": "crop_flip"},
                optimizer="sgd",
                early_stopping={},
            )
        )
        == '{"dataset":{"augmentation":{"crop_padding":4,"horizontal_flip":true},"name":"cifar10"},'
        '"early_stopping":{},'
        '"kind":"train","model":{"arch":"cnn","dropout":0.2,"residual":true,"stages":3,"width":32},'
        '"optimizer":{"name":"sgd"},"schedule":{"name":"constant"}}'
    )


def test_defaults_never_change_because_old_fingerprints_stand_for_them() -> None:
    said = {
        model.__name__: {name: field.default for name, field in model.model_fields.items()}
        for model in EVERY_SPEC
        if model is not TrainSpec
    }
    assert (
        hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]
        == "6e5d3f8f00decacb"
    ), (
        "a default of a spec changed: give a new field instead. A new field with its default may be added: then write"
        " the new sum here"
    )


@EXAMPLES
@given(spec_documents())
def test_a_spec_survives_the_way_through_json(document: dict[str, Any]) -> None:
    spec = TrainSpec.model_validate(document)
    again = TrainSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again == spec
    assert canonical_json(again) == canonical_json(spec)
    assert TrainSpec.model_validate_json(canonical_json(spec)) == spec


@EXAMPLES
@given(spec_documents())
def test_an_order_survives_its_line(document: dict[str, Any]) -> None:
    order = Order(
        spec=TrainSpec.model_validate(document),
        seed=3,
        run_folder="/runs/1",
        attempt=2,
        folders=Folders(
            search=("/data", "/größe"),
            download="/data",
            prepared="/prepared",
            imported="/imported",
            archives="/archives",
        ),
        device="cpu",
        threads=2,
    )
    line = to_line(order)
    assert line.count(b"\n") == 1
    assert read_order(line) == order


@EXAMPLES
@given(spec_documents(), spec_documents())
def test_fingerprints_are_equal_exactly_when_specs_are(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = TrainSpec.model_validate(one), TrainSpec.model_validate(other)
    assert (fingerprint(first) == fingerprint(second)) == (first == second)
    assert fingerprint(first) == fingerprint(TrainSpec.model_validate(copy.deepcopy(one)))


@pytest.mark.parametrize(
    "negative",
    [
        {"label_smoothing": -0.0},
        {"model": {"dropout": -0.0}},
        {"optimizer": {"weight_decay": -0.0}},
    ],
)
def test_minus_zero_is_zero_in_a_fingerprint_too(negative: dict[str, Any]) -> None:
    assert parsed(**negative) == TrainSpec()
    assert fingerprint(parsed(**negative)) == fingerprint(TrainSpec())


TRANSFER = {"kind": "transfer", "source": {"spec": {}}}
STUDENT = {"kind": "distill", "teacher": {"spec": {}}}
WEIGHTED = {"class_weights": "balanced"}
FURTHER = {"kind": "continue", "origin": {"spec": {}}}
CNN = {"arch": "cnn", "stages": 3, "width": 8}
CHANGES: list[tuple[dict[str, Any], str, Any]] = [
    *(
        ({}, field, value)
        for field, value in (
            ("batch_size", 65),
            ("epochs", 11),
            ("label_smoothing", 0.1),
            ("class_weights", "balanced"),
            ("gradient_clip", 1.0),
            ("ema_decay", 0.9),
        )
    ),
    *(
        ({}, field, value)
        for field, value in (
            ("best_by", "accuracy"),
            ("probes", ["gradient_flow"]),
            ("layer_gradients", {"layers": ["head.weight"]}),
            ("precision", "bfloat16"),
            ("on_out_of_memory", "halve_batch"),
            ("early_stopping", {}),
        )
    ),
    *(
        ({"layer_gradients": {"layers": ["head.weight"]}}, f"layer_gradients.{field}", value)
        for field, value in (
            ("layers", ["head.bias"]),
            ("every_steps", 3),
            ("histograms", True),
        )
    ),
    *(
        ({"dataset": {"train_limit": 100}}, f"dataset.{field}", value)
        for field, value in (
            ("name", "mnist"),
            ("val", "published"),
            ("val_fraction", 0.1),
            ("stratified", False),
            ("split_seed", 1),
            ("train_limit", 101),
            ("augmentation", "crop_flip"),
        )
    ),
    *(
        ({"dataset": {"augmentation": {}}}, f"dataset.augmentation.{field}", value)
        for field, value in (
            ("crop_padding", 2),
            ("horizontal_flip", True),
            ("shift", 2),
            ("rotation", 5.0),
            ("cutout", 4),
            ("views", 3),
        )
    ),
    *(
        ({"model": {"depth": 3, "width": 64, "dropout": 0.1}}, f"model.{field}", value)
        for field, value in (
            *(
                ("depth", 4),
                ("width", 65),
                ("residual", True),
                ("norm", "batch"),
                ("dropout", 0.2),
                ("dropout_at", "last_hidden"),
            ),
            *(("block", "inverted_bottleneck"), ("init", "kaiming_fan_out")),
        )
    ),
    ({"model": {"hidden": [64, 32]}}, "model.hidden", [64, 63]),
    ({"model": {"depth": 3, "residual": True}}, "model.shortcut_layers", 2),
    ({"model": {"width": 64}}, "model.arch", "cnn"),
    *(
        ({"model": CNN}, f"model.{field}", value)
        for field, value in (
            *(
                ("stages", 4),
                ("width", 9),
                ("blocks_per_stage", 1),
                ("residual", True),
                ("stem", "3x3"),
                ("dropout", 0.1),
                ("max_halvings", 1),
            ),
        )
    ),
    ({"model": {"arch": "cnn", "widths": [8, 9]}}, "model.widths", [8, 10]),
    *(
        ({"model": "henet"}, f"model.{field}", value)
        for field, value in (("depth", 32), ("width", 8), ("residual", False))
    ),
    *(
        ({"model": "resnet18"}, f"model.{field}", value)
        for field, value in (("stem", "imagenet"), ("image_size", 64), ("statistics", "imagenet"))
    ),
    *(
        ({"model": arch}, "model.input_channels", 1)
        for arch in ("mlp", "cnn", "henet", "resnet18", "vgg", "layers")
    ),
    ({"model": "layers"}, "model.layers", [{"conv": 8}, "relu"]),
    ({"model": "layers"}, "model.init", "kaiming_fan_out"),
    *(
        ({"model": "vgg"}, f"model.{field}", value)
        for field, value in (
            ("widths", [8]),
            ("convs_per_stage", 1),
            ("hidden", 8),
            ("dropout", 0.1),
        )
    ),
    *(
        ({"optimizer": {"name": "sgd", "momentum": 0.9}}, f"optimizer.{field}", value)
        for field, value in (
            ("learning_rate", 0.01),
            ("momentum", 0.8),
            ("nesterov", True),
            ("weight_decay", 1e-4),
        )
    ),
    *(
        ({"optimizer": {"name": name}}, f"optimizer.{field}", value)
        for name in ("adam", "adamw")
        for field, value in (("learning_rate", 0.1), ("weight_decay", 0.5))
    ),
    *(
        ({"optimizer": {"name": "rmsprop"}}, f"optimizer.{field}", value)
        for field, value in (
            ("learning_rate", 0.1),
            ("alpha", 0.9),
            ("eps", 1e-3),
            ("momentum", 0.9),
            ("centered", True),
            ("weight_decay", 1e-4),
        )
    ),
    ({"optimizer": {}}, "optimizer.name", "adamw"),
    ({"schedule": {}}, "schedule.name", "cosine"),
    *(
        ({"schedule": {"name": name}}, "schedule.warmup_epochs", 2.0)
        for name in ("constant", "multi_step", "cosine", "plateau")
    ),
    *(
        ({"schedule": {"name": "multi_step"}}, f"schedule.{field}", value)
        for field, value in (("milestones", [3]), ("factor", 0.5))
    ),
    *(
        ({"schedule": {"name": "cosine"}}, f"schedule.{field}", value)
        for field, value in (("final_fraction", 0.1), ("update", "epoch"))
    ),
    *(
        ({"schedule": {"name": "one_cycle"}}, f"schedule.{field}", value)
        for field, value in (("peak_at", 0.4), ("start_divisor", 5.0), ("end_divisor", 5.0))
    ),
    *(
        ({"schedule": {"name": "plateau"}}, f"schedule.{field}", value)
        for field, value in (
            ("factor", 0.5),
            ("patience", 3),
            ("min_delta", 0.1),
            ("min_learning_rate", 0.1),
        )
    ),
    *(
        (STUDENT, field, value)
        for field, value in (
            ("student", "henet"),
            ("temperature", 2.0),
            ("alpha", 0.5),
            ("teacher_outputs", "live"),
            ("permute_within_class", True),
            ("teacher", {"spec": {"epochs": 3}}),
        )
    ),
    (STUDENT, "teacher.seed", 1),
    ({**STUDENT, "teacher_outputs": "live"}, "features", "attention"),
    *(
        (
            {**STUDENT, "teacher_outputs": "live", "features": {"name": name}},
            f"features.{field}",
            value,
        )
        for name in ("attention", "hint")
        for field, value in (("weight", 2.0), ("stages", [["stages.0", "stages.0"]]))
    ),
    ({**TRANSFER, "strategy": "staged"}, "unfreeze_every", 2),
    ({**TRANSFER, "strategy": "features"}, "classifiers", ["knn"]),
    ({**TRANSFER, "strategy": "features"}, "stage", "stages.1"),
    *(
        (TRANSFER, field, value)
        for field, value in (
            ("strategy", "linear_probe"),
            ("last_stages", 2),
            ("layer_decay", 0.5),
            ("source", {"spec": {"epochs": 3}}),
        )
    ),
    (STUDENT, "teacher.spec", {"epochs": 3}),
    (FURTHER, "origin", {"spec": {"epochs": 3}}),
    (FURTHER, "origin.spec", {"epochs": 3}),
    (FURTHER, "origin.weights", "last"),
    ({"kind": "transfer", "source": {"pretrained": "resnet18"}}, "source.image_size", 64),
    *(
        ({"early_stopping": {}}, f"early_stopping.{field}", value)
        for field, value in (
            ("patience", 4),
            ("min_delta", 0.1),
            ("overfit_delta", 0.1),
            ("overfit_patience", 2),
        )
    ),
]


@pytest.mark.parametrize(("base", "field", "value"), CHANGES, ids=str)
def test_changing_any_field_changes_the_fingerprint(
    base: dict[str, Any], field: str, value: Any
) -> None:
    document = copy.deepcopy(base)
    *outer, inner = field.split(".")
    part = document
    for name in outer:
        part[name] = {"arch": part[name]} if isinstance(part.get(name), str) else part.get(name, {})
        part = part[name]
    part[inner] = value
    assert fingerprint(read_spec({"kind": "train", **document})) != fingerprint(
        read_spec({"kind": "train", **base})
    )


@pytest.mark.parametrize(
    ("idle", "said"),
    [
        ({**TRANSFER, "strategy": "features"}, "strategy 'features' trains nothing"),
        ({**STUDENT, "alpha": 1.0}, "give 'alpha' below 1"),
    ],
)
def test_class_weights_are_refused_where_no_label_has_a_loss(
    idle: dict[str, Any], said: str
) -> None:
    read_spec(idle)
    with pytest.raises(ValidationError, match=said):
        read_spec({**idle, **WEIGHTED})
    with_one = {"strategy": "linear_probe"} if "strategy" in idle else {"alpha": 0.9}
    read_spec({**idle, **with_one, **WEIGHTED})


def test_the_changes_above_cover_every_field_of_every_spec() -> None:
    changed = set()
    for base, field, _ in CHANGES:
        part: Any = read_spec({"kind": "train", **base})
        *outer, inner = field.split(".")
        for name in outer:
            part = getattr(part, name)
        changed.add((type(part).__name__, inner))
    tags = {
        (model.__name__, tag)
        for model in EVERY_SPEC
        for tag in ("name", "arch", "kind", "pretrained")
    } | {("TrainSpec", part) for part in ("dataset", "model", "optimizer", "schedule")}
    # the same fields by inheritance
    procedure = {
        (kind, name)
        for kind in ("DistillSpec", "TransferSpec", "ContinueSpec")
        for name in TrainSpec.model_fields
    }
    every = {(model.__name__, name) for model in EVERY_SPEC for name in model.model_fields}
    assert every - changed - tags - procedure == set()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_the_network_that_it_names_and_can_be_changed(preset: str) -> None:
    whole = parsed(model=preset)
    assert whole.model == parsed(model=PRESETS[preset]).model
    assert parsed(model={"preset": preset}) == whole
    if whole.model.arch not in ("vgg", "mlp"):
        other = not whole.model.residual  # type: ignore[union-attr]
        assert parsed(model={"preset": preset, "residual": other}).model == whole.model.model_copy(
            update={"residual": other}
        )


def test_a_change_of_a_preset_may_say_the_widths_in_the_other_way() -> None:
    assert parsed(model={"preset": "mlp-small", "depth": 3, "width": 8}).model.widths == (8, 8, 8)  # type: ignore[union-attr]
    assert parsed(model={"preset": "student", "widths": [8, 8]}).model.stage_widths == (8, 8)  # type: ignore[union-attr]


def test_stage_widths_double_up_to_512_and_strides_are_capped() -> None:
    ten = CNNSpec.model_validate(PRESETS["cnn-blocks-10"])
    assert ten.stage_widths == (64, 128, 256, 512, 512, 512, 512, 512, 512, 512)
    assert ten.stage_strides == (1, *[2] * 9)
    assert ten.model_copy(update={"max_halvings": 3}).stage_strides == (
        1,
        2,
        2,
        2,
        1,
        1,
        1,
        1,
        1,
        1,
    )
    assert CNNSpec.model_validate({"stages": 2, "width": 700}).stage_widths == (700, 700)
    assert CNNSpec.model_validate({"widths": [32, 64, 128]}) == CNNSpec()


def test_every_property_of_the_request_schema_is_described() -> None:
    schema, student = ExperimentRequest.model_json_schema(), DistillRequest.model_json_schema()
    objects = {
        "ExperimentRequest": schema,
        "DistillRequest": student,
        **schema["$defs"],
        **student["$defs"],
    }
    undescribed = [
        f"{name}.{key}"
        for name, part in objects.items()
        for key, value in part.get("properties", {}).items()
        if not value.get("description")
    ]
    assert undescribed == []
    assert {model.__name__ for model in EVERY_SPEC} - {
        "TrainSpec",
        "DistillSpec",
        "TransferSpec",
        "ContinueSpec",
        "Trained",
        "Origin",
        "Pretrained",
    } <= set(objects)
    assert all(
        issubclass(model, BaseModel) and model.__doc__ for model in (ExperimentRequest, *EVERY_SPEC)
    )


def test_the_schema_allows_the_short_forms() -> None:
    properties = ExperimentRequest.model_json_schema()["properties"]
    for field in ("dataset", "model", "optimizer", "schedule"):
        assert {"type": "string"} in properties[field]["anyOf"]
    assert {"type": "integer"} in properties["seeds"]["anyOf"]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"seed": 42}, '"seeds": [42] is one run with seed 42'),
        ({"random_state": 42}, '"seeds": [42] is one run with seed 42'),
        ({"epochs": "3"}, "remove the quotes: 3"),
        ({"epochs": 3.0}, "write 3"),
        ({"optimizer": {"learning_rate": "1e-3"}}, "remove the quotes: 1e-3"),
        ({"dataset": {"stratified": "True"}}, "remove the quotes: true"),
    ],
)
def test_what_people_write_in_a_numbers_place_is_hinted_at(body: Any, hint: str) -> None:
    with pytest.raises(InvalidDocument) as caught:
        read_request(body)
    (fault,) = caught.value.errors
    assert str(fault.hint).startswith(hint)


@pytest.mark.parametrize(
    "body",
    [
        {"optimizer": {"name": "Adam"}, "dataset": {"name": "MNIST"}, "model": {"arch": "MLP"}},
        {"optimizer": "ADAM", "dataset": "Mnist", "model": "Mlp", "schedule": "Constant"},
    ],
)
def test_names_are_read_in_any_case(body: Any) -> None:
    assert fingerprint(read_request(body).spec_with(None)) == fingerprint(
        read_request({"dataset": "mnist"}).spec_with(None)
    )


def test_numbers_in_labels_are_kept_as_text() -> None:
    assert read_request({"labels": {"week": 3, "lr": 1e-3, "final": True}}).labels == {
        "week": "3",
        "lr": "0.001",
        "final": "true",
    }


@pytest.mark.parametrize(("seeds", "is_said"), [(42, True), (21, True), (20, False), ([42], False)])
def test_a_number_of_seeds_that_looks_like_a_seed_is_said(seeds: Any, is_said: bool) -> None:
    assert (many_seeds({"seeds": seeds}) is not None) is is_said


@pytest.mark.parametrize(
    ("optimizer", "warns"),
    [
        ({"name": "adam", "learning_rate": 0.1}, True),
        ({"name": "adamw", "learning_rate": 0.05}, True),
        ({"name": "adam", "learning_rate": 0.049}, False),
        ({"name": "sgd", "learning_rate": 0.1}, False),
        ({"name": "rmsprop"}, False),
    ],
)
def test_adam_at_a_learning_rate_of_sgd_is_doubted_whatever_is_trained(
    optimizer: dict[str, Any], warns: bool
) -> None:
    taught = {"teacher": {"spec": {}}, "student": "mlp"}
    moved = {"source": {"spec": {}}}
    for kind, beside in {"train": {}, "distill": taught, "transfer": moved}.items():
        spec = read_spec({"kind": kind, **beside, "optimizer": optimizer})
        assert any("seldom learns" in doubt for doubt in spec.doubts) is warns
    only = {"kind": "transfer", **moved, "strategy": "features", "optimizer": optimizer}
    assert read_spec(only).doubts == []
