"""Every block of the documents runs as it stands and prints what is said below it; tests/blocks.py names those that
cannot run, with the reason.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blocks import REFUSED, ROOT, RUN, Block, blocks, printed_as_said, runner
from tests.e2e.service import free_port, is_alive
from tests.postgres import Cluster

NOT_2XX = {
    "not_a_field": "422",
    "hiden": "422",
    "bundles?owner=student2": "404",
    "bundles?owner=student3": "404",
}
"""What an answer is called whose request is wrong on purpose, or asks for what there is not."""
FILES = {
    "students.txt": "anna\nbob\n",
    "students.csv": "name,login\n" + "".join(f"Student {n},student{n}\n" for n in range(1, 41)),
    "spec.json": '{"dataset": "digits", "model": "mlp", "epochs": 1, "labels": {"exercise": "1.2"}}',
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
exec 3>&-
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
CELLS = """import ast, asyncio, inspect, os, sys, traceback
# one Python for all blocks of a script: a line names a file, which is run; `ok` is answered once it has
sys.stdout, answers = os.fdopen(3, "w"), os.fdopen(1, "w")
known = {"__name__": "__main__"}
loop = asyncio.new_event_loop()
for line in sys.stdin:
    try:
        text = open(line.strip()).read()
        code = compile(text, line.strip(), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if inspect.iscoroutine(coroutine := eval(code, known)):
            loop.run_until_complete(coroutine)
        answer = "ok"
    except BaseException:
        traceback.print_exc()
        answer = "failed"
    sys.stdout.flush()
    print(answer, file=answers, flush=True)
"""
PROLOGUE = """exec 3>&1
coproc CELLS { "$PYTHON" "$BIN/cells.py"; }
python_block() { echo "$1" >&"${CELLS[1]}"; read -r -u "${CELLS[0]}" answer; [ "$answer" = ok ]; }
"""
MARK = "@@ block"
POSTGRESQL = "postgresql+psycopg://lab:PASSWORD@api-host/lab"


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
        for name, text in {"curl": CURL, "lab": LAB, "cells.py": CELLS}.items():
            (self._bin / name).write_text(text)
            (self._bin / name).chmod(0o755)
        self._port = free_port()
        self._address = f"127.0.0.1:{self._port}"
        self._pids = folder / "pids"
        self._pids.touch()
        self._asked = folder / "asked"
        self._backups = folder / "backups"

    def run(self, *documents: str, **meant: str) -> str:
        """What their blocks printed, one after the other: as it is said, and every request was answered as it should
        be. `meant` says what `POSTGRESQL` stands for.
        """
        chosen = [
            block
            for document in documents
            for block in blocks()
            if block.document == document and runner(block) == "tests/e2e/test_documents.py"
        ]
        lines = [PROLOGUE, self._meant(RUN[documents[0]])]
        for number, block in enumerate(chosen):
            lines += [f"printf '\\n{MARK} {number}\\n'", self._line(block, number)]
        printed = self._bash("\n".join(lines).replace(POSTGRESQL, meant.get("postgresql", "")))
        parts = re.split(rf"\n{MARK} \d+\n", printed)[1:]
        assert len(parts) == len(chosen)
        for block, part in zip(chosen, parts, strict=True):
            if block.output is not None:
                assert printed_as_said(
                    block.output, part.replace(self._address, "localhost:8000")
                ), f"{block.document}: {block.first_line}\nsaid:\n{block.output}\nprinted:\n{part}"
        return printed

    def _line(self, block: Block, number: int) -> str:
        """The shell's line for a block."""
        text = self._meant(block.text)
        if block.language == "python":
            file = self._bin / f"block{number}.py"
            file.write_text(text)
            return f"python_block {file}"
        return f"if ( {text} ); then exit 99; fi" if tuple(block)[:2] == REFUSED else text

    def _meant(self, text: str) -> str:
        """With the addresses, folders and keys that stand here for those of the documents."""
        for said, meant in {
            "localhost:8000": self._address,
            "THE-MACHINE:8000": self._address,
            "/backups": str(self._backups),
            "LAB_API_KEY=lab_…": "LAB_API_KEY=$(sed -n 's/^anna,submit,//p' keys.csv)",
            "experiments/exp_…": 'experiments/$(curl -s -H "Authorization: Bearer $LAB_API_KEY" $LAB_URL/experiments'
            " | grep -o 'exp_[a-z0-9]*' | head -1)",
        }.items():
            text = text.replace(said, meant)
        return text

    def _bash(self, script: str) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LAB_")}
        result = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{script}"],
            check=False,
            cwd=self.folder,
            env={
                **clean,
                "PATH": f"{self._bin}:{os.environ['PATH']}",
                "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
                "PYTHON": sys.executable,
                "REAL_CURL": shutil.which("curl") or "",
                "ADDRESS": self._address,
                "PORT": str(self._port),
                "BIN": str(self._bin),
                "LAB_URL": f"http://{self._address}",
                "XDG_CONFIG_HOME": str(self._bin),
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


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
@pytest.mark.timeout(500)
def test_every_line_of_readme_and_tour_runs_as_it_stands(shell: Shell) -> None:
    printed = shell.run("README.md", "docs/tour.md")
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
@pytest.mark.slow
def test_every_line_of_tutorial_and_statistics_runs_and_prints_what_stands_there(
    shell: Shell,
) -> None:
    shell.run("docs/tutorial.md", "docs/statistics.md")  # which takes its runs over
    assert (shell.folder / "depth.png").read_bytes().startswith(b"\x89PNG")
    assert "depth and shortcuts" in (shell.folder / "report.html").read_text()
    assert zipfile.is_zipfile(shell.folder / "hand-in.zip")
    assert len(list(shell.folder.glob("statistics-*.png"))) == 3


@needs_curl
@pytest.mark.slow
def test_every_line_of_the_answers_and_of_what_is_taken_out_runs(shell: Shell) -> None:
    printed = shell.run("docs/how-to.md", "docs/taking-out.md")
    assert '"agreement":"bit_equal"' in printed
    assert (shell.folder / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert (shell.folder / "numbers.csv").read_text().count(
        "\n"
    ) == 1 + 2 * 3 * 4  # experiments, seeds, epochs


@needs_curl
@pytest.mark.slow
def test_every_line_for_instructors_runs(shell: Shell) -> None:
    printed = shell.run("docs/instructors.md")
    assert (shell.folder / "keys.csv").read_text().count(",submit,lab_") == 40
    assert "student1" in (shell.folder / "class.html").read_text()
    assert "reproduce.sh" in printed


@needs_curl
@pytest.mark.slow
@pytest.mark.postgres
def test_every_line_for_operators_runs(shell: Shell, postgresql: Cluster) -> None:
    printed = shell.run("docs/operators.md", postgresql=postgresql.url(postgresql.create()))
    assert '"role":"admin"' in printed
    assert '"owner":{"name":"operator"' in printed


@needs_curl
@pytest.mark.parametrize(
    "document",
    [
        "docs/operations.md",
        "docs/proxy.md",
        "docs/studies.md",
        "docs/layers.md",
        pytest.param("docs/keys.md", marks=pytest.mark.slow),
    ],
)
def test_every_line_of_a_document_runs_as_it_stands(document: str, shell: Shell) -> None:
    printed = shell.run(document)
    asked = sum(
        block.text.count("curl ")
        for block in blocks()
        if block.document == document and runner(block)
    )
    assert printed
    assert len(shell.asked()) >= asked


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
