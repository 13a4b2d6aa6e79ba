"""The flags of `lab train`, and the request that they come to. `python -m lab_models train` takes them from here, so
that both understand the same words; they need nothing but Python.
"""

import argparse
import copy
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from training_lab.path_changes import NETWORKS, change, opened, put


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from error


def number(text: str) -> float:
    """A number, a whole one as such."""
    try:
        found = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from error
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {text!r}")
    return found


def widths(text: str) -> list[int]:
    """`128,64`: one number or several."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers with commas between, such as 128,64, not {text!r}"
        ) from error


def label(text: str) -> tuple[str, str]:
    """`KEY:VALUE`."""
    key, colon, value = text.partition(":")
    if not colon or not key:
        raise argparse.ArgumentTypeError(f"write KEY:VALUE, such as week:3, not {text!r}")
    return key, value


@dataclass(frozen=True)
class Flag:
    """A field of a spec on the command line."""

    option: str
    path: str
    """Where it stands in a spec, with dots between."""
    does: str
    kind: Callable[[str], Any] | None
    """What reads it; None: it is true, and `--no-…` false."""
    metavar: str | None = None


# fmt: off
GROUPS: Final = {
    "network": (
        Flag("--model", "model", "mlp, cnn, henet, resnet18, vgg, or a preset such as student", str, "NAME"),
        Flag("--depth", "model.depth", "layers, of mlp and henet", whole, "N"),
        Flag("--width", "model.width", "units, of mlp; channels of the first stage, of cnn and henet", whole, "N"),
        Flag("--hidden", "model.hidden", "units layer by layer, of mlp; one number, of vgg", widths, "N,N"),
        Flag("--residual", "model.residual", "shortcuts, of mlp, cnn and henet", None),
        Flag("--dropout", "model.dropout", "share that is dropped, of mlp, cnn and vgg", number, "X"),
        Flag("--norm", "model.norm", "none, batch or layer, of mlp", str, "NAME"),
    ),
    "data": (
        Flag("--dataset", "dataset.name", "digits, mnist, cifar10, … or your own", str, "NAME"),
        Flag("--val-fraction", "dataset.val_fraction", "share of train that chooses the best epoch", number, "X"),
        Flag("--augmentation", "dataset.augmentation", "none, crop_flip, crop_flip_cutout, shift_rotate", str, "NAME"),
    ),
    "learning": (
        Flag("--epochs", "epochs", "passes over train; with early stopping the most", whole, "N"),
        Flag("--batch-size", "batch_size", "images a step", whole, "N"),
        Flag("--optimizer", "optimizer", "sgd, adam, adamw or rmsprop", str, "NAME"),
        Flag("--lr", "optimizer.learning_rate", "learning rate", number, "X"),
        Flag("--momentum", "optimizer.momentum", "of sgd and rmsprop", number, "X"),
        Flag("--weight-decay", "optimizer.weight_decay", "of every optimizer", number, "X"),
        Flag("--schedule", "schedule", "constant, multi_step, cosine, one_cycle or plateau", str, "NAME"),
    ),
    "early stopping": (
        Flag("--patience", "early_stopping.patience", "epochs without a better val loss", whole, "N"),
        Flag("--min-delta", "early_stopping.min_delta", "what counts as better, in nats", number, "X"),
        Flag("--delta-overfit", "early_stopping.overfit_delta", "how far above its best val loss may be", number, "X"),
        Flag("--overfit-patience", "early_stopping.overfit_patience", "for how many epochs in a row", whole, "N"),
    ),
}
# fmt: on
"""In the order of the help."""
FLAGS: Final = tuple(flag for flags in GROUPS.values() for flag in flags)
WHOLE_PARTS: Final = ("model", "optimizer", "schedule")
"""Parts of a spec that another name replaces as a whole."""
NAMING: Final = ("name", "arch", "preset")
RIVALS: Final = {"hidden": ("depth", "width"), "depth": ("hidden",), "width": ("hidden",)}
"""Two ways to say an mlp's widths."""
NUM_WORKERS_SAID: Final = "batches are made without a DataLoader, so --num-workers has no effect"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says what is trained, whoever trains it."""
    parser.add_argument(
        "--as",
        dest="recipe",
        metavar="RECIPE",
        help="by a lab's procedure: of this recipe the cell that --model and other factors fit, or RECIPE/CELL; what"
        " else is said changes it",
    )
    for title, flags in GROUPS.items():
        group = parser.add_argument_group(title)
        for flag in flags:
            options: dict[str, Any] = {"dest": flag.path, "help": flag.does, "default": None}
            if flag.kind is None:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options |= {"type": flag.kind, "metavar": flag.metavar}
            group.add_argument(flag.option, **options)
    beside = parser.add_argument_group("beside the spec")
    beside.add_argument(
        "--set",
        dest="changes",
        metavar="PATH=VALUE",
        type=change,
        action="append",
        default=[],
        help="any field, such as schedule.warmup_epochs=5; may be given several times",
    )
    beside.add_argument(
        "--seeds", type=whole, metavar="N", help="runs, of seeds from 0 (default: 1)"
    )
    beside.add_argument("--name", "--run-name", help="what to call it")
    beside.add_argument(
        "--label",
        dest="labels",
        metavar="KEY:VALUE",
        type=label,
        action="append",
        default=[],
        help="to find it by; may be given several times",
    )
    beside.add_argument(
        "--num-workers", type=whole, metavar="N", help="accepted; " + NUM_WORKERS_SAID
    )
    beside.add_argument(
        "--print", action="store_true", help="print the spec as JSON and do nothing"
    )


def given_flags(options: argparse.Namespace) -> dict[str, Any]:
    """What the flags say of the spec: paths and values."""
    said = {flag.path: getattr(options, flag.path) for flag in FLAGS}
    return {path: value for path, value in said.items() if value is not None}


def request_of(
    options: argparse.Namespace, base: Mapping[str, Any], chosen_by: Collection[str] = ()
) -> dict[str, Any]:
    """The body for POST /experiments: the base with what the flags say, but for the paths that have chosen the base.
    Raises Unusable where a path of `--set` leads nowhere.
    """
    request = copy.deepcopy(dict(base))
    network = NETWORKS[1] if request.get("kind") == "distill" else NETWORKS[0]
    said = {path: value for path, value in given_flags(options).items() if path not in chosen_by}
    for part in WHOLE_PARTS:
        if part in said:
            _replace(request, network if part == "model" else part, said.pop(part))
    for path, value in said.items():
        part, _, field = path.partition(".")
        place = f"{network}.{field}" if part == "model" else path
        _without_rivals(request, network, field if part == "model" else "", said)
        put(
            request,
            place,
            _one_width(request.get(network), value) if path == "model.hidden" else value,
        )
    for path, value in options.changes:
        put(request, path, value)
    beside = {"name": options.name, "labels": dict(options.labels) or None, "seeds": options.seeds}
    request |= {field: value for field, value in beside.items() if value is not None}
    data = request.get("dataset")
    if isinstance(data, dict) and set(data) == {"name"}:
        request["dataset"] = data["name"]
    return request


def said_at(pointer: str, options: argparse.Namespace) -> str:
    """The flags that a fault at this JSON pointer of the request is about; the pointer itself where none is."""
    path = pointer.strip("/").replace("/", ".").replace("~1", "/").replace("~0", "~")
    if path.startswith("student"):
        path = "model" + path.removeprefix("student")
    named = {flag.path: flag.option for flag in FLAGS if getattr(options, flag.path) is not None}
    named |= {path: f"--set {path}" for path, _ in options.changes}
    named |= {"seeds": "--seeds", "name": "--name", "labels": "--label"}
    at = [option for place, option in named.items() if _is_within(path, place)]
    within = [option for place, option in named.items() if path and _is_within(place, path)]
    return ", ".join(within) or (at[-1] if at else pointer)


def _replace(request: dict[str, Any], part: str, name: str) -> None:
    """Another name replaces the part; the same one keeps what is said of it."""
    there = opened(part, request.get(part))
    names = {str(there.get(field)).lower() for field in NAMING} if isinstance(there, dict) else ()
    if name.lower() not in names:
        request[part] = name


def _without_rivals(
    request: dict[str, Any], network: str, field: str, said: Mapping[str, Any]
) -> None:
    """What the base says of widths gives way to what is said in another way."""
    there = request.get(network)
    if isinstance(there, dict):
        for rival in RIVALS.get(field, ()):
            if f"model.{rival}" not in said:
                there.pop(rival, None)


def _one_width(network: Any, value: list[int]) -> list[int] | int:
    """A vgg has one hidden layer, said as a number."""
    there = opened(NETWORKS[0], network)
    is_vgg = isinstance(there, dict) and str(there.get("arch")).lower() == "vgg"
    return value[0] if is_vgg and len(value) == 1 else value


def _is_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith(outer + ".")
