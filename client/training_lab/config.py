"""The service and the key that `lab login` has stored: `config.toml` in `$XDG_CONFIG_HOME/lab` or `~/.config/lab`."""

import json
import os
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path

from training_lab.errors import Unusable
from training_lab.user_folders import user_folder

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True)
class Stored:
    """A service, and the key for it and no other."""

    url: str
    key: str | None


def config_path() -> Path:
    """Where it is, or would be; raises Unusable where that is not known."""
    return user_folder("XDG_CONFIG_HOME", ".config") / "lab" / "config.toml"


def stored() -> Stored | None:
    """What is stored; None where nothing is. Raises Unusable for a file that cannot be read."""
    try:
        path = config_path()
    except Unusable:
        return None
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Unusable(f"{path} is not TOML: {error}; `lab login` writes it anew") from error
    url, key = found.get("url"), found.get("key")
    if not isinstance(url, str) or not isinstance(key, str | None):
        raise Unusable(f"{path} must have a text 'url', and may have 'key': `lab login` writes it")
    return Stored(url, key)


def store(url: str, key: str | None) -> Path:
    """Store both, for their owner's eyes alone, in place of what was there; returns where. Raises Unusable."""
    path = config_path()
    # what JSON writes of printable texts is a string of TOML as well
    lines = [f"url = {json.dumps(url)}", *([] if key is None else [f"key = {json.dumps(key)}"])]
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unusable(f"{path} cannot be written: {error.strerror}") from error
    return path
