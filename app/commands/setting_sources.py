"""Where the value of each setting comes from."""

import os
from collections.abc import Iterable
from pathlib import Path

from app.settings import Settings
from app.whereabouts import ENV_FILE, env_files, find_home


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


def _named_in(path: Path) -> list[str]:
    """The settings that an `.env` file names, if it is there."""
    if not path.is_file():
        return []
    return _settings_of(
        line.partition("=")[0].strip().removeprefix("export ").strip()
        for line in path.read_text().splitlines()
    )


def _settings_of(names: Iterable[str]) -> list[str]:
    fields = (name[4:].lower() for name in names if name.upper().startswith("LAB_"))
    return [field for field in fields if field in Settings.model_fields]
