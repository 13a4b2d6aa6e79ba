"""The spec: defaults, short forms, strictness, and one fingerprint for each thing that can be trained."""

import copy
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel, ValidationError

from lab_models.protocol import Order, read_order, to_line
from lab_models.specs import (
    MAX_SEED,
    AdamSpec,
    ConstantSchedule,
    DatasetSpec,
    ExperimentRequest,
    MLPSpec,
    SGDSpec,
    TrainSpec,
    canonical_json,
    fingerprint,
)
from tests.lab_models.conftest import EXAMPLES, spec_documents


def parsed(**fields: Any) -> TrainSpec:
    return TrainSpec.model_validate(fields)


def test_an_empty_document_is_a_complete_spec() -> None:
    spec = TrainSpec.model_validate({})
    assert spec == TrainSpec()
    assert (spec.dataset.name, spec.dataset.val_fraction, spec.dataset.stratified, spec.dataset.train_limit) == ("digits", 0.2, True, None)
    assert (spec.model.arch, spec.model.depth, spec.model.width, spec.model.widths) == ("mlp", 2, 512, (512, 512))
    assert spec.optimizer == AdamSpec(learning_rate=0.001, weight_decay=0.0)
    assert (spec.batch_size, spec.epochs, spec.label_smoothing, spec.precision) == (64, 10, 0.0, "float32")


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
        ({"label_smoothing": 0, "optimizer": {"weight_decay": 0}}, {"label_smoothing": 0.0, "optimizer": {"weight_decay": 0.0}}),
    ],
)
def test_a_short_form_stands_for_the_long_one(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert parsed(**short) == parsed(**long)
    assert fingerprint(parsed(**short)) == fingerprint(parsed(**long))


def test_defaults_of_an_object_are_those_of_its_name_and_not_of_the_field() -> None:
    assert parsed(optimizer="sgd").optimizer == SGDSpec(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)


def test_equal_hidden_widths_become_depth_and_width() -> None:
    by_layer, by_depth = MLPSpec.model_validate({"hidden": [64, 64, 64]}), MLPSpec.model_validate({"depth": 3, "width": 64})
    assert by_layer == by_depth
    assert (by_layer.depth, by_layer.width, by_layer.hidden) == (3, 64, None)
    assert fingerprint(TrainSpec(model=by_layer)) == fingerprint(TrainSpec(model=by_depth))


def test_unequal_hidden_widths_stay_a_list() -> None:
    model = MLPSpec.model_validate({"hidden": [128, 64]})
    assert (model.depth, model.width, model.hidden, model.widths) == (None, None, (128, 64), (128, 64))


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


@pytest.mark.parametrize(("given_", "seeds"), [(1, (0,)), (3, (0, 1, 2)), ([7, 5], (7, 5)), ((4,), (4,)), ([MAX_SEED], (MAX_SEED,))])
def test_seeds_are_a_list_or_how_many_to_count_from_0(given_: Any, seeds: tuple[int, ...]) -> None:
    assert ExperimentRequest.model_validate({"seeds": given_}).seeds == seeds


@pytest.mark.parametrize("refused", [0, -1, 1001, [], [0, 0], [-1], [MAX_SEED + 1], True, 3.0, "3", [1, "2"], [True], [1.0], None, list(range(1001))])
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
        {"precision": "bfloat16"},
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
def test_batch_norm_on_batches_of_one_image_is_refused_before_it_trains(single: dict[str, Any]) -> None:
    assert parsed(**single)
    assert parsed(**single, model={"norm": "layer"})
    with pytest.raises(ValidationError, match="batch"):
        parsed(**single, model={"norm": "batch"})


def test_labels_have_plain_keys_and_a_bounded_number() -> None:
    assert ExperimentRequest.model_validate({"labels": {"a.b_c-1": "größer als 3"}}).labels == {"a.b_c-1": "größer als 3"}
    for refused in ({"a b": "x"}, {"": "x"}, {"k": 1}, {"k": "x" * 201}, {"k" * 61: "x"}, {f"k{i}": "x" for i in range(51)}):
        with pytest.raises(ValidationError):
            ExperimentRequest.model_validate({"labels": refused})


def test_a_spec_cannot_be_changed() -> None:
    spec = TrainSpec()
    for part, field in ((spec, "epochs"), (spec.model, "width"), (spec.dataset, "name"), (spec.optimizer, "learning_rate")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, getattr(part, field))


def test_the_spec_of_a_request_has_neither_seeds_nor_names() -> None:
    fields = {"model": {"width": 32}, "optimizer": "sgd", "epochs": 2}
    request = ExperimentRequest.model_validate({**fields, "seeds": [3, 4], "name": "a name", "labels": {"k": "v"}, "priority": 5})
    assert request.spec == parsed(**fields)
    assert type(request.spec) is TrainSpec
    assert not {"seeds", "name", "labels", "priority"} & set(json.loads(canonical_json(request.spec)))
    assert fingerprint(request.spec) == fingerprint(parsed(**fields))


def test_the_canonical_json_of_the_default_spec_is_what_it_always_was() -> None:
    assert canonical_json(TrainSpec()) == (
        '{"batch_size":64,"dataset":{"augmentation":"none","name":"digits","split_seed":0,"stratified":true,"train_limit":null,"val_fraction":0.2},'
        '"epochs":10,"kind":"train","label_smoothing":0.0,"model":{"arch":"mlp","depth":2,"dropout":0.0,"dropout_at":"every_hidden","hidden":null,'
        '"norm":"none","residual":false,"width":512},"optimizer":{"learning_rate":0.001,"name":"adam","weight_decay":0.0},"precision":"float32",'
        '"schedule":{"name":"constant"}}'
    )
    assert fingerprint(TrainSpec()) == "a770b9331afda0d5cd2aef9c4c7bdc517638b2e5fb3ec4e190a3318bf1eada4c"


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
        search_folders=("/data", "/größe"),
        download_folder="/data",
        prepared_folder="/prepared",
        device="cpu",
        threads=2,
    )
    line = to_line(order)
    assert line.count(b"\n") == 1
    assert read_order(line) == order


