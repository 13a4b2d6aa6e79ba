"""`lab curves`: train and val over the epochs, in the terminal or as a picture."""

import argparse
import math
import shutil
import sys
from pathlib import Path
from typing import Any, cast

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, EXIT_REFUSED, add_service_command
from training_lab.commands.ids import WRITTEN, job_of
from training_lab.commands.text_plots import ASCII, UNICODE, Curve, plot
from training_lab.errors import Unusable
from training_lab.files import place_for
from training_lab.lab import Lab
from training_lab.metrics import Metrics
from training_lab.pictures import CurvesFormat
from training_lab.study import Study

FORMATS = ("pdf", "png", "svg", "tex")
NUMBERS = ("loss", "accuracy")
UNSEEN_WIDTH = 80
"""Columns where there is no terminal."""


def add_parser(commands: Any) -> None:
    """Add `lab curves`."""
    parser = add_service_command(
        commands,
        "curves",
        "draw loss and accuracy over the epochs, means over seeds, as text or into a file",
        "lab curves exp_4k7z -o curves.pdf",
        _curves,
    )
    parser.add_argument("id", metavar="ID", help=f"{WRITTEN}; of a study there are pictures alone")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="store a picture: .pdf, .png, .svg, or .tex for pgfplots",
    )
    parser.add_argument("--ascii", action="store_true", help="draw with signs of ASCII alone")


def _curves(lab: Lab, options: argparse.Namespace) -> int:
    job = job_of(lab, options.id)
    if options.out is not None:
        ending = options.out.suffix.removeprefix(".").lower()
        if ending not in FORMATS:
            raise Unusable(f"{options.out}: a picture's name ends in .pdf, .png, .svg or .tex")
        place = place_for(options.out, options.out.name)
        job.curves(format=cast(CurvesFormat, ending)).save(place)
        if not options.quiet:
            output.say(f"{job.id}: curves in {place}")
        return EXIT_DONE
    if isinstance(job, Study):
        raise Unusable(f"{job.id} is a study: `lab curves {job.id} -o FILE.pdf` draws its cells")
    is_plain = options.ascii or not _writes_unicode()
    width = shutil.get_terminal_size((UNSEEN_WIDTH, 24)).columns
    drawn = pictures(job.metrics(list(NUMBERS)), width, is_plain)
    if not drawn:
        output.say(f"{job.id} has no finished epoch yet: {job.message}")
        return EXIT_REFUSED
    print(output.plain(f"{job.name or job.id}: {job.message}"))
    for lines in drawn:
        print("", *lines, sep="\n")
    return EXIT_DONE


def pictures(metrics: Metrics, width: int, is_ascii: bool) -> list[list[str]]:
    """A picture as lines for each number that there is."""
    signs = {"train": ".", "val": "*"} if is_ascii else {"train": "·", "val": "●"}
    frame = ASCII if is_ascii else UNICODE
    columns = metrics.columns()
    drawn = []
    for name in NUMBERS:
        curves = [
            Curve(split, sign, _means(columns["epoch"], columns.get(f"{split}.{name}", [])))
            for split, sign in signs.items()
        ]
        drawn.append(plot(name, curves, width, frame))
    return [lines for lines in drawn if lines]


def _means(epochs: list[int], values: list[float | None]) -> list[tuple[float, float]]:
    """Over the seeds that have a number there, epoch by epoch."""
    found: dict[int, list[float]] = {}
    for epoch, value in zip(epochs, values, strict=False):
        if value is not None and math.isfinite(value):
            found.setdefault(epoch, []).append(value)
    return [(epoch, sum(some) / len(some)) for epoch, some in sorted(found.items())]


def _writes_unicode() -> bool:
    try:
        "●·│┤└─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
