"""The proof on a card, in short form: on a card where there is one, and else on a pretend one, so that the first that
is real does not fail for a typo.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.gpus import list_gpus
from benchmarks.gpu.__main__ import LIMITS, MODULES, SERVICES
from benchmarks.gpu.checks import Check, Setting, below, holds
from tests.gpus.stand_ins import pretend_card
from tests.lab_models.conftest import PROJECT

pytestmark = [pytest.mark.gpu, pytest.mark.sqlite]


def proof(folder: Path, *phases: str) -> dict[str, list[dict[str, Any]]]:
    """What each phase found."""
    pretending = [] if list_gpus().gpus else ["--pretend"]
    if pretending:
        pretend_card(folder / "card")  # or skip
    out = folder / "gpu.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--short", *pretending]
    done = subprocess.run(
        [*command, "--out", str(out), "--only", *phases],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(out.read_text())
    found: dict[str, list[dict[str, Any]]] = document["phases"]
    assert list(found) == list(phases)
    lines = done.stdout.splitlines()[:-1]
    assert len(lines) == sum(map(len, found.values()))
    return found


@pytest.mark.costly
@pytest.mark.slow
def test_everything_trains_twice_with_the_same_bits(tmp_path: Path) -> None:
    found = proof(tmp_path, "G5", "G6", "G9", "G2")
    assert [check["verdict"] for check in found["G5"]] == ["PASS"] * 3
    assert [check["value"] for check in found["G6"]].count("twice") == 3
    assert len(found["G9"]) == 2
    said = {check["name"].rpartition(": ")[2]: check["value"] for check in found["G2"]}
    assert "images/s" in said["a step"]
    assert "times as fast as the loop" in said["graph"], "captured and launched again"
    assert said["an epoch, by its record and by CUDA events"].count(" s") == 2
    assert said["seconds of a record, off by"].endswith("%")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_service_is_put_to_the_proof(tmp_path: Path) -> None:
    phases = [phase for phase in LIMITS if phase in SERVICES or phase == "G8"]
    found = proof(tmp_path, *phases)
    assert found["G7"][0]["verdict"] == "PASS"
    assert "cuda:7" in found["G12"][0]["value"]
    assert any("under MPS" in check["name"] for check in found["G4"])
    assert [check["verdict"] for check in found["G8"]][-2:] == ["PASS", "PASS"]


def test_every_phase_has_a_limit_and_a_place() -> None:
    assert (
        set(LIMITS)
        == {phase for names in MODULES.values() for phase in names}
        == {f"G{number}" for number in range(13)}
    )


def test_a_figure_is_held_against_its_threshold_on_a_real_card_alone(tmp_path: Path) -> None:
    real, pretend = (
        Setting("cuda:0", one, is_short=False, folder=tmp_path) for one in (False, True)
    )
    assert below("an epoch", 2.0, 1.6, real) == Check("FAIL", "an epoch", "2 s", "at most 1.6 s")
    assert below("an epoch", 1.5, 1.6, real).verdict == "PASS"
    assert below("an epoch", 2.0, 1.6, pretend).verdict == "INFO"
    line = holds("bits", True, "twice", "equal SHA-256").line("G6")
    assert line == "PASS G6 bits twice (equal SHA-256)"
