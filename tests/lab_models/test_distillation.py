"""Distillation: the loss of the paper, a teacher that is what its record says, outputs that belong to their images."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lab_models.building_on import teacher as teachers
from lab_models.building_on.teacher import StoredLogits, read_archive, stored_outputs
from lab_models.common.errors import StorageFull, TeacherUnusable
from lab_models.common.files import sha256_of
from lab_models.datasets.batches import Batch, device_splits
from lab_models.datasets.preparation import PreparedDataset
from lab_models.running.execution import Execution
from lab_models.specs import DatasetSpec, DistillSpec, TrainSpec
from lab_models.training.objectives import CrossEntropy, Distillation
from lab_models.training.protocol import Completed, EpochCompleted, FoundationFiles, Order, Started
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

CPU = torch.device("cpu")
TEACHER: dict[str, Any] = {
    "model": {"hidden": [64, 64]},
    "epochs": 6,
    "batch_size": 32,
    "optimizer": {"learning_rate": 0.005},
}
STUDENT: dict[str, Any] = TINY | {
    "kind": "distill",
    "student": {"depth": 2, "width": 16},
    "teacher": {"spec": TEACHER},
}
STUDENT.pop("model")


def batch_of(logits: torch.Tensor, seed: int = 0) -> Batch:
    labels = torch.randint(
        0, logits.shape[1], (len(logits),), generator=torch.Generator().manual_seed(seed)
    )
    return Batch(logits, labels, torch.arange(len(logits)))


@pytest.fixture(scope="module")
def teacher(lab_home: Path, tmp_path_factory: pytest.TempPathFactory) -> FoundationFiles:
    """A teacher of some 95 % on digits, trained here."""
    order = order_in(lab_home, TEACHER, run_folder=str(tmp_path_factory.mktemp("teacher")))
    completed = train(order)[-1]
    weights = Path(order.run_folder) / "attempt-1" / "weights.safetensors"
    spec = TrainSpec.model_validate(TEACHER)
    return FoundationFiles(
        run_id="run_teacher",
        spec=spec,
        seed=0,
        weights=weights,
        sha256=sha256_of(weights),
        test_accuracy=completed.test["accuracy"],
    )


@pytest.fixture
def make_student(make_order: OrderMaker, teacher: FoundationFiles, tmp_path: Path) -> Any:
    def make(folder: str = "student", **differing: Any) -> Order:
        spec = {
            key: differing.pop(key) for key in list(differing) if key in DistillSpec.model_fields
        }
        usual = {
            "foundation": teacher,
            "folders": {"archives": tmp_path / "archives"},
            "run_folder": str(tmp_path / folder),
        }
        return make_order(STUDENT | spec, **(usual | differing))

    return make


def test_the_loss_is_that_of_the_paper() -> None:
    student, wanted = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    batch = batch_of(student)
    loss = Distillation(lambda _: wanted, temperature=3.0, alpha=0.7)(nn.Identity(), batch)
    p, q = torch.softmax(wanted.float() / 3, 1), torch.softmax(student.float() / 3, 1)
    soft = 9 * (p * (p / q).log()).sum(1).mean()
    hard = functional.cross_entropy(student.float(), batch.labels)
    assert loss.parts["soft_loss"].item() == pytest.approx(soft.item(), rel=1e-5)
    assert loss.parts["hard_loss"].item() == pytest.approx(hard.item(), rel=1e-6)
    assert loss.total.item() == pytest.approx((0.7 * soft + 0.3 * hard).item(), rel=1e-5)


def test_a_high_temperature_matches_logits() -> None:
    """Hinton et al., section 2.1: for zero-mean logits and high T the gradient is that of half the squared distance of
    the logits over N.
    """
    student = torch.randn(5, 10, dtype=torch.float32)
    wanted = torch.randn(5, 10)
    student, wanted = student - student.mean(1, keepdim=True), wanted - wanted.mean(1, keepdim=True)
    student.requires_grad_(True)
    Distillation(lambda _: wanted, temperature=500.0, alpha=1.0)(
        nn.Identity(), batch_of(student)
    ).total.backward()
    assert student.grad is not None
    torch.testing.assert_close(
        student.grad, ((student - wanted) / (10 * 5)).detach(), rtol=0.02, atol=2e-4
    )


def test_alpha_at_its_ends_listens_to_one_side_alone() -> None:
    student, wanted = torch.randn(6, 4), torch.randn(6, 4)
    batch = batch_of(student)
    soft_only, hard_only = (
        Distillation(lambda _: wanted, temperature=2.0, alpha=alpha)(nn.Identity(), batch)
        for alpha in (1.0, 0.0)
    )
    assert soft_only.total.item() == soft_only.parts["soft_loss"].item()
    assert hard_only.total.item() == CrossEntropy()(nn.Identity(), batch).total.item()


def test_with_alpha_0_the_student_is_the_plainly_trained_network_to_the_bit(
    make_student: Any, make_order: OrderMaker, tmp_path: Path
) -> None:
    student = make_student(alpha=0.0)
    plain = make_order(TINY, run_folder=str(tmp_path / "plain"))
    train(student)
    train(plain)
    assert weight_hashes(student) == weight_hashes(plain)


def test_a_distilled_run_names_its_losses_and_its_agreement_with_the_teacher(
    make_student: Any, teacher: FoundationFiles
) -> None:
    events = train(make_student(alpha=0.9))
    for epoch in of_kind(EpochCompleted, events):
        numbers = epoch.metrics["train"]
        assert numbers["loss"] == pytest.approx(
            0.9 * numbers["soft_loss"] + 0.1 * numbers["hard_loss"], rel=1e-5
        )
    test = of_kind(Completed, events)[0].test
    assert test["teacher_accuracy"] == teacher.test_accuracy > 0.9
    assert 0 < test["teacher_agreement"] <= 1
    assert "teacher-logits.safetensors" in [artifact.name for artifact in events[-1].artifacts]


@pytest.mark.parametrize("augmentation", ["none", {"shift": 1, "views": 2}])
def test_stored_outputs_are_the_live_ones_on_the_same_views(
    make_student: Any, augmentation: Any
) -> None:
    dataset = {"train_limit": 200, "augmentation": augmentation}
    stored, live = (
        [
            event.metrics["train"]["soft_loss"]
            for event in of_kind(
                EpochCompleted, train(make_student(how, dataset=dataset, teacher_outputs=how))
            )
        ]
        for how in ("stored", "live")
    )
    assert stored == pytest.approx(live, rel=2e-3)


def test_outputs_are_computed_once_for_all_seeds(make_student: Any, tmp_path: Path) -> None:
    train(make_student("first", seed=0))
    (archive,) = (tmp_path / "archives").glob("*.safetensors")
    written = archive.stat().st_mtime_ns
    train(make_student("second", seed=1, temperature=2.0, alpha=0.5))
    assert [path.stat().st_mtime_ns for path in (tmp_path / "archives").glob("*.safetensors")] == [
        written
    ]


def test_every_seed_sees_the_stored_views_in_turn(digits: PreparedDataset) -> None:
    split = device_splits(
        digits, DatasetSpec.model_validate({"augmentation": {"shift": 2, "views": 3}}), CPU
    ).train
    rows = torch.arange(50)
    images = {
        (seed, epoch): split.batch(rows, split.views(seed, epoch)).images
        for seed in (0, 1)
        for epoch in (1, 2, 3, 4)
    }
    assert torch.equal(images[0, 2], images[1, 2])
    assert torch.equal(images[0, 1], images[0, 4])
    assert not torch.equal(images[0, 1], images[0, 2])
    assert split.batch(rows, split.views(7, 6)).view == 2


def archive_of(
    teacher: FoundationFiles, digits: PreparedDataset, folder: Path
) -> tuple[Path, Any, StoredLogits]:
    spec = DistillSpec.model_validate(STUDENT)
    splits = device_splits(digits, spec.dataset, CPU)
    outputs = stored_outputs(folder, teacher, spec, digits, splits, CPU)
    assert outputs.archive is not None
    assert isinstance(outputs.logits, StoredLogits)
    return outputs.archive, splits.train, outputs.logits


def test_outputs_that_would_leave_too_little_room_are_not_even_computed(
    teacher: FoundationFiles,
    digits: PreparedDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = DistillSpec.model_validate(STUDENT)
    splits = device_splits(digits, spec.dataset, CPU)
    with monkeypatch.context() as patched:
        patched.setattr(teachers, "live_outputs", lambda *_: pytest.fail("the teacher was loaded"))
        with pytest.raises(
            StorageFull, match=f"writing {len(splits.train) * (2 * 10 + 16):,} bytes"
        ):
            stored_outputs(tmp_path / "archives", teacher, spec, digits, splits, CPU, 10**18)
    assert list((tmp_path / "archives").iterdir()) == []
    outputs = stored_outputs(tmp_path / "archives", teacher, spec, digits, splits, CPU, 1)
    assert outputs.archive is not None
    assert outputs.archive.stat().st_size - len(splits.train) * 36 < 8000, (
        "test's predictions and the header are all that was not counted"
    )


def test_once_its_outputs_are_stored_the_teachers_weights_are_not_needed(
    teacher: FoundationFiles, digits: PreparedDataset, tmp_path: Path
) -> None:
    archive_of(teacher, digits, tmp_path)
    archive_of(teacher.model_copy(update={"weights": tmp_path / "nothing"}), digits, tmp_path)
    with pytest.raises(TeacherUnusable, match=r"0\.5000 in its record"):
        archive_of(teacher.model_copy(update={"test_accuracy": 0.5}), digits, tmp_path)


def test_shuffled_rows_are_noticed_and_never_trained_on(
    teacher: FoundationFiles, digits: PreparedDataset, tmp_path: Path
) -> None:
    path, split, good = archive_of(teacher, digits, tmp_path)
    tensors = load_file(path)
    tensors["logits"] = tensors["logits"][
        :, torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    ].contiguous()
    content = tensors["logits"].numpy().tobytes()
    _, _, top1 = metadata_of(path)
    save_file(
        tensors,
        path,
        {"run": "run_teacher", "sha256": hashlib.sha256(content).hexdigest(), "top1": top1},
    )
    with pytest.raises(TeacherUnusable, match="do not belong to the images beside them"):
        read_archive(path, split)
    _, _, again = archive_of(teacher, digits, tmp_path)
    assert torch.equal(again(split.batch(torch.arange(20))), good(split.batch(torch.arange(20))))


def metadata_of(path: Path) -> tuple[str, str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found = file.metadata()
    return found["run"], found["sha256"], found["top1"]


def test_a_damaged_archive_is_made_again(
    teacher: FoundationFiles, digits: PreparedDataset, tmp_path: Path
) -> None:
    path, split, _ = archive_of(teacher, digits, tmp_path)
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[-300] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(TeacherUnusable):
        read_archive(path, split)
    path.write_bytes(whole[:100])
    with pytest.raises(TeacherUnusable):
        read_archive(path, split)
    archive_of(teacher, digits, tmp_path)
    assert read_archive(path, split)[0].shape == (1, len(split), 10)


def test_rows_of_another_split_are_refused(
    teacher: FoundationFiles, digits: PreparedDataset, tmp_path: Path
) -> None:
    path, _, _ = archive_of(teacher, digits, tmp_path)
    other = device_splits(
        digits, DatasetSpec.model_validate({"train_limit": 200, "split_seed": 1}), CPU
    ).train
    with pytest.raises(TeacherUnusable, match="not those of this split"):
        read_archive(path, other)


def test_the_control_gives_each_image_the_logits_of_another_of_its_class(
    teacher: FoundationFiles, digits: PreparedDataset, tmp_path: Path
) -> None:
    _, split, own = archive_of(teacher, digits, tmp_path)
    everything = split.batch(torch.arange(len(split)))
    given, expected = own.permuted_within_class(split.labels, 0)(everything), own(everything)
    assert not torch.equal(given, expected)
    for label in range(10):
        of_class = split.labels == label
        assert torch.equal(given[of_class].sort(0).values, expected[of_class].sort(0).values)
    assert torch.equal(own.permuted_within_class(split.labels, 0)(everything), given)
    assert not torch.equal(own.permuted_within_class(split.labels, 1)(everything), given)


def test_a_student_of_permuted_logits_trains(make_student: Any) -> None:
    own, permuted = (
        train(make_student(str(flag), permute_within_class=flag))[-1].test["loss"]
        for flag in (False, True)
    )
    assert own != permuted


@pytest.mark.parametrize("fault", ["weights damaged", "weights absent", "another record"])
def test_a_teacher_that_is_not_what_its_record_says_is_refused(
    fault: str, make_student: Any, teacher: FoundationFiles, tmp_path: Path
) -> None:
    files = {
        "weights damaged": teacher.model_copy(update={"sha256": "0" * 64}),
        "weights absent": teacher.model_copy(update={"weights": tmp_path / "nothing"}),
        "another record": teacher.model_copy(update={"test_accuracy": 0.5}),
    }[fault]
    with pytest.raises(TeacherUnusable) as caught:
        train(make_student().model_copy(update={"foundation": files}))
    assert caught.value.code == "teacher_failed"


@pytest.mark.parametrize("place", [(1, 2), (2, 0)])
@pytest.mark.parametrize("how", ["stored", "live"])
def test_a_resumed_student_gives_the_same_bits(
    make_student: Any, place: tuple[int, int], how: str
) -> None:
    # drawn from the generator that a teacher's loading must not disturb
    student = {"depth": 2, "width": 16, "dropout": 0.3}
    options = {
        "teacher_outputs": how,
        "student": student,
        "dataset": {"train_limit": 200, "augmentation": {"shift": 1, "views": 2}},
    }
    whole = make_student("whole", **options)
    expected = scores_of(train(whole))
    before, checkpoint = train_until(make_student("broken", **options), *place)
    torch.manual_seed(99)
    again = make_student("broken", attempt=2, resume=(checkpoint,), **options)
    after = train(again)
    assert of_kind(Started, after)[0].resumed_from == place
    assert weight_hashes(again) == weight_hashes(whole)
    assert scores_of(before + after) == expected


def test_the_teacher_stays_as_it_is(make_student: Any, teacher: FoundationFiles) -> None:
    execution = Execution(make_student(teacher_outputs="live"))
    list(execution.events())
    model = execution._prepared.teacher.logits.model  # type: ignore[union-attr]
    assert not model.training
    assert all(
        parameter.grad is None and not parameter.requires_grad for parameter in model.parameters()
    )
    assert sha256_of(teacher.weights) == teacher.sha256
