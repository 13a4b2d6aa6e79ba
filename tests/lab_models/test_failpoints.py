"""Failpoints: nothing without arming, once with it, and files are whole or absent at each of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab_models.common import failpoints
from lab_models.common.files import write_atomically
from tests.lab_models.conftest import files_below


def test_without_the_variable_nothing_is_armed() -> None:
    assert failpoints._arming is None
    failpoints.fail("file.before_rename", "anything")


@pytest.fixture
def arming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "armed"
    monkeypatch.setattr(failpoints, "_arming", path)
    return path


@pytest.mark.parametrize(
    "armed", ["file.after_rename raise", "file.before_rename raise other*", "nonsense", ""]
)
def test_what_is_armed_for_another_place_does_nothing_here(armed: str, arming: Path) -> None:
    arming.write_text(armed)
    failpoints.fail("file.before_rename", "file.bin")
    assert arming.exists()


def test_an_armed_failpoint_fires_once_and_a_write_that_fails_there_leaves_no_trace(
    arming: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    write_atomically(folder / "file.bin", b"before")
    arming.write_text("file.before_rename raise *.bin")
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(folder / "file.bin", b"after")
    assert (folder / "file.bin").read_bytes() == b"before"
    write_atomically(folder / "file.bin", b"after")
    assert files_below(folder) == ["file.bin"]
    assert (folder / "file.bin").read_bytes() == b"after"


@pytest.mark.parametrize(
    ("point", "content"), [("file.before_rename", b"before"), ("file.after_rename", b"after")]
)
def test_a_process_killed_while_it_writes_leaves_the_old_file_or_the_new_one(
    point: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "file.bin"
    write_atomically(path, b"before")
    (tmp_path / "armed").write_text(f"{point} kill")
    program = (
        "import sys, pathlib; from lab_models.common.files import write_atomically;"
        " write_atomically(pathlib.Path(sys.argv[1]), b'after')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={"LAB_FAILPOINT": str(tmp_path / "armed"), "PATH": "/usr/bin"},
        check=False,
    )
    assert ended.returncode == -9
    assert path.read_bytes() == content
