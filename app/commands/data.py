"""`lab data`: a service's data sets listed, people's own images imported and removed, over HTTP."""

import argparse
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from app.commands import client
from app.quantities import in_words
from lab_models.datasets.archives import open_files
from lab_models.datasets.refusals import ImportLimits, ImportRefused, printable

CHUNK_BYTES = 1 << 18
EXIT_USAGE = 2
COLUMNS = ("name", "here", "train", "test", "image", "classes", "takes", "from", "owner")
LEFT_ALIGNED = ("name", "here", "from", "owner")


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Add `data` to the command line; returns the parsers that speak to a service and still need its `--url`."""
    data = commands.add_parser("data", help="list data sets, import your own images, remove them")
    verbs = data.add_subparsers(required=True, metavar="verb")
    listing = verbs.add_parser("list", help="a table of all data sets")
    listing.set_defaults(run=_list)
    importing = verbs.add_parser(
        "import",
        help="make a data set of a folder or zip of images: train/<class>/<image>, test/<class>/<image>",
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
    importing.set_defaults(run=_import)
    removing = verbs.add_parser(
        "remove", help="remove an imported data set, your own or as an admin"
    )
    removing.add_argument("name")
    removing.set_defaults(run=_remove)
    return [listing, importing, removing]


def _list(options: argparse.Namespace) -> int:
    with client.Service(options.url) as service:
        rows = [COLUMNS, *map(_row, service.get("/datasets")["data"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [
            cell.ljust(width) if column in LEFT_ALIGNED else cell.rjust(width)
            for column, cell, width in zip(COLUMNS, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())
    return 0


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    channels, height, width = record["shape"]
    origin = f"imported {record['imported_at'][:10]}" if record["imported"] else "built in"
    size = f"{height}x{width} {'grey' if channels == 1 else 'RGB'}"
    here = record.get("here", "")
    if here == "download":
        here = f"downloads {in_words(record['download_bytes'])}"
    return (
        record["name"],
        here,
        f"{record['num_train']:,}",
        f"{record['num_test']:,}",
        size,
        f"{record['num_classes']:,}",
        in_words(record["disk_bytes"]),
        origin,
        record["owner"] or "",
    )


def _import(options: argparse.Namespace) -> int:
    wishes = {
        "size": options.size,
        "channels": options.channels,
        "enlarge": "true" if options.enlarge else None,
        "background": options.background,
        "stretch": "true" if options.stretch else None,
        "on_bad": options.on_bad,
    }
    query = "&".join(f"{name}={value}" for name, value in wishes.items() if value is not None)
    path = f"/datasets/{quote(options.name, safe='')}" + (f"?{query}" if query else "")
    if not options.path.exists():
        print(f"{options.path}: there is no such file or folder", file=sys.stderr)
        return EXIT_USAGE
    try:
        with (
            client.Service(options.url) as service,
            _progress() as bar,
            _zipped(options.path, bar, skip_bad=options.on_bad == "skip") as file,
        ):
            num_bytes = file.seek(0, 2)
            file.seek(0)
            task = bar.add_task("sending", total=num_bytes)
            record = service.put(path, _chunks(file, bar, task), num_bytes)
    except (OSError, ImportRefused, UnicodeEncodeError) as error:
        print(_why_unreadable(error, options.path), file=sys.stderr)
        return EXIT_USAGE
    print(json.dumps(record, indent=2, ensure_ascii=False))
    return 0


def _why_unreadable(error: OSError | ImportRefused | UnicodeEncodeError, path: Path) -> str:
    """What is wrong with the file that is meant: one of a folder, where the system names it."""
    if isinstance(error, OSError):
        return f"{error.filename or path}: {error.strerror or error}"
    if isinstance(error, UnicodeEncodeError):
        return f"{path}: the name {printable(error.object)} is not written in UTF-8; rename it"
    said = str(error)
    return said if said.startswith(str(path)) else f"{path}: {said}"


def _remove(options: argparse.Namespace) -> int:
    with client.Service(options.url) as service:
        answer = service.delete(f"/datasets/{quote(options.name, safe='')}")
    # an earlier version answers nothing
    for said in (f"{options.name} is removed", *answer.get("notes", ())):
        print(said, file=sys.stderr)
    return 0


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))


@contextmanager
def _zipped(path: Path, bar: Progress, *, skip_bad: bool) -> Iterator[BinaryIO]:
    """The zip itself, or a folder as one; stored, for images are compressed already. With `skip_bad` a file that cannot
    be opened is sent empty: the service counts it among the bad ones, and names it.
    """
    if not path.is_dir():
        if not path.is_file():
            raise ImportRefused("is a pipe or a device, not a file")
        with path.open("rb") as file:
            yield file
        return
    with open_files(path, ImportLimits()) as files, tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
            for name in files.folders:
                archive.mkdir(name)
            for name in bar.track(files.names, description="zipping"):
                try:
                    archive.write(path / name, name)
                except OSError as error:
                    if not skip_bad or error.filename is None:  # the latter: the disk's fault
                        raise
                    bar.console.print(_why_unreadable(error, path), markup=False, soft_wrap=True)
                    archive.writestr(name, b"")
        yield file


def _chunks(file: BinaryIO, bar: Progress, task: TaskID) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
        bar.advance(task, len(chunk))
    bar.update(task, description="sent; the service reads the images")
