"""Where the value of each setting comes from, and what is named like one and is none."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from app.settings import Settings
from app.whereabouts import ENV_FILE, env_files, find_home

OF_OTHERS: Final = frozenset(
    {
        *("API_KEY", "URL", "REVISION", "FAILPOINT", "TEST_DATABASE"),
        *("BIND", "PORT", "WORKERS", "DATA", "POSTGRES_PASSWORD", "REDIS_PASSWORD"),
        *("API_MEMORY", "WORKER_MEMORY", "POSTGRES_MEMORY"),
    }
)
"""What the command line, the processes, docker-compose.yml and the tests read under such a name (without `LAB_`)."""


def setting_sources() -> dict[str, str]:
    """For each setting, as the next `Settings()` would read it: `environment`, `.env` or that of a folder above,
    `found`, or `default`.
    """
    found = find_home()
    given = dict.fromkeys(
        _settings_of(key for key, value in os.environ.items() if value), "environment"
    )
    here = dict.fromkeys(_named_in(found.start / ENV_FILE), ENV_FILE)
    above: dict[str, str] = {}
    if found.above is not None and "home" not in given | here:
        above["home"] = "found"
        for path in env_files(found):
            if path.parent == found.above:
                above |= dict.fromkeys(_named_in(path), str(path))
    return dict.fromkeys(Settings.model_fields, "default") | above | here | given


def unknown_names() -> list[str]:
    """A sentence for each variable `LAB_...`, of the environment and of the `.env` files that are read, that nobody
    reads.
    """
    found = find_home()
    said = dict.fromkeys(os.environ, "in the environment")
    for path in (found.start / ENV_FILE, *env_files(found)):
        said |= dict.fromkeys(_names_in(path), f"in {path}")
    own = [f"LAB_{name.upper()}" for name in Settings.model_fields]
    read = {*own, *(f"LAB_{name}" for name in OF_OTHERS)}
    sentences = []
    for name, where in said.items():
        if name.upper().startswith("LAB_") and name.upper() not in read:
            near = difflib.get_close_matches(name.upper(), own, n=1, cutoff=0.8)
            hint = f"did you mean {near[0]}?" if near else "`lab settings` prints all there are"
            sentences.append(f"{name} ({where}) is no setting and changes nothing: {hint}")
    return sentences


def _named_in(path: Path) -> list[str]:
    """The settings that an `.env` file names, if it is there."""
    return _settings_of(_names_in(path))


def _names_in(path: Path) -> list[str]:
    """All names in an `.env` file, if it is there."""
    if not path.is_file():
        return []
    names = (
        line.partition("=")[0].strip().removeprefix("export ").strip()
        for line in path.read_text().splitlines()
    )
    return [name for name in names if not name.startswith("#")]


def _settings_of(names: Iterable[str]) -> list[str]:
    fields = (name[4:].lower() for name in names if name.upper().startswith("LAB_"))
    return [field for field in fields if field in Settings.model_fields]
