"""Going on: a run begins with another's weights, head included, and is otherwise like any run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from lab_models.building_on.going_on import take_weights
from lab_models.common.errors import TeacherUnusable
from lab_models.common.files import sha256_of
from lab_models.datasets.catalog import Catalog
from lab_models.running.preparing import prepare
from lab_models.running.reading import SpecRefused, read_plan
from lab_models.specs import (
    MOST_TIMES,
    ContinueSpec,
    Origin,
    TrainSpec,
    fingerprint,
    read_spec,
)
from lab_models.training.protocol import EpochCompleted, FoundationFiles, Order, Started
from tests.lab_models.conftest import (
    TINY,
    OrderMaker,
    of_kind,
    order_in,
    scores_of,
    train,
    train_until,
    weight_hashes,
)

ORIGIN: dict[str, Any] = TINY | {
    "model": {"depth": 2, "width": 16, "norm": "batch", "dropout": 0.2, "residual": True},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
}
FURTHER: dict[str, Any] = {name: value for name, value in ORIGIN.items() if name != "model"} | {
    "kind": "continue",
    "origin": {"spec": {"kind": "train", **ORIGIN}},
    "schedule": {"name": "cosine", "warmup_epochs": 1.0},
    "ema_decay": 0.9,
}
Making = Callable[..., Order]


@pytest.fixture(scope="module")
def origin(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> FoundationFiles:
    order = order_in(lab_home, ORIGIN, run_folder=str(tmp_path_factory.mktemp("origin")))
    accuracy = train(order)[-1].test["accuracy"]
    weights = Path(order.run_folder) / "attempt-1" / "weights.safetensors"
    return FoundationFiles(
        run_id="run_origin",
        spec=TrainSpec.model_validate(ORIGIN),
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=accuracy,
        epoch=2,
    )


@pytest.fixture
def make_further(make_order: OrderMaker, origin: FoundationFiles, tmp_path: Path) -> Making:
    def make(folder: str = "further", **differing: Any) -> Order:
        usual = {"foundation": origin, "run_folder": str(tmp_path / folder)}
        return make_order(FURTHER, **(usual | differing))

    return make


def test_it_begins_with_every_weight_of_its_origin(
    make_further: Making, origin: FoundationFiles
) -> None:
    state = prepare(make_further()).state
    begun = load_file(origin.weights)
    assert state.epochs_done == 0
    assert begun.keys() == state.model.state_dict().keys()
    for model in (state.model, state.evaluated):
        assert all(torch.equal(begun[name], own) for name, own in model.state_dict().items())
    assert not state.optimizer.state, "no moments are kept of a finished run"


def test_its_epochs_and_its_schedule_begin_anew_and_it_says_so(make_further: Making) -> None:
    events = train(make_further())
    (started,) = of_kind(Started, events)
    assert started.notes == (
        "begins with the weights that run run_origin had after its epoch 2; the optimizer's moments, the learning-rate"
        " schedule and the count of epochs begin anew",
    )
    assert [event.epoch for event in of_kind(EpochCompleted, events)] == [1, 2, 3]


@pytest.mark.parametrize("place", [(0, 4), (1, 2), (2, 0), (3, 0)], ids=str)
def test_a_killed_one_resumes_with_the_same_bits(
    make_further: Making, place: tuple[int, int]
) -> None:
    whole = make_further("whole")
    scores = scores_of(train(whole))
    before, checkpoint = train_until(make_further("killed"), *place)
    torch.manual_seed(12345)
    again = make_further("killed", attempt=2, resume=(checkpoint,))
    after = train(again)
    assert of_kind(Started, after)[0].resumed_from == place
    assert of_kind(Started, after)[0].notes == (), "it does not begin a second time"
    assert weight_hashes(again) == weight_hashes(whole)
    assert scores_of(before + after) == scores


@pytest.mark.parametrize(
    "damage",
    [
        lambda files: files.model_copy(update={"sha256": "0" * 64}),
        lambda files: files.model_copy(update={"weights": files.weights.with_name("none")}),
        lambda _: None,
    ],
    ids=["another hash", "no file", "no origin"],
)
def test_weights_that_are_not_the_recorded_ones_are_refused(
    make_further: Making, origin: FoundationFiles, damage: Callable[[FoundationFiles], Any]
) -> None:
    with pytest.raises(TeacherUnusable):
        train(make_further(foundation=damage(origin)))


def test_another_networks_weights_are_refused_and_change_nothing(origin: FoundationFiles) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(TeacherUnusable, match="run_origin has another network"):
        take_weights(model, origin)
    assert all(torch.equal(before[name], own) for name, own in model.state_dict().items())


def test_the_fingerprint_is_that_of_the_whole_way() -> None:
    spec = read_spec(FURTHER)
    assert isinstance(spec, ContinueSpec)
    changes: list[dict[str, Any]] = [
        {"epochs": 4},
        {"origin": FURTHER["origin"] | {"weights": "last"}},
        {"origin": {"spec": {"kind": "train", **ORIGIN, "epochs": 4}}},
    ]
    others = [fingerprint(read_spec(FURTHER | change)) for change in changes]
    assert (
        len({fingerprint(spec), fingerprint(read_spec(ORIGIN | {"kind": "train"})), *others}) == 5
    )


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"name": "mnist"}, "is a 'transfer'"),
        ({"split_seed": 1}, "another cut of train and val"),
        ({"val_fraction": 0.3}, "another cut of train and val"),
        ({"stratified": False}, "another cut of train and val"),
        ({"val": "published"}, "another cut of train and val"),
    ],
)
def test_it_learns_the_same_images_in_the_same_cut(dataset: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        read_spec(FURTHER | {"dataset": ORIGIN["dataset"] | dataset})
    assert read_spec(FURTHER | {"dataset": {"augmentation": "shift_rotate"}})


def test_what_has_gone_on_goes_on_and_its_spec_is_read_as_it_was_written() -> None:
    spec = read_spec(FURTHER)
    for times in range(2, MOST_TIMES + 1):
        assert isinstance(spec, ContinueSpec)
        spec = read_spec(FURTHER | {"origin": Origin(spec=spec).model_dump(mode="json")})
        assert isinstance(spec, ContinueSpec)
        assert spec.times == times
    assert read_spec(spec.model_dump(mode="json")) == spec
    assert spec.network == TrainSpec.model_validate(ORIGIN).model


def test_without_a_service_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    path = tmp_path / "further.json"
    path.write_text('{"kind": "continue", "origin": "exp_1", "epochs": 3}')
    with pytest.raises(SpecRefused, match="without a service there are no experiments"):
        read_plan(path, Catalog(tmp_path))
