"""`lab layers`: a network of the lab as a list of layers, to begin one's own from, over HTTP."""

import argparse
from typing import Any
from urllib.parse import quote

from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.ids import EXPERIMENT, whole_id
from training_lab.commands.output import NUMBER, TEXT, show, show_json, table
from training_lab.commands.requesting import Service
from training_lab.lab import Lab

COLUMNS = (
    ("layer", TEXT),
    ("kind", TEXT),
    ("gives", TEXT),
    ("parameters", NUMBER),
    ("multiply-accumulates", NUMBER),
)
BEGIN = (
    "`--json` prints it as a `model`: put that into a spec, change what you like, and `lab submit` it. Unchanged it"
    " trains to the same bits."
)


def add_parser(commands: Any) -> None:
    """Add `lab layers`."""
    layers = add_service_command(
        commands,
        "layers",
        "what an architecture or a preset consists of, layer by layer, to begin your own network from",
        "lab layers student --dataset cifar10 --json > model.json",
        _layers,
    )
    layers.add_argument(
        "name",
        metavar="NAME",
        help="an architecture or a preset, such as student; or an experiment, by its id",
    )
    layers.add_argument(
        "--dataset",
        metavar="NAME",
        default="cifar10",
        help="for the images of this data set; cifar10 where none is named",
    )
    layers.add_argument("--json", action="store_true", help="as a `model` of a spec")


def _layers(lab: Lab, options: argparse.Namespace) -> int:
    if options.name.startswith((EXPERIMENT, "@")):
        found = whole_id(lab, options.name, EXPERIMENT)
        answer = Service(lab).get(f"/experiments/{quote(found, safe='')}/network")
        called, begin = answer["description"], []
    else:
        name, dataset = (quote(word, safe="") for word in (options.name, options.dataset))
        answer = Service(lab).get(f"/architectures/{name}/layers?dataset={dataset}")
        called, begin = answer["name"], ["", BEGIN]
    if options.json:
        show_json(answer["model"])
        return EXIT_DONE
    said = (
        f"{called} on {answer['dataset']}: {answer['parameters']:,} parameters,"
        f" {answer['macs_per_sample'] / 1e6:,.1f} M multiply-accumulates"
    )
    rows = table(COLUMNS, map(_row, answer["table"]))
    show(said, rows, *([] if options.quiet else begin))
    return EXIT_DONE


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    return (
        layer["name"],
        layer["kind"],
        "x".join(map(str, layer["output_shape"])),
        f"{layer['parameters']:,}",
        f"{layer['macs']:,}",
    )
