"""From an order to data, network and foundation; nothing is trained but what is built on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lab_models.architectures.build import build_model
from lab_models.common.errors import DatasetUnavailable, TeacherUnusable
from lab_models.common.files import sha256_of
from lab_models.datasets.batches import RESIDENT_BYTES
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running.preparing import newest_checkpoint, prepare, resident_bytes
from lab_models.running.publishing import AttemptFolder
from lab_models.training.protocol import FoundationFiles
from tests.lab_models.conftest import TINY, OrderMaker, files_below, order_in, train

ON_DIGITS = {key: value for key, value in TINY.items() if key != "model"}
STUDENT = {**ON_DIGITS, "kind": "distill", "teacher": {"spec": TINY}, "student": {"hidden": [8]}}
TRANSFER = {**ON_DIGITS, "kind": "transfer", "source": {"spec": TINY}}


@pytest.fixture(scope="module")
def foundation(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> FoundationFiles:
    """A run that others build on, trained here."""
    order = order_in(lab_home, TINY, run_folder=tmp_path_factory.mktemp("foundation"))
    done = train(order)[-1]
    weights = order.run_folder / "attempt-1" / "weights.safetensors"
    return FoundationFiles(
        run_id="run_1",
        spec=order.spec,
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=done.test["accuracy"],
    )


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, tensor in one.items() if torch.equal(tensor, other[name])]


def test_an_order_becomes_data_and_a_network_at_its_beginning(
    make_order: OrderMaker, digits: PreparedDataset
) -> None:
    order = make_order(TINY, seed=3)
    prepared = prepare(order)
    assert prepared.dataset.sha256 == digits.sha256
    assert len(prepared.splits.train) == 200
    assert prepared.teacher is None
    weights = prepared.state.model.state_dict()
    assert len(equal(weights, build_model(order.spec.network, (1, 8, 8), 10, 3).state_dict())) == 6
    assert (prepared.state.epochs_done, prepared.state.step) == (0, 0)
    assert not order.run_folder.exists(), "nothing is written"


def test_a_transfer_begins_with_the_weights_of_its_foundation_but_for_the_head(
    make_order: OrderMaker, foundation: FoundationFiles
) -> None:
    prepared = prepare(make_order(TRANSFER, seed=3, foundation=foundation))
    initial = build_model(foundation.spec.network, (1, 8, 8), 10, 3).state_dict()
    weights = prepared.state.model.state_dict()
    assert {name.partition(".")[0] for name in equal(weights, initial)} == {"head"}
    assert prepared.state.freezer is not None


@pytest.mark.parametrize("outputs", ["stored", "live"])
def test_a_students_teacher_is_ready_before_the_first_step(
    make_order: OrderMaker, foundation: FoundationFiles, tmp_path: Path, outputs: str
) -> None:
    spec = {**STUDENT, "teacher_outputs": outputs}
    folders = {"archives": tmp_path / "archives"}
    prepared = prepare(make_order(spec, foundation=foundation, folders=folders))
    assert prepared.teacher is not None
    assert prepared.teacher.accuracy == pytest.approx(foundation.test_accuracy)
    assert len(list(tmp_path.glob("archives/*.safetensors"))) == (outputs == "stored")
    logits = prepared.teacher.logits(prepared.splits.train.batch(torch.arange(5)))
    assert logits.shape == (5, 10)


@pytest.mark.parametrize(("spec", "role"), [(STUDENT, "teacher"), (TRANSFER, "source")])
def test_who_builds_on_nothing_that_the_order_names_is_refused(
    make_order: OrderMaker, spec: dict[str, Any], role: str
) -> None:
    with pytest.raises(TeacherUnusable, match=f"names no {role}"):
        prepare(make_order(spec))


def test_a_data_set_that_was_removed_is_said(make_order: OrderMaker) -> None:
    with pytest.raises(DatasetUnavailable, match="there is no data set 'flowers'"):
        prepare(make_order({**TINY, "dataset": {"name": "flowers"}}))


def test_of_the_checkpoints_the_newest_is_taken_that_is_whole_and_of_this_run(
    make_order: OrderMaker,
) -> None:
    order = make_order(TINY)
    state, folder = prepare(order).state, AttemptFolder(order)
    first = folder.save(state, threads=1)
    state.epochs_done = 1
    second = folder.save(state, threads=1)
    state.epochs_done = 2
    foreign = AttemptFolder(order.model_copy(update={"seed": 9})).save(state, threads=1)
    (order.run_folder / second.path).write_bytes(b"half a file")
    resumed = order.model_copy(update={"resume": (foreign, second, first)})
    document, notes = newest_checkpoint(resumed)
    assert document is not None
    assert document["epochs_done"] == 0
    assert [note.partition(" is ")[2][:7] for note in notes] == ["of anot", "damaged"]
    assert newest_checkpoint(order) == (None, [])


def test_what_is_published_is_whole_and_named_within_the_runs_folder(
    make_order: OrderMaker, tmp_path: Path
) -> None:
    order = make_order(TINY, attempt=2)
    folder = AttemptFolder(order)
    said = folder.publish_spec()
    (tmp_path / "elsewhere").write_bytes(b"content")
    again = folder.publish_again("second name", tmp_path / "elsewhere")
    (tmp_path / "elsewhere").unlink()
    assert files_below(order.run_folder) == ["attempt-2/second name", "attempt-2/spec.json"]
    for artifact in (said, again):
        path = order.run_folder / artifact.path
        assert (sha256_of(path), path.stat().st_size) == (artifact.sha256, artifact.size_bytes)
    assert json.loads((order.run_folder / said.path).read_bytes())["seed"] == 0


def test_images_may_take_a_quarter_of_what_is_free_of_a_runs_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (120 << 30, 140 << 30))
    card = torch.device("cuda:0")
    assert resident_bytes(card) == 30 << 30
    assert resident_bytes(card, 0.2) == 7 << 30
    assert resident_bytes(torch.device("cpu"), 0.2) == RESIDENT_BYTES
