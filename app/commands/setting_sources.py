"""Where the value of each setting comes from."""

import os

from app.settings import Settings
from app.whereabouts import ENV_FILE, env_files, find_home


def setting_sources() -> dict[str, str]:
    """For each setting, as the next `Settings()` would read it: `environment`, `.env` or that of a folder above,
    `found`, or `default`.
    """
    found = find_home()
    sources = dict.fromkeys(Settings.model_fields, "default")
    if found.above is not None:
        sources["home"] = "found"
    for path in reversed(env_files(found)):
        name = ENV_FILE if path.parent == found.start else str(path)
        sources |= {
            line.partition("=")[0].strip().removeprefix("export ").strip().lower()[4:]: name
            for line in path.read_text().splitlines()
        }
    given = {
        key.lower()[4:] for key, value in os.environ.items() if value and key.upper()[:4] == "LAB_"
    }
    return {
        name: "environment" if name in given else sources[name] for name in Settings.model_fields
    }
