"""`lab export`: a trained network as a folder of its own."""

import argparse
import secrets
import shutil
import zipfile
from pathlib import Path
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.predicting import run_meant
from training_lab.commands.requesting import Service
from training_lab.errors import LabError, Unusable
from training_lab.lab import Lab


def add_parser(commands: Any) -> None:
    """Add `lab export`."""
    parser = add_service_command(
        commands,
        "export",
        "store a trained network as a folder: weights, ONNX file, model card, numbers",
        "lab export @last network/",
        _export,
    )
    parser.add_argument(
        "id", metavar="ID", help="run_…, or exp_…, of which the best seed by val is taken"
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="a new folder, or an empty one")
    parser.add_argument("--seed", type=int, metavar="N", help="the experiment's run with this seed")


def _export(lab: Lab, options: argparse.Namespace) -> int:
    folder: Path = options.folder.absolute()
    _check_place(folder)
    run = run_meant(lab, options.id, options.seed)
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    archive = beside.with_name(f"{beside.name}.zip")
    try:
        Service(lab).store(f"/runs/{run.id}/model.zip", archive)
        num_files = _unpack(archive, beside)
        # a folder replaces an empty one, and no other
        _top_of(beside).rename(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise LabError(f"{folder} was not written: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
        shutil.rmtree(beside, ignore_errors=True)
    if not options.quiet:
        output.say(
            f"{options.folder}: {output.count(num_files, 'file')} of {run.id}, seed {run.seed}"
        )
    return EXIT_DONE


def _check_place(folder: Path) -> None:
    """Raises Unusable before anything is asked for."""
    if not folder.parent.is_dir():
        raise Unusable(f"{folder.parent} is no folder, so {folder.name} cannot be made there")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Unusable(f"{folder} is there already: name a new folder, or an empty one")


def _unpack(archive: Path, into: Path) -> int:
    """How many files there are; each is compared with its checksum, and no name leads out."""
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(into)
        return sum(not member.is_dir() for member in zipped.infolist())


def _top_of(folder: Path) -> Path:
    """The one folder within, if there is nothing else."""
    inner = list(folder.iterdir())
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else folder
