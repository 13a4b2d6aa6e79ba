"""`lab table`: a study's table as text, over HTTP."""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.ids import STUDY, whole_id
from training_lab.commands.requesting import Service, address
from training_lab.errors import Unusable
from training_lab.lab import Lab

FORMATS = ("md", "csv", "latex", "json")


def add_parser(commands: Any) -> None:
    """Add `lab table`."""
    table = add_service_command(
        commands,
        "table",
        "print a study's table",
        "lab table @last-study --format latex --out table.tex",
        _table,
    )
    table.add_argument("id", metavar="ID", help="stu_…, its first characters, or @last-study")
    table.add_argument(
        "--shape",
        choices=["long", "published"],
        default="long",
        help="long: a row per cell; published: as its source printed it, filled (default: long)",
    )
    table.add_argument(
        "--format", choices=FORMATS, default="md", help="Markdown, CSV, LaTeX or JSON (default: md)"
    )
    table.add_argument(
        "--metric",
        help="such as val.accuracy or seconds (default: test.accuracy, or what the source's columns are of)",
    )
    table.add_argument("--sort", help="best, or a factor such as model.depth; of the long shape")
    table.add_argument("--out", type=Path, metavar="FILE", help="write it there instead")


def _table(lab: Lab, options: argparse.Namespace) -> int:
    study = whole_id(lab, options.id, STUDY)
    asked = {
        "shape": options.shape,
        "format": options.format,
        "metric": options.metric,
        "sort": options.sort,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    content = Service(lab).download(f"{address(study)}/table?{query}")
    if options.out is None:
        sys.stdout.write(content.decode())
        return EXIT_DONE
    try:
        options.out.write_bytes(content)
    except OSError as error:
        raise Unusable(f"{options.out}: {error.strerror}") from error
    return EXIT_DONE
