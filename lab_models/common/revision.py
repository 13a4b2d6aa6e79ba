"""Which code this is. Standard library only."""

import os
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

RESULTS_VERSION = 2
"""Grows when the same spec, seed and images would give other numbers: a finished run is taken again only under the
version that made it.
"""


@cache
def source_revision() -> str | None:
    """The commit this code was checked out or built from: `LAB_REVISION`, else what git says of its folder, else
    None.
    """
    if revision := os.environ.get("LAB_REVISION"):
        return revision
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


@cache
def package_version() -> str | None:
    """The installed distribution's version; None when the lab is used from its folder alone."""
    return _version("training-lab")


@cache
def torch_version() -> str | None:
    """That of the torch that is installed here, without loading it; None where there is none."""
    return _version("torch")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
