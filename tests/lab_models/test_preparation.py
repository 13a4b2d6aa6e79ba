"""Prepared data sets: written once, checked at each opening, made anew when damaged, by one process at a time."""

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lab_models.common.errors import DatasetUnavailable, StorageFull
from lab_models.datasets.catalog import DatasetInfo
from lab_models.datasets.preparation import (
    ARRAYS,
    RawDataset,
    open_imported,
    open_prepared,
    seal,
    write_array,
)
from tests.lab_models.conftest import PROJECT, files_below

TINY = DatasetInfo(
    name="tiny",
    title="Six images",
    shape=(1, 2, 2),
    class_names=("a", "b"),
    num_train=4,
    num_test=2,
    mean=(0.5,),
    std=(0.5,),
    statistics_source="none",
    source="this test",
)
WHOLE = sorted(["tiny/manifest.json", *(f"tiny/{name}.npy" for name in ARRAYS)])


def raw() -> RawDataset:
    return RawDataset(
        np.arange(16, dtype=np.uint8).reshape(4, 1, 2, 2),
        np.array([0, 1, 0, 1]),
        np.arange(8, dtype=np.uint8).reshape(2, 1, 2, 2),
        np.array([0, 1]),
    )


def must_not_read() -> RawDataset:
    raise AssertionError("the source was read again")


