"""The shell lines of the documents: where they stand, which of them tests/e2e/test_documents.py runs, and what can be
checked without running them.
"""

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
MAKEFILE = ROOT / "Makefile"
LAB = re.compile(
    r"(?:^|[;&|(]|\bdo\b|\bthen\b|-T api\b|(?P<xargs>\bxargs -n 1))\s*(?:[A-Z_]+=\S* )*(?:\.venv/bin/)?"
    r"lab (?P<arguments>[a-z-][^\n;&|)#<>]*)",
    re.MULTILINE,
)
"""A `lab` where a command stands; to the one of `xargs` belongs one more argument."""
MAKE = re.compile(r"(?:^|[;&|] *)make (?P<arguments>[^\n;&|#]*)", re.MULTILINE)
OLD_CURL = {"-s", "-d", "-N", "-o", "-w", "-X", "-H", "-T", "--data-binary"}
"""What curl 7.68 of 2020 has, too."""

RUN = {
    "README.md": "lab serve --workers 1",
    "docs/tour.md": "lab serve --workers 1",
    "docs/studies.md": "lab api",
    "docs/operations.md": "lab serve --workers 1",
    "docs/keys.md": "",
    "docs/proxy.md": "",
}
"""Whose blocks run, in one shell from the first to the last, after this line. A study is made and not trained."""
INSTALLS = "installs; tests/test_install.py runs the Makefile, the demo has a test of its own"
DOCKER = "needs Docker; `make compose-test` does the same"
TRACKERS = (
    "needs a tracker; tests/client/test_sync.py and tests/client/test_trackers.py do the same"
)
NOT_RUN = {
    ("docs/trackers.md", "lab sync tensorboard"): TRACKERS,
    ("docs/trackers.md", "export MLFLOW_"): TRACKERS,
    ("docs/trackers.md", "export LAB_URL"): TRACKERS,
    ("docs/trackers.md", "LAB_TRACKERS=mlflow"): "tests/client/test_server_wide.py does the same",
    ("README.md", "make demo"): INSTALLS,
    ("README.md", "make install"): INSTALLS,
    ("CONTRIBUTING.md", "make install "): INSTALLS + "; sudo",
    ("docs/containers.md", ""): DOCKER,
    ("docs/client.md", "pip install "): INSTALLS,
    ("docs/machines.md", "sudo "): "needs root on two machines",
    ("docs/machines.md", "pip install "): INSTALLS,
    ("docs/machines.md", "lab keys create"): "two machines; tests/e2e/test_machines.py is one",
    ("docs/machines.md", "lab worker --workers 1"): "tests/e2e/test_batch.py does the same",
    ("docs/machines.md", "sbatch "): "needs Slurm; tests/e2e/test_batch.py runs the script",
    ("docs/operations.md", "journalctl "): "needs a service of systemd",
    (
        "docs/studies.md",
        "lab study examples/",
    ): "a file of the checkout; tests/app/test_study_commands.py prices it, and all recipes",
    (
        "docs/watching.md",
        "curl -N",
    ): "goes on until what is watched has ended; tests/app/test_watching.py reads such streams",
    (
        "docs/webhooks.md",
        "curl ",
    ): "sends to others' addresses; tests/app/test_webhooks.py makes the same",
    ("docs/proxy.md", "nginx -t"): "needs root; tests/e2e/test_proxy.py has nginx read the file",
    ("docs/proxy.md", "caddy validate"): "needs root, and Caddy",
    (
        "docs/proxy.md",
        "curl -s -o /dev/null",
    ): "needs a name and a certificate; as test_proxy.py asks",
}
"""Blocks by document and beginning. Their syntax, `lab` lines, targets and options are checked like all others'."""
REFUSED = ("docs/keys.md", "lab serve --host 0.0.0.0\n")
"""What the text shows to be refused."""


class Block(NamedTuple):
    """A block of shell in a document."""

    document: str
    text: str

    @property
    def first_line(self) -> str:
        return self.text.splitlines()[0]


def blocks() -> Iterator[Block]:
    """In the order in which they stand; the decisions are history, the changelog is too."""
    names = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
    found = [ROOT / name for name in names] + sorted((ROOT / "docs").rglob("*.md"))
    for path in found:
        if "decisions" in path.parts:
            continue
        for text in re.findall(
            r"^ *```(?:bash|sh|shell)\n(.*?)^ *```", path.read_text(), re.DOTALL | re.MULTILINE
        ):
            yield Block(str(path.relative_to(ROOT)), text)


def reason(block: Block) -> str | None:
    """Why a block is not run."""
    return next(
        (
            said
            for (document, beginning), said in NOT_RUN.items()
            if block.document == document and block.text.startswith(beginning)
        ),
        None,
    )


def faults(block: Block, parser: argparse.ArgumentParser) -> list[str]:
    """What bash, the command line's own parser, the Makefile and an old curl would not take."""
    checked = subprocess.run(
        ["bash", "-n"], check=False, input=block.text, capture_output=True, text=True
    )
    said = [checked.stderr] if checked.returncode else []
    words = re.sub(r"\\\n", " ", block.text)
    for match in LAB.finditer(words):
        arguments = shlex.split(match["arguments"]) + (["one-more"] if match["xargs"] else [])
        try:
            parser.parse_args(arguments)
        except (SystemExit, argparse.ArgumentError):
            said.append(f"no such command: lab {match['arguments']}")
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE.read_text(), re.MULTILINE))
    for match in MAKE.finditer(words):
        asked = [word for word in shlex.split(match["arguments"]) if "=" not in word]
        said += [f"no such target: make {target}" for target in asked if target not in targets]
    for line in re.findall(r"\bcurl ([^\n|;&]*)", re.sub(r"'[^']*'", "''", words)):
        options = re.findall(r"(?<![^\s])(--?[a-zA-Z-]+)", line)
        said += [f"not of every curl: {option}" for option in options if option not in OLD_CURL]
    return said
