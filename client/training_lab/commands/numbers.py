"""`lab metrics`: every number of every epoch."""

import argparse
import sys
from pathlib import Path
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.ids import EXPERIMENT, STUDY, WRITTEN, whole_id
from training_lab.commands.watching import cells_of
from training_lab.errors import Unusable
from training_lab.files import place_for
from training_lab.lab import Lab

ENDINGS = (".csv", ".parquet")


def add_parser(commands: Any) -> None:
    """Add `lab metrics`."""
    parser = add_service_command(
        commands,
        "metrics",
        "print every number of every epoch as CSV, or store them as CSV or Parquet",
        "lab metrics exp_4k7z @last -o numbers.csv",
        _metrics,
    )
    parser.add_argument("id", metavar="ID", nargs="+", help=f"{WRITTEN}; of a study all its cells")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help=".csv, or .parquet where pyarrow is installed",
    )


def _metrics(lab: Lab, options: argparse.Namespace) -> int:
    out: Path | None = options.out
    if out is not None and out.suffix.lower() not in ENDINGS:
        raise Unusable(f"{out}: write a name that ends in .csv or .parquet")
    place = None if out is None else place_for(out, out.name)
    named = [whole_id(lab, one, EXPERIMENT, STUDY) for one in options.id]
    found = dict.fromkeys(one for some in named for one in cells_of(lab, some))
    metrics = lab.metrics(list(found))
    if place is None:
        metrics.write_csv(sys.stdout)
        return EXIT_DONE
    store = metrics.to_csv if place.suffix.lower() == ".csv" else metrics.to_parquet
    store(place)
    if not options.quiet:
        output.say(f"{output.count(len(metrics), 'row')} in {place}")
    return EXIT_DONE
