"""`lab data`: a service's data sets listed, people's own images imported and removed, over HTTP."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from training_lab.archives import as_archive, refuse_missing
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.output import plain, say, show_json, size
from training_lab.commands.requesting import Service
from training_lab.lab import Lab

if TYPE_CHECKING:
    from rich.progress import Progress

COLUMNS = ("name", "here", "train", "test", "image", "classes", "takes", "from", "owner")
LEFT_ALIGNED = ("name", "here", "from", "owner")


def add_parser(commands: Any) -> None:
    """Add `lab data` with its verbs."""
    data = commands.add_parser("data", help="list data sets, import your own images, remove them")
    verbs = data.add_subparsers(required=True, metavar="verb")
    listing = add_service_command(verbs, "list", "a table of all data sets", "lab data list", _list)
    listing.add_argument("--json", action="store_true", help="as the service answers it")
    importing = add_service_command(
        verbs,
        "import",
        "make a data set of a folder or zip of images: train/<class>/<image>, test/<class>/<image>",
        "lab data import leaves photos/ --size 64",
        _import,
    )
    importing.add_argument("name", help="what to call it: a-z, 0-9, _ and -")
    importing.add_argument(
        "path",
        type=Path,
        help="a folder, a zip or tar, a NumPy archive, Parquet or a table of pixels",
    )
    importing.add_argument(
        "--size",
        type=int,
        help="side in pixels (default: the images' own if all have the same up to 224, else at most 32)",
    )
    importing.add_argument(
        "--channels",
        choices=["1", "3"],
        help="1 grey, 3 RGB (default: grey only if every image is)",
    )
    importing.add_argument(
        "--enlarge",
        action="store_true",
        help="enlarge images that are smaller than --size instead of refusing them",
    )
    importing.add_argument(
        "--background",
        choices=["black", "white"],
        help="what lies under transparent images (default: black, or white where black leaves most without content)",
    )
    importing.add_argument(
        "--stretch",
        action="store_true",
        help="make the largest value of all images white: masks, 16-bit files of instruments",
    )
    importing.add_argument(
        "--on-bad",
        choices=["refuse", "skip"],
        help="skip leaves up to one unreadable file in a hundred out (default: refuse all)",
    )
    removing = add_service_command(
        verbs,
        "remove",
        "remove an imported data set, your own or as an admin",
        "lab data remove leaves",
        _remove,
    )
    removing.add_argument("name")


def _list(lab: Lab, options: argparse.Namespace) -> int:
    answer = lab.get("/datasets")
    if options.json:
        show_json(answer["data"])
        return EXIT_DONE
    rows = [COLUMNS, *map(_row, answer["data"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [
            cell.ljust(width) if column in LEFT_ALIGNED else cell.rjust(width)
            for column, cell, width in zip(COLUMNS, row, widths, strict=True)
        ]
        print(plain("  ".join(cells).rstrip()))
    return EXIT_DONE


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    channels, height, width = record["shape"]
    origin = f"imported {record['imported_at'][:10]}" if record["imported"] else "built in"
    image = f"{height}x{width} {'grey' if channels == 1 else 'RGB'}"
    here = record.get("here", "")
    if here == "download":
        here = f"downloads {size(record['download_bytes'])}"
    return (
        record["name"],
        here,
        f"{record['num_train']:,}",
        f"{record['num_test']:,}",
        image,
        f"{record['num_classes']:,}",
        size(record["disk_bytes"]),
        origin,
        record["owner"] or "",
    )


def _import(lab: Lab, options: argparse.Namespace) -> int:
    wishes = {
        "size": options.size,
        "channels": options.channels,
        "enlarge": "true" if options.enlarge else None,
        "background": options.background,
        "stretch": "true" if options.stretch else None,
        "on_bad": options.on_bad,
    }

    refuse_missing(options.path)

    def skip(why: str) -> None:
        bar.console.print(why, markup=False, soft_wrap=True)

    with (
        _progress(options.quiet) as bar,
        as_archive(
            options.path,
            skipped=skip if options.on_bad == "skip" else None,
            each=lambda names: bar.track(names, description="zipping"),
        ) as file,
    ):
        task = bar.add_task("sending", total=file.stat().st_size)

        def told(num_bytes: int) -> None:
            bar.advance(task, num_bytes)
            if bar.tasks[task].finished:
                bar.update(task, description="sent; the service reads the images")

        record = Service(lab).put(f"/datasets/{quote(options.name, safe='')}", wishes, file, told)
    show_json(record)
    return EXIT_DONE


def _remove(lab: Lab, options: argparse.Namespace) -> int:
    answer = Service(lab).delete(f"/datasets/{quote(options.name, safe='')}")
    if not options.quiet:
        # an earlier version answers nothing
        for said in (f"{options.name} is removed", *answer.get("notes", ())):
            say(said)
    return EXIT_DONE


def _progress(is_quiet: bool) -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True, quiet=is_quiet), disable=is_quiet)
