"""One line of the proof, and what a phase of it is told."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["PASS", "FAIL", "INFO"]


@dataclass(frozen=True)
class Check:
    """`value` is what was found; `threshold` what it is held against, empty for what is only told."""

    verdict: Verdict
    name: str
    value: str
    threshold: str = ""

    def line(self, phase: str) -> str:
        """As a person reads it."""
        held = f" ({self.threshold})" if self.threshold else ""
        return f"{self.verdict} {phase} {self.name} {self.value}{held}"

    def document(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Setting:
    """`device` as torch names it; a pretend card computes on the CPU, and its services train there. `is_short`: the
    smallest of everything, to see that the phase runs at all. `folder` is the phase's own.
    """

    device: str
    is_pretend: bool
    is_short: bool
    folder: Path

    @property
    def service_device(self) -> str:
        """Where a service's workers train."""
        return "cpu" if self.is_pretend else self.device

    def sized(self, whole: int, short: int) -> int:
        """How many of something."""
        return short if self.is_short else whole


def info(name: str, value: object) -> Check:
    """What is only told."""
    return Check("INFO", name, str(value))


def holds(name: str, is_so: bool, value: object, threshold: str) -> Check:
    """What must be so."""
    return Check("PASS" if is_so else "FAIL", name, str(value), threshold)


def above(name: str, value: float, least: float, setting: Setting, unit: str) -> Check:
    """As `below`, of a figure that must not be smaller."""
    text = f"{value:.3g} {unit}"
    if setting.is_pretend or setting.is_short:
        return Check("INFO", name, text, f"on a card at least {least:g} {unit}")
    return holds(name, value >= least, text, f"at least {least:g} {unit}")


def below(name: str, value: float, most: float, setting: Setting, unit: str = "s") -> Check:
    """A figure that must not be larger; of a pretend card, or of the short form, it is only told."""
    text = f"{value:.3g} {unit}"
    if setting.is_pretend or setting.is_short:
        return Check("INFO", name, text, f"on a card at most {most:g} {unit}")
    return holds(name, value <= most, text, f"at most {most:g} {unit}")
