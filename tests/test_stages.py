"""`make test` runs all its stages whatever fails, and sums up."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent


def command(*stages: str) -> list[str]:
    return [sys.executable, "-m", "tests.stages", "make test", "about half an hour", *stages]


def run(folder: Path, *stages: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*stages),
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_a_stage_that_fails_hides_none_of_the_others(tmp_path: Path) -> None:
    ended = run(tmp_path, "first: echo one", "second: exit 3", "third: A=b; echo $A three")
    assert ended.returncode == 1
    assert ended.stdout == "one\nb three\n"
    assert ended.stderr.startswith(
        "make test: 3 stages, about half an hour. All run, whatever fails.\n"
    )
    words = [line.split() for line in ended.stderr.split("---\n")[1].splitlines()]
    assert [(line[0], line[-1]) for line in words] == [
        ("passed", "first"),
        ("FAILED", "second"),
        ("passed", "third"),
    ]


def test_the_second_time_it_says_how_long_the_first_took(tmp_path: Path) -> None:
    assert run(tmp_path, "first: true", "second: true").returncode == 0
    times = tmp_path / ".pytest_cache" / "stages.json"
    assert set(json.loads(times.read_text())) == {"first", "second"}
    times.write_text('{"first": 100.0, "second": 33.4, "other": 1.0}')
    again = run(tmp_path, "first: true", "second: false")
    assert "2 stages, about half an hour; 2 min 13 s here the last time." in again.stderr
    assert json.loads(times.read_text())["second"] == 33.4


def test_ctrl_c_stops_at_once_and_says_what_was_left(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("first: true", "second: echo there; exec cat", "third: true"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # what a shell starts with `&` ignores SIGINT, and its children do
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "stopped in second" in said
    assert [line.split()[-1] for line in said.splitlines() if line.startswith("not run")] == [
        "second",
        "third",
    ]


def test_make_test_and_make_check_run_their_stages_by_it() -> None:
    for target in ("test", "check"):
        said = subprocess.run(
            ["make", "--dry-run", "--always-make", target],
            check=True,
            cwd=ROOT,
            capture_output=True,
            text=True,
        ).stdout
        stages = said[said.index("-m tests.stages") :]
        assert stages.count("-m pytest") == 3
        assert "LAB_TEST_DATABASE=postgresql" in stages
