"""`lab backup` and `lab restore`: the database, and the files that cannot be made again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.homes import settings_of_a_home, settings_of_the_home
from app.quantities import in_words
from training_lab import Unusable

if TYPE_CHECKING:
    from app.services.upkeep.backups import Contents, Restored
    from app.services.upkeep.copying import Tally
    from app.services.upkeep.file_backups import Named
    from app.settings import Settings

EXIT_REFUSED = 1
MOST_NAMED = 5


def add_commands(commands: Any) -> None:
    """Add both to the command line."""
    backup = commands.add_parser(
        "backup", help="copy the SQLite database and the files while the service runs"
    )
    backup.add_argument(
        "file", type=Path, nargs="?", help="the database goes there; its folder must be there"
    )
    backup.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="copy artifacts, checkpoints, logs and imported data sets there; what is there is not copied again",
    )
    backup.add_argument(
        "--keep-days",
        type=_days,
        metavar="N",
        help="with --files: remove from there what no backup of the last N days has named",
    )
    backup.add_argument("--force", action="store_true", help="replace the file if it is there")
    backup.set_defaults(run=_backup)
    restoring = commands.add_parser(
        "restore", help="put a backup in its place; the service must be stopped"
    )
    restoring.add_argument("file", type=Path, nargs="?", help="what `lab backup` has written")
    restoring.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="put back the files that are missing from what `lab backup --files` has copied there",
    )
    restoring.set_defaults(run=_restore)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 1 <= days <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of days, 1 or more")
    return days


def _backup(options: argparse.Namespace) -> int:
    # late, as in all of them: other commands need no database
    from app.services.upkeep import backups, file_backups

    _require_something(options)
    if options.keep_days is not None and options.files is None:
        raise Unusable("--keep-days says what to remove from the folder of --files: name that too")
    settings, file = settings_of_the_home(), options.file
    try:
        if options.files is None:
            _say_saved(file, backups.back_up(settings, file, overwrite=options.force))
            return 0
        with file_backups.FileBackup(settings, options.files) as files:
            if file is not None:
                contents = backups.back_up(
                    settings, file, overwrite=options.force, while_nobody_writes=files.pin
                )
                _say_saved(file, contents)
            tally = files.copy(_named(settings, file))
            freed = 0 if options.keep_days is None else files.sweep(options.keep_days)
    except backups.BackupRefused as error:
        return _complain(str(error))
    print(f"{options.files}: {_copied(tally)}")
    if freed:
        print(
            f"{in_words(freed)} that no backup of {options.keep_days:g} days has named are removed."
        )
    if tally.gone:
        print(
            f"{len(tally.gone)} went while they were to be copied, as old checkpoints and deleted runs do:"
            f" {_listed(tally.gone)}"
        )
    return _damaged(tally, "are not what was published; their copies were left out")


def _named(settings: "Settings", file: Path | None) -> "Named":
    from app.services.upkeep import file_backups

    return (
        file_backups.named_in_database(settings)
        if file is None
        else file_backups.named_in_file(file)
    )


def _say_saved(file: Path, contents: "Contents") -> None:
    print(f"{file}: {_counted(contents)}, {in_words(contents.size_bytes)}, checked")


def _restore(options: argparse.Namespace) -> int:
    from app.services.upkeep import backups, file_backups

    _require_something(options)
    settings, file = settings_of_a_home(), options.file
    tally = None
    try:
        if options.files is not None:
            if file is not None:
                backups.inspect(file)  # before anything is done by its rows
            # before their rows, as always
            tally = file_backups.put_back(settings, options.files, _named(settings, file))
        if file is not None:
            _say_restored(file, backups.restore(settings, file))
    except backups.BackupRefused as error:
        return _complain(str(error))
    if tally is None:
        return 0
    print(f"{settings.home}: {_copied(tally)}")
    if tally.gone:
        print(f"{len(tally.gone)} are neither in the backup nor here: {_listed(tally.gone)}")
    return _damaged(tally, "are not in the backup as they were published; they were not put back")


def _say_restored(file: Path, restored: "Restored") -> None:
    unfinished = restored.contents.unfinished
    print(f"The database is now that of {file}: {_counted(restored.contents)}.")
    if restored.before is not None:
        print(f"What was there before is kept as {restored.before}")
    if unfinished:
        print(
            f"Runs that are not finished: {unfinished:,}; workers go on with them when the service starts."
        )


def _require_something(options: argparse.Namespace) -> None:
    if options.file is None and options.files is None:
        raise Unusable("name a file for the database, a folder with --files for the rest, or both")


def _copied(tally: "Tally") -> str:
    copied = f"{tally.num_copied:,} files copied ({in_words(tally.bytes_copied)})"
    return f"{copied}, {tally.num_unchanged:,} were there already"


def _damaged(tally: "Tally", what: str) -> int:
    if not tally.damaged:
        return 0
    return _complain(f"{len(tally.damaged)} files {what}: {_listed(tally.damaged)}")


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - MOST_NAMED
    return ", ".join(paths[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _counted(contents: "Contents") -> str:
    experiments, runs = (
        f"{count:,} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((contents.experiments, "experiment"), (contents.runs, "run"))
    )
    return f"{experiments}, {runs}, schema {contents.revision}"


def _complain(message: str) -> int:
    print(message, file=sys.stderr)
    return EXIT_REFUSED
