"""Files that are whole or absent, whatever happens while they are written."""

import errno
import hashlib
import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab_models.common.errors import StorageFull
from lab_models.common.files import (
    CHUNK_BYTES,
    HeldByAnother,
    exclusive,
    link_or_copy,
    sha256_of,
    write_atomically,
)
from tests.lab_models.conftest import files_below


def test_a_written_file_is_there_with_its_sum_and_no_other(tmp_path: Path) -> None:
    written = write_atomically(tmp_path / "a" / "b" / "file.bin", b"content")
    assert written.path.read_bytes() == b"content"
    assert (written.sha256, written.size_bytes) == (hashlib.sha256(b"content").hexdigest(), 7)
    assert files_below(tmp_path) == ["a/b/file.bin"]


def test_writing_again_replaces_the_whole_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"a long content")
    write_atomically(tmp_path / "file", b"short")
    assert (tmp_path / "file").read_bytes() == b"short"


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_file_before_it_and_no_trace(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "file", b"before")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, fail) if failing == "fsync" else monkeypatch.setattr(
        Path, failing, fail
    )
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"before"
    assert files_below(tmp_path) == ["file"]


def test_an_interrupt_leaves_no_trace_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"content")
    assert files_below(tmp_path) == []


def test_content_reaches_the_disk_before_its_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def noted_sync(descriptor: int) -> None:
        done.append("sync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "sync file")
        sync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        done.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_atomically(tmp_path / "file", b"content")
    assert done == ["sync file", "rename", "sync folder"]


def test_what_would_leave_too_little_room_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "file", b"before")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=105))
    with pytest.raises(
        StorageFull,
        match=r"writing 6 bytes would leave 99 free, less than the 100 that are kept \(LAB_MIN_FREE_BYTES\)",
    ):
        write_atomically(tmp_path / "file", b"after!", min_free_bytes=100)
    assert (tmp_path / "file").read_bytes() == b"before"
    write_atomically(tmp_path / "file", b"after", min_free_bytes=100)
    write_atomically(tmp_path / "file", bytes(1000))
    assert files_below(tmp_path) == ["file"]


def test_one_at_a_time_holds_a_lock_whose_file_goes_with_each_holder(tmp_path: Path) -> None:
    """Whoever has opened the file before its holder took it away must not think that it locks anybody out."""
    inside, most = 0, 0

    def visit() -> None:
        nonlocal inside, most
        for _ in range(50):
            with exclusive(tmp_path / "one.lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0001)
                inside -= 1

    threads = [threading.Thread(target=visit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert files_below(tmp_path) == []


def test_who_may_not_wait_is_told_and_leaves_the_lock_to_its_holder(tmp_path: Path) -> None:
    with exclusive(tmp_path / "one.lock"):
        with pytest.raises(HeldByAnother), exclusive(tmp_path / "one.lock", wait=False):
            pass
        assert files_below(tmp_path) == ["one.lock"]
    with exclusive(tmp_path / "one.lock", wait=False):
        pass
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_sums_of_files_are_those_of_their_bytes(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("can_link", [True, False])
def test_a_second_name_stays_when_the_first_goes(
    can_link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"content")
    second.write_bytes(b"what stood there before")
    if not can_link:
        monkeypatch.setattr(os, "link", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    link_or_copy(first, second)
    assert first.samefile(second) == can_link
    first.unlink()
    assert second.read_bytes() == b"content"
