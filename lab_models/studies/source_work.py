"""Whether a cell of a study is its source's work: what differs between the spec that is run and the recipe's own at
full scale, and how that is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from lab_models.datasets.catalog import BUILT_IN, spoken_name
from lab_models.specs import AnySpec
from lab_models.studies.overrides import NETWORKS

HARMLESS: Final = ("probes", "on_out_of_memory", "precision")
"""Fields that change what is measured beside, or how it is computed, and not what is done: a source's number may stand
beside such a cell. Names, labels and seeds are no part of a spec.
"""

UNSAID: Final = ("probes", "on_out_of_memory")
"""Of these, what has no part in the numbers at all."""

SHAPES: Final = ("depth", "width", "stages", "hidden", "widths")
"""Fields of a network of which some stand in place of others."""

MOST_SAID: Final = 12
MOST_VALUES: Final = 3
LONGEST_VALUE: Final = 40

_ABSENT: Final = object()


@dataclass(frozen=True)
class Departure:
    """A field whose value is not the source's, by its dotted path; None of `theirs` or `ours` may mean that it is not
    there.
    """

    path: str
    ours: Any
    theirs: Any

    @property
    def is_harmless(self) -> bool:
        """Whether the source's number may stand beside the cell all the same."""
        return self.path.partition(".")[0] in HARMLESS


def departures(spec: AnySpec, source: AnySpec) -> list[Departure]:
    """Every field of the effective spec that differs from the source's. The foundation counts as well, but for its
    seed.
    """
    ours, theirs = _leaves_of(spec), _leaves_of(source)
    found = [
        Departure(path, ours.get(path, _ABSENT), theirs.get(path, _ABSENT))
        for path in dict.fromkeys([*ours, *theirs])
        if ours.get(path, _ABSENT) != theirs.get(path, _ABSENT)
    ]
    return [one for one in found if not _is_of_another_name(one, ours, theirs)]


def is_sources_work(spec: AnySpec, source: AnySpec) -> bool:
    """Whether a cell does what the source did: the same network, learned from the same images by the same procedure,
    and so on down to what it builds on. Only then does the source's number stand beside it, and only at full scale.
    """
    return all(departure.is_harmless for departure in departures(spec, source))


def is_smaller(ours: Mapping[str, AnySpec], theirs: Mapping[str, AnySpec]) -> bool:
    """Whether any cell has fewer images or epochs than the source's; both mappings are by the cells' keys."""
    return any(
        spec.planned_epochs < theirs[key].planned_epochs
        or (spec.dataset.train_limit or inf) < (theirs[key].dataset.train_limit or inf)
        for key, spec in ours.items()
    )


def changes_said(ours: Mapping[str, AnySpec], theirs: Mapping[str, AnySpec]) -> tuple[str, ...]:
    """What the cells have that the source's have not, a few words for each field and value: `1 epoch instead of 10`,
    `200 of 60,000 training images`. What only some cells have is said of those. Both mappings are by the cells' keys.
    """
    found: dict[tuple[str, str], list[tuple[str, Departure]]] = {}
    for key, spec in ours.items():
        foundation = f"{spec.role}." if spec.role is not None else None
        for one in departures(spec, theirs[key]):
            # a foundation is a cell of its own, whose departures are said there
            is_below = foundation is not None and one.path.startswith(foundation)
            is_said = one.path.partition(".")[0] not in UNSAID and not _is_said_otherwise(one)
            if is_said and not is_below:
                found.setdefault((one.path, repr(one.ours)), []).append((key, one))
    said = []
    for path in sorted(dict.fromkeys(path for path, _ in found), key=_rank):
        values = [group for (name, _), group in found.items() if name == path]
        if len(values) > MOST_VALUES:
            num_cells = len({key for group in values for key, _ in group})
            said.append(f"another {path} in {num_cells} cells")
            continue
        for group in values:
            cells = [key for key, _ in group]
            dataset = ours[cells[0]].dataset.name
            text = _text([one for _, one in group], dataset)
            said.append(text + _where(cells, len(ours)))
    more = len(said) - MOST_SAID
    return (*said[:MOST_SAID], *([f"and {more} more"] if more > 0 else []))


def seeds_said(num_seeds: int, full: int) -> str:
    """`1 seed instead of 5`; empty where there are as many as at full scale."""
    return f"{num_seeds} {_plural('seed', num_seeds)} instead of {full}" if num_seeds < full else ""


def _leaves_of(spec: AnySpec) -> dict[str, Any]:
    document = spec.model_dump(mode="json")
    if spec.role is not None and isinstance(document[spec.role], dict):
        document[spec.role].pop("seed", None)
    return dict(_leaves(document, ""))


def _leaves(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_of_another_name(one: Departure, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether the field is only missing because the part that has it is of another kind, which is said already."""
    if one.ours is not _ABSENT:
        return False
    part = one.path.rpartition(".")[0]
    return any(
        ours.get(f"{part}.{name}") != theirs.get(f"{part}.{name}") for name in ("name", "arch")
    )


def _is_said_otherwise(one: Departure) -> bool:
    """Whether it is the old name of a width: widths layer by layer stand in place of a depth and a width."""
    return one.ours is None and _is_shape(one.path)


def _is_shape(path: str) -> bool:
    part, _, name = path.rpartition(".")
    return part in NETWORKS and name in SHAPES


def _rank(path: str) -> tuple[int, str]:
    """Images, then epochs, then everything else as it comes."""
    first = ("dataset.name", "dataset.train_limit", "epochs")
    return (first.index(path), "") if path in first else (len(first), path)


def _text(group: Sequence[Departure], dataset: str) -> str:
    path, ours = group[0].path, group[0].ours
    before = list(
        dict.fromkeys(
            _short(one.theirs)
            for one in group
            if one.theirs is not _ABSENT and not (one.theirs is None and _is_shape(path))
        )
    )
    instead = f" instead of {' or '.join(before)}" if 0 < len(before) <= MOST_VALUES else ""
    match path:
        case "dataset.name":
            names = [spoken_name(name) for name in before]
            return f"{spoken_name(str(ours))} instead of {' or '.join(names)}"
        case "dataset.train_limit":
            return _images(ours, dataset)
        case "epochs" if isinstance(ours, int):
            return f"{ours:,} {_plural('epoch', ours)}{instead}"
        case _:
            return f"{path} {_short(ours)}{instead}"


def _images(limit: int | None, dataset: str) -> str:
    info = BUILT_IN.get(dataset)
    if limit is None or (info is not None and limit >= info.num_train):
        return "all training images"
    return f"{limit:,}{'' if info is None else f' of {info.num_train:,}'} training images"


def _where(cells: Sequence[str], num_cells: int) -> str:
    """Nothing where all cells have it."""
    if len(cells) == num_cells:
        return ""
    if len(cells) > MOST_VALUES:
        return f" in {len(cells)} of {num_cells} cells"
    return f" ({' and '.join(cells)})"


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _short(value: Any) -> str:
    if value is None or value is _ABSENT:
        return "none"
    text = (
        ("yes" if value else "no")
        if isinstance(value, bool)
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
