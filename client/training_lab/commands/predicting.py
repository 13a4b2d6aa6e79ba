"""`lab predict`: what a trained network says of images."""

import argparse
import re
from pathlib import Path
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import (
    EXIT_DONE,
    EXIT_REFUSED,
    add_service_command,
    complain,
)
from training_lab.commands.ids import EXPERIMENT, RUN, run_of, whole_id
from training_lab.commands.output import NUMBER, TEXT
from training_lab.errors import Refused, Unusable
from training_lab.lab import Lab
from training_lab.records import Prediction
from training_lab.run import Run

TOP = 3
ROW = re.compile(r"(train|val|test):(\d+)")
"""An image of the network's own data set."""
COLUMNS = (("image", TEXT), ("class", TEXT), ("probability", NUMBER), ("then", TEXT))


def add_parser(commands: Any) -> None:
    """Add `lab predict`."""
    parser = add_service_command(
        commands,
        "predict",
        "tell which class a trained network sees in images",
        "lab predict @last leaf.png test:17 --top 5",
        _predict,
    )
    parser.add_argument(
        "id", metavar="ID", help="run_…, or exp_…, of which the best seed by val is asked"
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="a file, or test:17 for an image of the network's own data set",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="the experiment's run with this seed")
    parser.add_argument(
        "--top", type=int, default=TOP, metavar="N", help=f"so many classes (default: {TOP})"
    )
    parser.add_argument("--json", action="store_true", help="as the service answers it")


def _predict(lab: Lab, options: argparse.Namespace) -> int:
    images = {name: _image(name) for name in options.images}
    run = run_meant(lab, options.id, options.seed)
    found: dict[str, Prediction] = {}
    status = EXIT_DONE
    for name, image in images.items():
        try:
            found[name] = run.predict(image, top=options.top)
        except Refused as refused:
            status = complain(f"{name}: {refused}", EXIT_REFUSED)
    if options.json:
        output.show_json([{"image": name, **one.raw} for name, one in found.items()])
    elif found:
        output.show(output.table(COLUMNS, [_row(name, one) for name, one in found.items()]))
        if not options.quiet:
            output.say(f"By {run.id}, seed {run.seed}.")
    return status


def run_meant(lab: Lab, text: str, seed: int | None) -> Run:
    """The run that is named, or the experiment's with that seed, or its best one by val."""
    found = whole_id(lab, text, EXPERIMENT, RUN)
    if found.startswith(RUN) or seed is not None:
        return run_of(lab, found, seed)
    return lab.experiment(found).best_run


def _image(name: str) -> Any:
    """What is sent; raises Unusable before anything is."""
    row = ROW.fullmatch(name)
    if row is not None and not Path(name).exists():
        return {"split": row[1], "row": int(row[2])}
    if not Path(name).is_file():
        raise Unusable(f"{name}: there is no such file")
    return name


def _row(name: str, said: Prediction) -> tuple[str, ...]:
    (first, probability), *others = said.probabilities.items()
    then = ", ".join(f"{one} {_percent(share)}" for one, share in others)
    return name, first, _percent(probability), then


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
