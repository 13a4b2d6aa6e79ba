"""What experiments are about, in a few words: data set and network. Every spec of a fingerprint says the same, so it is
read once.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.storage.tables import Experiment
from lab_models.architectures.naming import describe
from lab_models.specs import read_spec

MOST_KNOWN = 10_000
"""Fingerprints that are remembered."""


@dataclass(frozen=True)
class SubjectInWords:
    """The data set's name, the network in words, and whether another seed gives other numbers."""

    dataset: str
    network: str
    depends_on_seed: bool


_known: dict[str, SubjectInWords] = {}


def subject_of(fingerprint: str, spec: Mapping[str, Any]) -> SubjectInWords:
    """Of an experiment whose effective spec is at hand."""
    known = _known.get(fingerprint)
    if known is None:
        read = read_spec(spec)
        known = SubjectInWords(read.dataset.name, describe(read.network), read.depends_on_seed)
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[fingerprint] = known
    return known


def subjects_of(session: Session, fingerprints: Mapping[str, str]) -> dict[str, SubjectInWords]:
    """Of experiments by their ids, whose fingerprints these are; one statement where some are new, or none."""
    new = {
        fingerprint: one for one, fingerprint in fingerprints.items() if fingerprint not in _known
    }
    specs = _specs(session, new.values()) if new else {}
    found = {one: _known.get(fingerprint) for one, fingerprint in fingerprints.items()}
    made = {fingerprint: subject_of(fingerprint, specs[one]) for fingerprint, one in new.items()}
    return {one: subject or made[fingerprints[one]] for one, subject in found.items()}


def _specs(session: Session, experiment_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    rows = session.execute(_asked(), {"experiments": list(experiment_ids)})
    return {one: spec for one, spec in rows}  # noqa: C416 - rows are no pairs to a type checker


@cache
def _asked() -> Select[str, dict[str, Any]]:
    return select_columns(col(Experiment.id), col(Experiment.spec)).where(
        col(Experiment.id).in_(bindparam("experiments", expanding=True))
    )
