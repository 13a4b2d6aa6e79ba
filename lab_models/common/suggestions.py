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
    "clip_grad": "gradient_clip",
    "cuda": "device",
    "early_stopping_patience": "patience",
    "es_patience": "patience",
    "gpu": "device",
    "grad_clip": "gradient_clip",
    "hidden_dim": "width",
    "hidden_layers": "hidden",
    "hidden_size": "width",
    "hidden_sizes": "hidden",
    "hidden_units": "width",
    "in_channels": "input_channels",
    "l2": "weight_decay",
    "layers": "depth",
    "lr": "learning_rate",
    "lr_decay": "factor",
    "max_grad_norm": "gradient_clip",
    "mom": "momentum",
    "n_epochs": "epochs",
    "net": "model",
    "network": "model",
    "n_layers": "depth",
    "num_epochs": "epochs",
    "num_layers": "depth",
    "opt": "optimizer",
    "scheduler": "schedule",
    "tag": "labels",
    "tags": "labels",
    "test_size": "val_fraction",
    "units": "width",
    "val_size": "val_fraction",
    "val_split": "val_fraction",
    "validation_fraction": "val_fraction",
    "validation_split": "val_fraction",
    "wd": "weight_decay",
    "weight_init": "init",
}
"""What other libraries call it, and what it is called here."""
SEEDS = '"seeds": [42] is one run with seed 42, "seeds": 3 are three runs with seeds 0, 1 and 2'
FOR_SEEDS = ("seed", "random_seed", "random_state", "manual_seed")
"""A number in their place, as other programs have it, would be as many runs."""
NO_FIELDS = {
    word: f"there is no such field: {why}"
    for why, words in {
        "the lab's networks use ReLU, and a list of layers says its own": ("activation",),
        "the loss is cross-entropy, with 'label_smoothing' and 'class_weights'": (
            *("loss", "loss_fn", "loss_function", "criterion"),
        ),
        "the images and what is sent with them say it; `GET /datasets/NAME` shows it": (
            *("num_classes", "n_classes", "classes", "input_size", "input_shape", "input_dim"),
        ),
        "train is shuffled anew in each epoch, by the seed": ("shuffle",),
        "training is counted in 'epochs'": ("steps", "max_steps", "iterations", "num_steps"),
        "images lie in memory, and nothing has to load them meanwhile": (
            *("num_workers", "workers", "pin_memory", "n_jobs"),
        ),
        "every score is measured, see 'metrics' of a run": ("metrics", "scores"),
        "losses, scores, checkpoints and weights are kept by themselves": (
            *("callbacks", "verbose", "checkpoint", "checkpoint_dir", "save_dir", "output_dir"),
            *("log_interval", "log_dir", "save_best"),
        ),
        'a step\'s rate is that of a \'schedule\', such as {"name": "multi_step", "milestones": [30, 60]}': (
            *("gamma", "step_size", "lr_step", "decay_steps"),
        ),
        "Adam's are torch's, 0.9 and 0.999": ("betas", "beta1", "beta2"),
        '\'precision\' is "float32" or "bfloat16"': (
            *("amp", "fp16", "bf16", "half", "mixed_precision", "use_amp"),
        ),
        "images are normalized by their set's own mean and std; views are 'dataset.augmentation'": (
            *("normalize", "normalization", "transform", "transforms", "mean", "std"),
        ),
        "views are 'dataset.augmentation': crop, flip, shift, rotation and cutout": (
            *("mixup", "cutmix", "randaugment"),
        ),
        "data sets go by their names; `lab data import NAME PATH` makes one of your own files": (
            *("path", "root", "data_dir", "data_path", "data_root"),
        ),
        'notes are written once it is there: PATCH /experiments/ID {"notes": "…"}': (
            *("notes", "note", "comment", "comments", "description"),
        ),
        'a student and its teacher are of "kind": "distill"': (
            *("teacher", "student", "temperature", "distillation"),
        ),
        'trained or published weights to begin with are the \'source\' of "kind": "transfer"': (
            *("pretrained", "source", "strategy", "weights", "freeze", "finetune", "fine_tune"),
        ),
    }.items()
    for word in words
}
"""What other libraries have and a spec does not, each with what takes its place."""
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
    for path, members in found:
        if list(path[:-1]) == list(here):  # of another member of the union that stands here
            allowed = sorted({name for owner in owners for name in owner.model_fields})
            return f"it belongs to {_or(members)}; allowed: {', '.join(allowed)}"
    return f"did you mean {' or '.join(_place(*one) for one in found)}?" if found else None


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


def _place(path: Sequence[str], members: Sequence[str]) -> str:
    among = f" (of {_or(members)})" if members else ""
    where = "" if len(path) > 1 else " at the top level"
    return f"'{'.'.join(path)}'{among}{where}"


def _places(root: Model, field: str) -> list[tuple[tuple[str, ...], list[str]]]:
    """The shortest paths to a field of this name, and by their tags the members of a union that have it, where not all
    of them do; where all do first.
    """
    level: list[tuple[tuple[str, ...], list[Model]]] = [((), [root])]
    for _ in range(DEEPEST):
        found = []
        for path, models in level:
            having = [model for model in models if field in model.model_fields]
            if having:
                tags = [tag for model in having for tag in _tags(model)]
                found.append(((*path, field), [] if len(having) == len(models) else tags))
        if found:
            return sorted(found, key=lambda one: len(one[1]) > 0)
        level = [below for path, models in level for below in _below(path, models)]
    return []


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