@EXAMPLES
@given(spec_documents(), spec_documents())
def test_fingerprints_are_equal_exactly_when_specs_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = TrainSpec.model_validate(one), TrainSpec.model_validate(other)
    assert (fingerprint(first) == fingerprint(second)) == (first == second)
    assert fingerprint(first) == fingerprint(TrainSpec.model_validate(copy.deepcopy(one)))


@pytest.mark.parametrize("negative", [{"label_smoothing": -0.0}, {"model": {"dropout": -0.0}}, {"optimizer": {"weight_decay": -0.0}}])
def test_minus_zero_is_zero_in_a_fingerprint_too(negative: dict[str, Any]) -> None:
    assert parsed(**negative) == TrainSpec()
    assert fingerprint(parsed(**negative)) == fingerprint(TrainSpec())


BASE = {"dataset": {"train_limit": 100}, "model": {"depth": 3, "width": 64, "dropout": 0.1}, "optimizer": {"name": "sgd", "momentum": 0.9}}
CHANGES: dict[str, Any] = {
    "dataset.name": "mnist",
    "dataset.val_fraction": 0.1,
    "dataset.stratified": False,
    "dataset.split_seed": 1,
    "dataset.train_limit": 101,
    "model.depth": 4,
    "model.width": 65,
    "model.hidden": [64, 63],
    "model.residual": True,
    "model.norm": "batch",
    "model.dropout": 0.2,
    "model.dropout_at": "last_hidden",
    "optimizer.name": "adam",
    "optimizer.learning_rate": 0.01,
    "optimizer.momentum": 0.8,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 1e-4,
    "batch_size": 65,
    "epochs": 11,
    "label_smoothing": 0.1,
}


@pytest.mark.parametrize("field", CHANGES)
def test_changing_any_field_changes_the_fingerprint(field: str) -> None:
    document = copy.deepcopy(BASE)
    outer, _, inner = field.rpartition(".")
    part: dict[str, Any] = document[outer] if outer else document
    if field == "model.hidden":
        part.pop("depth"), part.pop("width")
    if field == "optimizer.name":
        part.clear()
    part[inner] = CHANGES[field]
    assert fingerprint(TrainSpec.model_validate(document)) != fingerprint(TrainSpec.model_validate(BASE))


def test_the_changes_above_cover_every_field_that_has_a_choice() -> None:
    parts = {"": TrainSpec, "dataset.": DatasetSpec, "model.": MLPSpec, "optimizer.": SGDSpec, "schedule.": ConstantSchedule}
    has_choice = {
        prefix + name
        for prefix, model in parts.items()
        for name, field in model.model_fields.items()
        if prefix + name + "." not in parts and (prefix + name == "optimizer.name" or len(typing.get_args(field.annotation)) != 1)
    }
    assert set(CHANGES) == has_choice


def test_every_property_of_the_request_schema_is_described() -> None:
    schema = ExperimentRequest.model_json_schema()
    objects = {"ExperimentRequest": schema, **schema["$defs"]}
    undescribed = [f"{name}.{key}" for name, part in objects.items() for key, value in part.get("properties", {}).items() if not value.get("description")]
    assert undescribed == []
    assert {"DatasetSpec", "MLPSpec", "AdamSpec", "SGDSpec", "ConstantSchedule"} <= set(schema["$defs"])
    assert all(issubclass(model, BaseModel) and model.__doc__ for model in (ExperimentRequest, TrainSpec, DatasetSpec, MLPSpec, SGDSpec, AdamSpec))


def test_the_schema_allows_the_short_forms() -> None:
    properties = ExperimentRequest.model_json_schema()["properties"]
    for field in ("dataset", "model", "optimizer", "schedule"):
        assert {"type": "string"} in properties[field]["anyOf"]
    assert {"type": "integer"} in properties["seeds"]["anyOf"]
