"""Every shell line of the documents runs as it stands, or is named here with the reason why it cannot."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import free_port, is_alive
from tests.shell_blocks import REFUSED, ROOT, RUN, blocks, reason

NOT_2XX = {"not_a_field": "422"}
"""What an answer is called whose request is wrong on purpose."""
FILES = {
    "students.txt": "anna\nbob\n",
    "spec.json": '{"dataset": "digits", "model": "mlp", "epochs": 1}',
}
CURL = """#!/bin/bash
# curl, which writes down each answer's status; exp_… and stu_… are the newest there are
arguments=() headers=()
for word in "$@"; do
  [ "${last:-}" = -H ] && headers+=(-H "$word")
  last=$word
done
newest() {
  "$REAL_CURL" -s "${headers[@]}" "$ADDRESS/$1?limit=1" | grep -o "\\"id\\":\\"$2_[a-z0-9]*" | head -1 | cut -d'"' -f4
}
for word in "$@"; do
  case $word in
    *exp_…*) word=${word/exp_…/$(newest experiments exp)} ;;
    *stu_…*) word=${word/stu_…/$(newest studies stu)} ;;
  esac
  arguments+=("$word")
done
"$REAL_CURL" -D "$ASKED.$$" "${arguments[@]}"
ended=$?
echo "$(grep ^HTTP "$ASKED.$$" | tail -1 | cut -d' ' -f2) ${arguments[*]//$'\\n'/ }" >> "$ASKED"
rm -f "$ASKED.$$"
exit $ended
"""
LAB = """#!/bin/bash
# lab; a service goes to the background once it answers, and the one before ends, as it does for `lab restore`
stop() {
  for pid in $(cat "$PIDS"); do
    kill "$pid" 2> /dev/null
    while kill -0 "$pid" 2> /dev/null; do sleep 0.05; done
  done
  : > "$PIDS"
}
case $1 in
  serve | api)
    stop
    "$PYTHON" -m app.commands "$@" --port "$PORT" > "$PIDS.log" 2>&1 &
    pid=$!
    echo $pid >> "$PIDS"
    until "$REAL_CURL" -s -o /dev/null "$ADDRESS/healthz"; do
      kill -0 $pid 2> /dev/null || { cat "$PIDS.log" >&2; wait $pid; exit $?; }
      sleep 0.05
    done
    ;;
  restore) stop; exec "$PYTHON" -m app.commands "$@" ;;
  *) exec "$PYTHON" -m app.commands "$@" ;;
esac
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator["Shell"]:
    one = Shell(tmp_path)
    yield one
    one.stop()


class Shell:
    """A folder in which the blocks of a document run, with a `lab` and a `curl` on the PATH that note what they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "here"
        self.home, self._bin = folder / "home", folder / "bin"
        for made in (
            self.folder,
            self._bin,
            self.home / "runs",
            self.home / "imported",
            folder / "backups",
        ):
            made.mkdir(parents=True)
        for name, text in FILES.items():
            (self.folder / name).write_text(text)
        for name, text in {"curl": CURL, "lab": LAB}.items():
            (self._bin / name).write_text(text)
            (self._bin / name).chmod(0o755)
        self._port = free_port()
        self._address = f"127.0.0.1:{self._port}"
        self._pids = folder / "pids"
        self._pids.touch()
        self._asked = folder / "asked"
        self._backups = folder / "backups"

    def run(self, script: str) -> str:
        """What it printed; every request was answered as it should be."""
        for said, meant in {
            "localhost:8000": self._address,
            "THE-MACHINE:8000": self._address,
            "/backups": str(self._backups),
            "LAB_API_KEY=lab_…": "LAB_API_KEY=$(sed -n 's/^anna,submit,//p' keys.csv)",
            "experiments/exp_…": 'experiments/$(curl -s -H "Authorization: Bearer $LAB_API_KEY" $LAB_URL/experiments'
            " | grep -o 'exp_[a-z0-9]*' | head -1)",
        }.items():
            script = script.replace(said, meant)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
        result = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            check=False,
            cwd=self.folder,
            env={
                **clean,
                "PATH": f"{self._bin}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "PYTHON": sys.executable,
                "REAL_CURL": shutil.which("curl") or "",
                "ADDRESS": self._address,
                "PORT": str(self._port),
                "PIDS": str(self._pids),
                "ASKED": str(self._asked),
                "LAB_HOME": str(self.home),
                "LAB_THREADS": "1",
                "LAB_DEVICES": "cpu",
                "LAB_MIN_FREE_BYTES": "0",
            },
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        for line in self.asked():
            status, _, request = line.partition(" ")
            wanted = next((code for sign, code in NOT_2XX.items() if sign in request), "2")
            assert status.startswith(wanted), line
        return result.stdout

    def asked(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []

    def stop(self) -> None:
        """The services that the script has left."""
        pids = [int(line) for line in self._pids.read_text().split()]
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 40
        while any(map(is_alive, pids)) and time.monotonic() < until:
            time.sleep(0.05)
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


def script_of(*documents: str) -> str:
    """Their blocks, one after the other."""
    lines = [RUN[documents[0]]]
    for block in blocks():
        if block.document in documents and not reason(block):
            refused = tuple(block) == REFUSED
            lines.append(f"if ( {block.text} ); then exit 99; fi" if refused else block.text)
    return "\n".join(lines)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
@pytest.mark.timeout(500)
def test_every_line_of_readme_and_tour_runs_as_it_stands(shell: Shell) -> None:
    printed = shell.run(script_of("README.md", "docs/tour.md"))
    assert len(shell.asked()) >= 60
    assert (shell.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (shell.folder / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert (shell.folder / "metrics.csv").read_text().startswith("run_id,seed,epoch")
    whole = (shell.folder / "all-metrics.csv").read_text()
    assert whole.startswith("experiment_id,name,run_id,seed,epoch,split,metric,value\nexp_")
    assert len((shell.folder / "weights.safetensors").read_bytes()) > 1000
    assert "did you mean 'depth'?" in printed
    assert "depth 4: " in printed


@needs_curl
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "docs/keys.md" else ())
        for name in sorted(RUN.keys() - {"README.md", "docs/tour.md"})
    ],
)
def test_every_line_of_a_document_runs_as_it_stands(document: str, shell: Shell) -> None:
    script = script_of(document)
    shell.run(script)
    assert len(shell.asked()) >= script.count("curl ")


@pytest.mark.slow
def test_the_demo_says_what_it_did_and_what_is_next_in_a_screen_and_works_twice(
    tmp_path: Path,
) -> None:
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-m", "app.commands", "demo"],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "LAB_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        said = (ended.stdout + ended.stderr).splitlines()
        assert 8 <= len(said) <= 15, ended.stderr
        assert any("% (95 % interval" in line and "3 seeds" in line for line in said)
        assert sum(line.startswith(("curl -d '{", "  curl -d '{")) for line in said) == 2
        assert any("lab serve" in line for line in said)
        assert (tmp_path / ".lab-demo" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / ".lab-demo" / "service.log").exists()