class CountedReader:
    """Reads the tiny data set and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> RawDataset:
        self.times += 1
        return raw()


def test_arrays_are_written_once_and_mapped_into_memory(tmp_path: Path) -> None:
    first = open_prepared(TINY, tmp_path, raw)
    second = open_prepared(TINY, tmp_path, must_not_read)
    assert first.sha256 == second.sha256
    for field in dataclasses.fields(RawDataset):
        array = getattr(second, field.name)
        assert isinstance(array, np.memmap)
        assert np.array_equal(array, getattr(raw(), field.name))
        assert array.dtype == getattr(raw(), field.name).dtype
    assert files_below(tmp_path) == WHOLE


def test_writing_into_a_mapped_array_does_not_change_the_file(tmp_path: Path) -> None:
    open_prepared(TINY, tmp_path, raw).train_images[:] = 0
    assert np.array_equal(
        open_prepared(TINY, tmp_path, must_not_read).train_images, raw().train_images
    )


def test_a_data_set_that_would_leave_too_little_room_is_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(StorageFull, match="writing 72 bytes would leave"):
        open_prepared(TINY, tmp_path, raw, min_free_bytes=10**18)
    assert files_below(tmp_path) == []
    open_prepared(TINY, tmp_path, raw, min_free_bytes=1)
    open_prepared(TINY, tmp_path, must_not_read, min_free_bytes=10**18)


def test_the_manifest_holds_the_sha256_of_every_file_and_one_of_all(tmp_path: Path) -> None:
    prepared = open_prepared(TINY, tmp_path, raw)
    manifest = json.loads((tmp_path / "tiny" / "manifest.json").read_bytes())
    assert manifest["name"] == "tiny"
    assert manifest["files"] == {
        f"{name}.npy": hashlib.sha256((tmp_path / "tiny" / f"{name}.npy").read_bytes()).hexdigest()
        for name in ARRAYS
    }
    assert manifest["sha256"] == prepared.sha256


def test_the_sha256_names_the_content(tmp_path: Path) -> None:
    changed = dataclasses.replace(raw(), test_labels=np.array([1, 1]))
    sums = [
        open_prepared(TINY, tmp_path / str(number), lambda data=data: data).sha256
        for number, data in enumerate((raw(), raw(), changed))
    ]
    assert sums[0] == sums[1] != sums[2]


def flip_a_byte(folder: Path) -> None:
    path = folder / "train-images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_short(folder: Path) -> None:
    os.truncate(folder / "test-images.npy", 100)


def delete_one(folder: Path) -> None:
    (folder / "train-labels.npy").unlink()


def break_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")


def swap_parts(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "damage", [flip_a_byte, cut_short, delete_one, break_manifest, empty_manifest, swap_parts]
)
def test_a_damaged_data_set_is_prepared_anew(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    before = open_prepared(TINY, tmp_path, raw).sha256
    damage(tmp_path / "tiny")
    reader = CountedReader()
    after = open_prepared(TINY, tmp_path, reader)
    assert reader.times == 1
    assert after.sha256 == before
    assert np.array_equal(after.train_images, raw().train_images)
    assert files_below(tmp_path) == WHOLE
    open_prepared(TINY, tmp_path, must_not_read)


def test_a_reader_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    def fail() -> RawDataset:
        raise DatasetUnavailable("no network")

    with pytest.raises(DatasetUnavailable, match="no network"):
        open_prepared(TINY, tmp_path, fail)
    assert files_below(tmp_path) == []
    open_prepared(TINY, tmp_path, raw)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"train_images": np.zeros((3, 1, 2, 2), np.uint8)}, "the train part has images"),
        ({"test_images": np.zeros((2, 1, 2, 3), np.uint8)}, "the test part has images"),
        ({"train_labels": np.array([0, 1, 0])}, "the train part has images"),
        ({"test_labels": np.array([0, 2])}, r"labels outside 0\.\.1"),
        ({"train_labels": np.array([0, 1, 0, -1])}, r"labels outside 0\.\.1"),
    ],
    ids=["too few", "wrong shape", "too few labels", "label too large", "label negative"],
)
def test_a_source_of_the_wrong_content_is_refused(
    wrong: dict[str, np.ndarray], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetUnavailable, match=complaint):
        open_prepared(TINY, tmp_path, lambda: dataclasses.replace(raw(), **wrong))
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_images_than_published_are_taken_where_a_part_will_do(
    count: int, tmp_path: Path
) -> None:
    some = dataclasses.replace(
        raw(), train_images=raw().train_images[:count], train_labels=raw().train_labels[:count]
    )
    for _ in range(2):
        dataset = open_prepared(TINY, tmp_path, lambda: some, partial=True)
        assert (dataset.info.num_train, dataset.info.num_test, len(dataset.train_images)) == (
            count,
            2,
            count,
        )
    manifest = json.loads((tmp_path / "tiny" / "manifest.json").read_bytes())
    assert (manifest["num_train"], manifest["num_test"]) == (count, 2)


@pytest.mark.parametrize("count", [0, 5])
def test_no_image_at_all_is_no_part_and_more_than_published_is_none_either(
    count: int, tmp_path: Path
) -> None:
    other = dataclasses.replace(
        raw(),
        train_images=np.zeros((count, 1, 2, 2), np.uint8),
        train_labels=np.zeros(count, np.int64),
    )
    with pytest.raises(DatasetUnavailable, match="the train part has images"):
        open_prepared(TINY, tmp_path, lambda: other, partial=True)


OWN = dataclasses.replace(TINY, imported_at="2026-11-21T08:00:00Z")


def lay_down(folder: Path, data: RawDataset) -> None:
    folder.mkdir()
    for name, field in zip(ARRAYS, dataclasses.fields(RawDataset), strict=True):
        write_array(folder / f"{name}.npy", getattr(data, field.name))
    seal(folder, {"name": folder.name, "info": dataclasses.asdict(OWN)})


def test_an_imported_data_set_is_opened_with_its_checked_bytes(tmp_path: Path) -> None:
    lay_down(tmp_path / "tiny", raw())
    dataset = open_imported(OWN, tmp_path)
    assert dataset.info == OWN
    assert (
        dataset.sha256 == json.loads((tmp_path / "tiny" / "manifest.json").read_bytes())["sha256"]
    )
    assert all(
        np.array_equal(getattr(dataset, field.name), getattr(raw(), field.name))
        for field in dataclasses.fields(RawDataset)
    )


def test_a_damaged_imported_data_set_is_not_made_anew_but_to_be_imported_again(
    tmp_path: Path,
) -> None:
    for number, damage in enumerate(
        (flip_a_byte, cut_short, delete_one, break_manifest, empty_manifest, swap_parts)
    ):
        home = tmp_path / str(number)
        home.mkdir()
        lay_down(home / "tiny", raw())
        damage(home / "tiny")
        with pytest.raises(DatasetUnavailable, match="'tiny' are damaged or gone") as caught:
            open_imported(OWN, home)
        assert "import it again" in (caught.value.hint or "")


def test_an_imported_data_set_whose_arrays_have_another_shape_than_its_facts_is_damaged(
    tmp_path: Path,
) -> None:
    lay_down(
        tmp_path / "tiny", dataclasses.replace(raw(), test_images=np.zeros((2, 1, 2, 3), np.uint8))
    )
    with pytest.raises(DatasetUnavailable, match="damaged"):
        open_imported(OWN, tmp_path)


def test_a_full_disk_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            open_prepared(TINY, tmp_path, raw)
    assert files_below(tmp_path) == []
    open_prepared(TINY, tmp_path, raw)


OPENS_DIGITS = """
import sys
from pathlib import Path
import numpy as np
from lab_models.datasets.catalog import DIGITS
from lab_models.datasets.preparation import RawDataset, open_prepared

def read():
    print("reading", flush=True)
    sys.stdin.readline()
    def half(count: int) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((count, 1, 8, 8), np.uint8), np.ones(count, np.int64)

    return RawDataset(*half(1437), *half(360))

print("opening", flush=True)
print(open_prepared(DIGITS, Path(sys.argv[1]), read).sha256, flush=True)
"""


def test_of_two_processes_at_once_one_prepares_and_the_other_waits(tmp_path: Path) -> None:
    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", OPENS_DIGITS, str(tmp_path)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    with start() as first:
        assert first.stdout is not None
        assert [first.stdout.readline() for _ in range(2)] == ["opening\n", "reading\n"]
        with start() as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "opening\n"
            assert waits_for_a_lock(second.pid)
            said_first, _ = first.communicate("go on\n", timeout=30)
            said_second, _ = second.communicate("go on\n", timeout=30)
    assert len(said_first.strip()) == 64
    assert said_second == said_first


def waits_for_a_lock(pid: int) -> bool:
    """Whether the kernel lists the process among those that wait; looks again for some seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if any(
            "-> FLOCK" in line and str(pid) in line.split()
            for line in Path("/proc/locks").read_text().splitlines()
        ):
            return True
        time.sleep(0.01)
    return False
