"""What the package is: small, typed, quickly loaded, and nothing of the service."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
