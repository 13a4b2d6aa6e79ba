"""A data set's own validation split: found under its usual names, kept at the end of train, taken where a spec asks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lab_models.architectures.parameter_names import layer_gradient_faults
from lab_models.common.errors import DatasetUnavailable
from lab_models.datasets.batches import device_splits
from lab_models.datasets.catalog import DIGITS, Catalog
from lab_models.datasets.decoding import decode
from lab_models.datasets.importing import import_images
from lab_models.datasets.layout import arrange
from lab_models.datasets.preparation import PreparedDataset, open_imported, seal
from lab_models.datasets.refusals import ImportRefused
from lab_models.datasets.splits import num_rows_as_asked, split_as_asked
from lab_models.specs import DatasetSpec, read_spec
from lab_models.training.protocol import Completed, EpochCompleted
from tests.lab_models.conftest import of_kind, order_in, train
from tests.lab_models.test_importing import encoded, flowers, pixels, tree, zipped

PUBLISHED = DatasetSpec(name="own", val="published")


def with_val(word: str = "val", prefix: str = "") -> dict[str, bytes]:
    """Four images of each class to train on, three of val, two of test."""
    return flowers(prefix=prefix) | {
        f"{prefix}{word}/{name}/{number}.png": encoded(
            pixels(8, 8, 3, seed=10**6 + 10 * place + number)
        )
        for place, name in enumerate("ab")
        for number in range(3)
    }


def taken(tmp_path: Path, files: dict[str, bytes], **options: Any) -> PreparedDataset:
    source = zipped(tmp_path / "in.zip", files)
    return open_imported(
        import_images(source, "own", tmp_path / "imported", **options), tmp_path / "imported"
    )


@pytest.mark.parametrize(
    ("word", "prefix"), [("valid", ""), ("Validation", "archive/data/"), ("dev_set", "x/")]
)
def test_a_validation_folder_is_the_end_of_train_pixel_for_pixel(
    word: str, prefix: str, tmp_path: Path
) -> None:
    files = with_val(word, prefix)
    dataset = taken(tmp_path, files)
    assert (dataset.info.num_train, dataset.info.num_val, dataset.info.num_test) == (14, 6, 4)
    own = [decode(files[name], channels=3) for name in sorted(files) if f"/{word}/" in f"/{name}"]
    assert np.array_equal(dataset.train_images[-6:], np.stack(own))
    assert dataset.train_labels.tolist() == [0] * 4 + [1] * 4 + [0] * 3 + [1] * 3
    assert "the last 6 of train are its own validation split" in dataset.info.source
    splits = device_splits(dataset, PUBLISHED, torch.device("cpu"))
    assert (splits.train.ids.tolist(), splits.val.ids.tolist()) == (  # type: ignore[union-attr]
        list(range(8)),
        list(range(8, 14)),
    )


def test_by_default_val_is_cut_from_all_of_it_as_ever(tmp_path: Path) -> None:
    info = import_images(zipped(tmp_path / "in.zip", with_val()), "own", tmp_path / "imported")
    labels = np.array([label for _, label in arrange(sorted(with_val())).train])
    for spec in (DatasetSpec(name="own"), DatasetSpec(name="own", train_limit=3, split_seed=4)):
        assert np.array_equal(
            split_as_asked(labels, spec, info).val,
            split_as_asked(labels, spec, replace(info, num_val=0)).val,
        )


@pytest.mark.parametrize("limit", [None, 2, 5, 8, 100])
def test_a_limit_thins_train_alone_and_counts_are_told_beforehand(limit: int | None) -> None:
    labels, info = np.arange(30) % 3, replace(DIGITS, num_train=30, num_val=12)
    spec = DatasetSpec(val="published", train_limit=limit)
    rows = split_as_asked(labels, spec, info)
    assert (len(rows.train), len(rows.val)) == num_rows_as_asked(spec, info)
    assert len(rows.train) == min(18, limit or 18)
    assert rows.val.tolist() == list(range(18, 30))
    assert set(rows.train) <= set(range(18))


def test_steps_are_counted_without_val() -> None:
    asked = {"layers": ["head.weight"], "every_steps": 1}
    info = replace(DIGITS, num_train=100_000, num_val=99_000)
    document = {"kind": "train", "dataset": {"val": "published"}, "batch_size": 10, "epochs": 3}
    spec = read_spec({**document, "layer_gradients": asked})
    assert not list(layer_gradient_faults(spec, info))


def test_a_run_chooses_its_epoch_by_the_published_split(tmp_path: Path) -> None:
    taken(tmp_path, with_val())
    spec = {"dataset": {"name": "own", "val": "published"}, "batch_size": 4, "epochs": 2}
    events = train(order_in(tmp_path, spec, run_folder=str(tmp_path / "run")))
    sixths = [6 * event.metrics["val"]["accuracy"] for event in of_kind(EpochCompleted, events)]
    assert sixths == pytest.approx([round(value) for value in sixths])
    assert len(sixths) == len(of_kind(EpochCompleted, events)) == 2
    assert of_kind(Completed, events)


def test_without_test_a_validation_folder_is_test(tmp_path: Path) -> None:
    files = {name: content for name, content in with_val().items() if "test/" not in name}
    dataset = taken(tmp_path, files)
    assert (dataset.info.num_train, dataset.info.num_val, dataset.info.num_test) == (8, 0, 6)
    assert "its validation folder serves as test" in dataset.info.source


def test_a_word_for_val_is_a_class_where_it_stands_among_classes() -> None:
    assert arrange(tree("valid", "invalid")).num_val == 0


def test_a_set_without_one_says_so() -> None:
    with pytest.raises(DatasetUnavailable, match="digits has no validation split of its own"):
        split_as_asked(np.arange(9) % 3, DatasetSpec(val="published"), DIGITS)


@pytest.mark.parametrize(
    "document",
    [
        {"val_fraction": 0.1},
        {"split_seed": 1},
        {"stratified": False},
        {"val_fraction": 0.1, "train_limit": 3},
    ],
)
def test_what_would_cut_beside_it_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(document))}' says how val is cut"):
        DatasetSpec.model_validate({"val": "published", **document})


def test_a_seed_draws_what_a_limit_leaves() -> None:
    labels, info = np.zeros(100, np.int64), replace(DIGITS, num_train=100, num_val=20)
    first, second = (
        split_as_asked(
            labels, DatasetSpec(val="published", train_limit=40, split_seed=seed), info
        ).train.tolist()
        for seed in (0, 1)
    )
    assert first != second


def test_equal_pixels_with_another_boundary_are_other_content(tmp_path: Path) -> None:
    """Runs are taken for each other by the sum of their images."""
    dataset = taken(tmp_path, with_val())
    catalog = Catalog(tmp_path / "imported")
    folder = tmp_path / "imported" / "own"
    other = seal(folder, {"name": "own", "info": {"num_val": 5}})["sha256"]
    none = seal(folder, {"name": "own", "info": {"num_val": 0}})["sha256"]
    assert len({dataset.sha256, other, none}) == 3
    assert catalog.sha256("own") == none


def test_copies_in_train_and_missing_classes_are_said(tmp_path: Path) -> None:
    files = with_val()
    files = {name: files[name] for name in files if "val/b" not in name}
    files["val/a/0.png"] = files["train/a/0.png"]
    notes = taken(tmp_path, files).info.noticed
    assert (
        "1 of 3 validation images is in train too, such as val/a/0.png and train/a/0.png" in notes
    )
    assert "its own validation split has no image of b" in notes


def test_classes_that_differ_in_capitals_are_told_so() -> None:
    names = tree("train/Cat", "train/dog", "test/cat", "test/dog")
    with pytest.raises(ImportRefused) as caught:
        arrange(sorted(names))
    assert caught.value.hint == "they differ in capitals alone: write them in one way"


def test_a_bad_file_of_val_is_left_out_of_val(tmp_path: Path) -> None:
    files = with_val() | {"val/a/0.png": b"junk"}
    dataset = taken(tmp_path, files, skip_bad=True)
    assert (dataset.info.num_train, dataset.info.num_val) == (13, 5)
