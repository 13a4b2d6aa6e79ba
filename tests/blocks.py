"""The blocks of shell and Python in the documents: where they stand, which of them tests/e2e/test_documents.py runs,
what they print, and what can be checked without running them.
"""

import argparse
import ast
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
FENCES = re.compile(
    r"^ *```(bash|sh|shell|python)\n(.*?)^ *```$(?:\n\s*^ *```text output\n(.*?)^ *```$)?",
    re.DOTALL | re.MULTILINE,
)
"""A block, and the one below it that says what it prints."""
OLD_CURL = {"-s", "-f", "-d", "-N", "-o", "-w", "-X", "-H", "-T", "--data-binary"}
"""What curl 7.68 of 2020 has, too."""

RUN = {
    "README.md": "lab serve --workers 1",
    "docs/tour.md": "lab serve --workers 1",
    "docs/tutorial.md": "lab serve --workers 2",
    "docs/statistics.md": "lab serve --workers 2",
    "docs/how-to.md": "lab serve --workers 2",
    "docs/taking-out.md": "lab serve --workers 1",
    "docs/studies.md": "lab api",
    "docs/layers.md": "lab api",
    "docs/operations.md": "lab serve --workers 1",
    "docs/operators.md": "",
    "docs/instructors.md": "",
    "docs/keys.md": "",
    "docs/proxy.md": "",
}
"""Whose blocks run, in one shell and one Python from the first to the last, after this line. A study of studies.md is
made and not trained.
"""
RUN_BY = {
    ("docs/client.md", "python"): "tests/e2e/test_client.py",
    ("docs/weights.md", "python"): "tests/app/test_weights_page.py",
    ("docs/webhooks.md", "python"): "tests/app/test_webhook_sender.py",
}
"""Documents whose blocks of a language a test of their own reads and runs."""
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
    """A block in a document, its language, and what it is said to print, None where nothing is said."""

    document: str
    text: str
    language: str = "bash"
    output: str | None = None

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
        for language, text, output in FENCES.findall(path.read_text()):
            document = str(path.relative_to(ROOT))
            kind = "python" if language == "python" else "bash"
            yield Block(document, text, kind, output or None)


def printed_as_said(said: str, printed: str) -> bool:
    """Whether a block has printed what stands below it, where `…` stands for anything."""
    parts = (" ".join(part.split()) for part in said.strip().split("…"))
    pattern = ".*?".join(map(re.escape, parts))
    return re.fullmatch(pattern, " ".join(printed.split()), re.DOTALL) is not None


def runner(block: Block) -> str | None:
    """The test that runs a block of its document; None for one that nothing runs."""
    if reason(block) is not None:
        return None
    if (block.document, block.language) in RUN_BY:
        return RUN_BY[block.document, block.language]
    return "tests/e2e/test_documents.py" if block.document in RUN else None


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
    """What bash or Python, the command line's own parser, the Makefile and an old curl would not take."""
    if block.language == "python":
        try:
            compile(block.text, block.document, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError as error:
            return [str(error)]
        return []
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


def inline_commands() -> Iterator[Block]:
    """Every `lab …` that stands in a sentence or a table, but those of the decisions."""
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ):
        if "decisions" not in path.parts:
            text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
            for said in re.findall(r"(?<!`)`lab ([^`]+)`(?!`)", text):
                yield Block(str(path.relative_to(ROOT)), " ".join(f"lab {said}".split()))


def unknown_words(command: Block, parser: argparse.ArgumentParser) -> str:
    """What no such command has, as a sentence; nothing if all is known. Words in capitals and `…` stand for others."""
    place = f"{command.document}: {command.text}"
    words = re.split(r"[\s\[\]|\\]+", command.text)[1:]
    while words and re.fullmatch(r"[a-z-]+", words[0]) and not words[0].startswith("-"):
        below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not below:
            break
        if words[0] not in below[0].choices:
            return f"{place}: no command {words[0]}"
        parser = below[0].choices[words.pop(0)]
    options = {option for action in parser._actions for option in action.option_strings}
    asked = [re.match(r"-{1,2}[a-z-]+", word) for word in words]
    missing = [one[0] for one in asked if one is not None and one[0] not in options]
    return f"{place}: no option {', '.join(missing)}" if missing else ""
