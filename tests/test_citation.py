"""CITATION.cff says what pyproject.toml says."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def test_what_is_cited_is_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert str(cited["version"]) == project["version"]
    assert (cited["title"], cited["license"]) == (project["name"], project["license"])
    assert cited["abstract"] == project["description"]
    assert cited["authors"] == [{"name": "training-lab contributors"}], "an entity, no persons"
