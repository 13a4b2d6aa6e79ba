"""The experiment that another is like, and in what their specs differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlmodel import Session

from app.storage.tables import Experiment
from lab_models.specs.layer_differences import layers_apart

Changed = dict[str, tuple[Any, Any]]
"""By dotted path what a field was, and what it is; null where it is none of that spec."""


def like_of(experiment: Experiment) -> str | None:
    """The id of the experiment that this one's request was made from."""
    like: str | None = experiment.submitted.get("like")
    return like


def origin_of(session: Session, experiment: Experiment) -> Experiment | None:
    """The experiment that this one is like, while it is there."""
    like = like_of(experiment)
    return None if like is None else session.get(Experiment, like)


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changed:
    """In what two effective specs differ; of those of two kinds only what both have is compared, and never what they
    go on with, which is a spec of its own.
    """
    if before["kind"] != now["kind"]:
        shared = before.keys() & now.keys() - {"kind"}
        before, now = (
            {name: spec[name] for name in now if name in shared} for spec in (before, now)
        )
    before, now = ({**spec, "origin": None} for spec in (before, now))
    was, is_now = dict(leaves(before)), dict(leaves(now))
    paths = [*is_now, *(path for path in was if path not in is_now)]
    return {
        place: (before, after)
        for path in paths
        if path not in was or path not in is_now or was[path] != is_now[path]
        for place, (before, after) in layers_apart(path, (was.get(path), is_now.get(path)))
    }


def leaves(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a document by its dotted path, parts without fields among them."""
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield above + name, value
