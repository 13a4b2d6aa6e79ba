"""What the package is: small, typed, quickly loaded, and nothing of the service."""

import importlib
import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from training_lab.commands.running import parser_with, run
from training_lab.commands.service_commands import OF_THE_SERVICE

ROOT = Path(__file__).parent.parent.parent
CLIENT = ROOT / "client"
MOST_BYTES, MOST_PACKAGES = 25_000_000, 14


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{CLIENT}{os.pathsep}{ROOT}"}


def needed() -> set[str]:
    """The packages that are installed with it, by what the installed ones say of themselves."""
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(row) for row in project["dependencies"]]
    found: set[str] = set()
    while waiting:
        row = waiting.pop()
        name = canonicalize_name(row.name)
        if name in found or (row.marker and not row.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += map(Requirement, importlib.metadata.requires(name) or ())
    return found


def test_it_is_small_with_all_that_it_needs() -> None:
    """Without compiled files, which a pip install adds: 20 MB with them, measured in a new environment."""
    packages = needed()
    assert {"httpx", "rich", "pyyaml"} <= packages
    assert not {"numpy", "pydantic", "fastapi", "torch"} & packages
    assert len(packages) + 1 <= MOST_PACKAGES
    files = [
        file
        for name in packages
        for file in importlib.metadata.distribution(name).files or ()
        if file.suffix != ".pyc"
    ]
    own = sum(path.stat().st_size for path in CLIENT.rglob("*.py"))
    assert own + sum(file.size or 0 for file in files) < MOST_BYTES / 2


HEAVY = {
    "app",
    "lab_models",
    "numpy",
    "yaml",
    "pandas",
    "pyarrow",
    "IPython",
    "pydantic",
    "safetensors",
}


def test_it_loads_neither_the_service_nor_what_draws_or_computes() -> None:
    program = "import sys, training_lab; print(*{name.partition('.')[0] for name in sys.modules})"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(said.stdout.split())
    assert "training_lab" in loaded
    assert not HEAVY & loaded


@pytest.mark.costly
def test_its_sessions_have_the_types_that_are_said_of_them() -> None:
    """By mypy, as strict as `make types`, which goes through the package itself."""
    said = subprocess.run(
        [Path(sys.executable).with_name("mypy"), "tests/client/sessions.py"],
        env=environment(),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout


def project_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


def test_the_script_is_the_clients_alone_and_the_service_adds_its_commands_to_it() -> None:
    assert project_of(CLIENT)["scripts"] == {"lab": "training_lab.__main__:main"}
    assert "scripts" not in project_of(ROOT)
    (place,) = project_of(ROOT)["entry-points"]["lab.commands"].values()
    plugin = importlib.import_module(place)
    names = set(parser_with([plugin])._subparsers._group_actions[0].choices)  # type: ignore[union-attr]
    assert set(OF_THE_SERVICE) <= names


@pytest.mark.parametrize("is_beside", [True, False])
def test_the_service_depends_on_the_client_beside_it_or_on_its_version(
    is_beside: bool, tmp_path: Path
) -> None:
    """By its metadata, as pip asks for them."""
    source, made = tmp_path / "a checkout", tmp_path / "made"
    for folder in (source, made, *([source / "client"] if is_beside else [])):
        folder.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    program = (
        f"from setuptools import build_meta as b; b.prepare_metadata_for_build_wheel({str(made)!r})"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=source, check=True, capture_output=True
    )
    (metadata,) = made.glob("*.dist-info/METADATA")
    rows = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist")]
    (client,) = (row for row in rows if "training-lab-client" in row)
    version = project_of(ROOT)["version"]
    where = f" @ {(source / 'client').as_uri()}" if is_beside else f"=={version}"
    assert client == f"Requires-Dist: training-lab-client{where}"
    assert any(row.startswith("Requires-Dist: fastapi") for row in rows)


def test_without_the_service_its_commands_say_what_to_install(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in (["serve", "--port", "1"], ["keys", "create", "ann"], ["gc"], ["demo", "--help"]):
        assert run(parser_with([]), words, []) == 2
        assert f"`lab {words[0]}` needs the service, and here is the client alone" in (
            capsys.readouterr().err
        )
    assert run(parser_with([]), ["me", "--url", "localhost"], []) == 2


PASS, TRIES, MOST_TIMES = ["-c", "pass"], 5, 10
EAGER = {"httpx", "rich", "asyncio", "yaml", "numpy", "torch"}


def cpu_seconds(words: list[str]) -> float:
    """Of a Python in a process of its own: the least of several."""
    found = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], env=environment(), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_the_version_costs_no_more_than_ten_times_what_python_does() -> None:
    assert cpu_seconds(["-m", "training_lab", "--version"]) < MOST_TIMES * cpu_seconds(PASS)


@pytest.mark.parametrize("words", [["--version"], ["completion", "bash"]])
def test_what_a_shell_waits_for_loads_nothing_that_speaks_or_draws(words: list[str]) -> None:
    program = (
        f"import sys; sys.argv[1:] = {words!r}; from training_lab.__main__ import main; main();"
        " print('loaded', *{name.partition('.')[0] for name in sys.modules})"
    )
    bare = [sys.executable, "-c", program]
    said = subprocess.run(bare, env=environment(), check=True, capture_output=True, text=True)
    loaded = set(said.stdout.splitlines()[-1].split())
    assert "training_lab" in loaded
    assert not EAGER & loaded
