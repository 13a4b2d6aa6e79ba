"""What the service depends on: its list in pyproject.toml, and the client, which is on no index but lies beside it."""

import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
CLIENT = ROOT / "client"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLACE = f" @ {CLIENT.as_uri()}" if CLIENT.is_dir() else f"=={PROJECT['project']['version']}"

setup(install_requires=[*PROJECT["dependency-groups"]["service"], f"training-lab-client{PLACE}"])
