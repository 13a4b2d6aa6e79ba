"""Output that is closed, full, cut off, or of an old encoding: each a `lab` of its own, as a shell starts it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.test_objects import DIGITS
from training_lab import Lab
from training_lab.standard_streams import written

pytestmark = pytest.mark.sqlite

Shell = Callable[..., "subprocess.CompletedProcess[str]"]
NAME = "längere Zeit 日本語"
FULL = Path("/dev/full")


@pytest.fixture
def shell(url: str, tmp_path: Path) -> Shell:
    """Runs a line of bash in which `lab` is the client's; status 141 or the like is that of the first in a pipe."""
    script = tmp_path / "bin" / "lab"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m training_lab "$@"\n')
    script.chmod(0o755)

    def run(line: str, **more: str) -> "subprocess.CompletedProcess[str]":
        kept = {
            name: one for name, one in os.environ.items() if not name.startswith(("LC_", "LANG"))
        }
        environment = {
            **kept,
            "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LAB_URL": url,
            **more,
        }
        return subprocess.run(
            ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.mark.costly
@pytest.mark.parametrize("words", ["--version", "ls", "show @last", "ls --json", "me"])
def test_output_that_cannot_be_written_is_a_sentence_or_nothing(
    words: str, shell: Shell, lab: Lab
) -> None:
    lab.submit(DIGITS, name=NAME)
    cut = shell(f"lab {words} | true")
    assert cut.returncode in (0, 1), "0 where all was written before anybody had gone"
    assert cut.stderr == ""
    closed = shell(f"lab {words} >&-")
    assert (closed.returncode, closed.stderr) == (0, "")
    if FULL.exists():
        full = shell(f"lab {words} > {FULL}")
        assert (full.returncode, full.stderr) == (
            1,
            "standard output cannot be written: No space left on device\n",
        )


@pytest.mark.costly
def test_errors_that_nobody_can_read_keep_their_status(shell: Shell) -> None:
    for where in (">&-", f"> {FULL}" if FULL.exists() else ">&-"):
        assert shell(f"lab show nothing 2{where}").returncode == 2
        assert shell(f"lab show exp_0000000000000 2{where}").returncode == 1


@pytest.mark.slow
@pytest.mark.costly
def test_what_an_old_encoding_lacks_is_a_question_mark_and_json_stays_json(
    shell: Shell, lab: Lab
) -> None:
    lab.submit(DIGITS, name=NAME)
    old = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    said = shell("lab ls", **old)
    assert (said.returncode, said.stderr) == (0, "")
    assert "l?ngere Zeit ???" in said.stdout
    (row,) = json.loads(shell("lab ls --json", **old).stdout)
    assert row["name"] == NAME
    assert shell("lab doctor", PYTHONIOENCODING="latin-1").stdout.startswith("   what")


def test_ctrl_c_at_any_time_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    def loading() -> int:
        raise KeyboardInterrupt

    assert written(loading) == 130
    assert capsys.readouterr().err == "Interrupted.\n"
