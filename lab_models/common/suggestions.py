"""What a name may have meant that is no field where it stands: another name for one, or one of another place."""

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

ALIASES = {
    "activation_fn": "activation",
    "architecture": "model",
    "batchsize": "batch_size",
    "bs": "batch_size",
    "hidden_dim": "width",
    "hidden_layers": "hidden",
    "hidden_size": "width",
    "hidden_sizes": "hidden",
    "hidden_units": "width",
    "layers": "depth",
    "lr": "learning_rate",
    "mom": "momentum",
    "net": "model",
    "network": "model",
    "n_epochs": "epochs",
    "n_layers": "depth",
    "num_epochs": "epochs",
    "num_layers": "depth",
    "opt": "optimizer",
    "scheduler": "schedule",
    "tag": "labels",
    "tags": "labels",
    "units": "width",
    "wd": "weight_decay",
}
"""What other libraries call it, and what it is called here."""
SEEDS = '"seeds": [42] is one run with seed 42, "seeds": 3 are three runs with seeds 0, 1 and 2'
FOR_SEEDS = ("seed", "random_seed", "random_state", "manual_seed")
"""A number in their place, as other programs have it, would be as many runs."""
NO_FIELDS = {
    "activation": "there is no such field: the lab's networks use ReLU, and a list of layers says its own"
}
DEEPEST = 4
TAGS = ("name", "arch", "kind")
"""The fields by which the members of a union are told apart."""

Model = type[BaseModel]


def suggestion(word: str, here: Sequence[str], root: Model, owners: Sequence[Model]) -> str | None:
    """A hint for a name at `here`, whose own models are `owners`, in a document of the model `root`; None where neither
    another name nor another place is known for it.
    """
    if word.lower() in FOR_SEEDS and "seeds" in root.model_fields and not here:
        return SEEDS
    wanted = ALIASES.get(word.lower(), word.lower())
    if any(wanted in owner.model_fields for owner in owners):
        return f"did you mean '{wanted}'?" if wanted != word else None
    if wanted in NO_FIELDS:
        return NO_FIELDS[wanted]
    found = _places(root, wanted)
    if not found:
        return None
    path, members = found
    if list(path[:-1]) == list(here):  # of another member of the union that stands here
        allowed = sorted({name for owner in owners for name in owner.model_fields})
        return f"it belongs to {_or(members)}; allowed: {', '.join(allowed)}"
    among = f" (of {_or(members)})" if members else ""
    where = "" if len(path) > 1 else " at the top level"
    return f"did you mean '{'.'.join(path)}'{among}{where}?"


def models_in(annotation: Any) -> list[Model]:
    """The models of an annotation, all members of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return models_in(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [model for member in typing.get_args(annotation) for model in models_in(member)]
    return []


def _places(root: Model, field: str) -> tuple[tuple[str, ...], list[str]] | None:
    """The shortest path to a field of this name, and by their tags the members of a union that have it, where not all
    of them do.
    """
    level: list[tuple[tuple[str, ...], list[Model]]] = [((), [root])]
    for _ in range(DEEPEST):
        for path, models in level:
            having = [model for model in models if field in model.model_fields]
            if having:
                tags = [tag for model in having for tag in _tags(model)]
                return (*path, field), [] if len(having) == len(models) else tags
        level = [below for path, models in level for below in _below(path, models)]
    return None


def _below(
    path: tuple[str, ...], models: Sequence[Model]
) -> Iterator[tuple[tuple[str, ...], list[Model]]]:
    for name in dict.fromkeys(name for model in models for name in model.model_fields):
        members = [
            member
            for model in models
            if name in model.model_fields
            for member in models_in(model.model_fields[name].annotation)
        ]
        if members:
            yield (*path, name), list(dict.fromkeys(members))


def _or(names: Sequence[str]) -> str:
    head, _, tail = ", ".join(map(repr, names)).rpartition(", ")
    return f"{head} or {tail}" if head else tail


def _tags(model: Model) -> list[str]:
    """What the union's members are called by: `'sgd'`."""
    return [
        str(name)
        for tag in TAGS
        if tag in model.model_fields
        for name in typing.get_args(model.model_fields[tag].annotation)
    ]
