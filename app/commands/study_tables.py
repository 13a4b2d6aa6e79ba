"""`lab table`: a study's table as text, over HTTP."""

import argparse
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from app.commands import client

FORMATS = ("md", "csv", "latex", "json")


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add `table` to the command line; returns the parsers that speak to a service and still need its `--url`."""
    table = commands.add_parser("table", help="print a study's table")
    table.add_argument("id", help="stu_…")
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
    table.set_defaults(run=_table)
    return [table]


def _table(options: argparse.Namespace) -> int:
    if not client.is_study(options.id):
        raise client.Unusable(
            f"{options.id!r} is not a study's id, which begins with stu_; only studies have tables"
        )
    asked = {
        "shape": options.shape,
        "format": options.format,
        "metric": options.metric,
        "sort": options.sort,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    with client.Service(options.url) as service:
        content = service.download(f"{client.address(options.id)}/table?{query}")
    if options.out is None:
        sys.stdout.write(content.decode())
        return 0
    try:
        options.out.write_bytes(content)
    except OSError as error:
        raise client.Unusable(f"{options.out}: {error.strerror}") from error
    return 0
