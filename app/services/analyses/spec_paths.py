"""Where two specs differ, as dotted paths, and which of that a factor means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lab_models.common.validation import did_you_mean
from lab_models.specs.layer_differences import layers_apart, places_within


@dataclass(frozen=True)
class Difference:
    """A field of the specs that differs, as a dotted path; a side that has no such field has None."""

    path: str
    treatment: Any
    control: Any


def differences(treatment: dict[str, Any], control: dict[str, Any]) -> Iterator[Difference]:
    """The fields that differ, outermost first; the network is called `model` on both sides, also where it is a
    student.
    """
    yield from _differences(comparable(treatment), comparable(control), "")


def covers(factor: str, path: str) -> bool:
    """Whether a difference at `path` is one that was meant. `kind` stands for all that only one of two kinds has."""
    return any(
        path == name or path.startswith(name + ".")
        for name in (part.strip() for part in factor.split(","))
        if name
    )


def spelled_out(factor: str, treatment: dict[str, Any], control: dict[str, Any]) -> str:
    """The factor with each of its names as a path of the specs, where there is one that ends so: `residual` is
    `model.residual`. A name that several paths end in is the one in which they differ.
    """
    paths = all_paths(treatment, control)
    differing = [one.path for one in differences(treatment, control)]
    return ", ".join(
        _spelled_out(name.strip(), paths, differing) for name in factor.split(",") if name.strip()
    )


def _spelled_out(name: str, paths: Sequence[str], differing: Sequence[str]) -> str:
    name = name.replace("student.", "model.", 1) if name.startswith("student.") else name
    if name in paths:
        return name
    ending = [path for path in paths if path.endswith("." + name)]
    among = [path for path in ending if path in differing] or ending
    return among[0] if len(among) == 1 else name


def all_paths(treatment: dict[str, Any], control: dict[str, Any]) -> list[str]:
    """Every field of either spec, and every part that has fields."""
    return list(dict.fromkeys((*_paths(comparable(treatment)), *_paths(comparable(control)))))


def _paths(spec: Any, way: str = "") -> Iterator[str]:
    """Every field of a spec, and every part that has fields."""
    for name, value in spec.items() if isinstance(spec, dict) else ():
        path = f"{way}.{name}" if way else name
        yield path
        yield from _paths(value, path)
        yield from places_within(path, value)


def meant_by(factor: str, paths: Sequence[str]) -> str:
    """What a factor that names nothing was probably meant to be, as the end of a sentence."""
    hints = [
        did_you_mean(name.strip(), [*paths, *(path.rpartition(".")[2] for path in paths)]) or ""
        for name in factor.split(",")
        if not any(covers(name, path) or path.startswith(name.strip() + ".") for path in paths)
    ]
    return next((f"; {hint}" for hint in hints if hint.startswith("did")), "")


def comparable(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with its network under the same name, whatever kind it is of."""
    return {"model" if name == "student" else name: value for name, value in spec.items()}


def _differences(treatment: Any, control: Any, path: str) -> Iterator[Difference]:
    if isinstance(treatment, dict) and isinstance(control, dict):
        for name in dict.fromkeys((*treatment, *control)):
            yield from _differences(
                treatment.get(name), control.get(name), f"{path}.{name}" if path else name
            )
    elif treatment != control:
        for place, (theirs, ours) in layers_apart(path, (treatment, control)):
            yield Difference(place, theirs, ours)
