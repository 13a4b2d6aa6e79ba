"""`lab backup`, `lab restore` and `lab gc`: for whoever looks after a service, on its machine and with its settings."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.commands.terminal import in_words
from app.errors import Misconfigured
from app.home import home_in_use, noted_database

if TYPE_CHECKING:
    from app.services.upkeep.backups import Contents
    from app.services.upkeep.collection import Collected
    from app.services.upkeep.leftovers import Leftover
    from app.settings import Settings
    from app.storage.db import Database

EXIT_REFUSED = 1


def add_commands(commands: Any) -> None:
    """Add them to the command line. They speak to no service: they use its database and its files."""
    backup = commands.add_parser(
        "backup", help="copy the SQLite database to a file while the service runs"
    )
    backup.add_argument("file", type=Path, help="where to; its folder must be there")
    backup.add_argument("--force", action="store_true", help="replace the file if it is there")
    backup.set_defaults(run=_backup)
    restoring = commands.add_parser(
        "restore", help="put a backup in the database's place; the service must be stopped"
    )
    restoring.add_argument("file", type=Path, help="what `lab backup` has written")
    restoring.set_defaults(run=_restore)
    collecting = commands.add_parser("gc", help="remove files that nothing needs any more")
    collecting.add_argument("--dry-run", action="store_true", help="only list them")
    collecting.add_argument("--json", action="store_true", help="answer in JSON")
    collecting.set_defaults(run=_collect)


def _backup(options: argparse.Namespace) -> int:
    # late, as in all of them: other commands need no database
    from app.services.upkeep.backups import BackupRefused, back_up
    from app.settings import Settings

    try:
        contents = back_up(Settings(), options.file, overwrite=options.force)
    except BackupRefused as error:
        return _complain(str(error))
    print(f"{options.file}: {_counted(contents)}, {in_words(contents.size_bytes)}, checked")
    return 0


def _restore(options: argparse.Namespace) -> int:
    from app.services.upkeep.backups import BackupRefused, restore
    from app.settings import Settings

    try:
        restored = restore(Settings(), options.file)
    except BackupRefused as error:
        return _complain(str(error))
    contents = restored.contents
    print(f"The database is now that of {options.file}: {_counted(contents)}.")
    if restored.before is not None:
        print(f"What was there before is kept as {restored.before}")
    if contents.unfinished:
        print(
            f"Runs that are not finished: {contents.unfinished:,}; workers go on with them when the service starts."
        )
    return 0


def _counted(contents: "Contents") -> str:
    experiments, runs = (
        f"{count:,} {noun}{'' if count == 1 else 's'}"
        for count, noun in ((contents.experiments, "experiment"), (contents.runs, "run"))
    )
    return f"{experiments}, {runs}, schema {contents.revision}"


def _collect(options: argparse.Namespace) -> int:
    from app.services.upkeep.collection import collect
    from app.settings import Settings
    from app.storage.db import Database

    settings = Settings()
    if not settings.home.is_dir():
        raise Misconfigured(f"there is no folder {settings.home}: set LAB_HOME to the service's")
    with home_in_use(settings.home):
        _refuse_another_database(settings)
        database = Database(settings.effective_database_url)
        try:
            _refuse_another_schema(database)
            collected = collect(database, settings, dry_run=options.dry_run)
        finally:
            database.close()
    print(
        json.dumps(_document(collected, options.dry_run), indent=2)
        if options.json
        else _report(collected, options.dry_run)
    )
    return EXIT_REFUSED if collected.failed else 0


def _refuse_another_database(settings: "Settings") -> None:
    """By the rows of another database, every file in this home would look like one that nothing needs."""
    noted = noted_database(settings.home)
    if noted != settings.database_name:
        runs_with = (
            "no service was ever run"
            if noted is None
            else f"the service runs with the database {noted}"
        )
        raise Misconfigured(
            f"in {settings.home} {runs_with}, not with {settings.database_name}: set LAB_HOME and LAB_DATABASE_URL as"
            " the service has them"
        )


def _refuse_another_schema(database: "Database") -> None:
    from app.storage.schema import schema_is_current

    with database.reading() as session:
        if not schema_is_current(session):
            raise Misconfigured(
                "the database has the schema of another version: start the service of this version once, then call `lab"
                " gc` again"
            )


def _document(collected: "Collected", dry_run: bool) -> dict[str, Any]:
    from app.services.upkeep.leftovers import MEANINGS

    def listed(items: "tuple[Leftover, ...]") -> list[dict[str, Any]]:
        return [
            {
                "kind": item.kind,
                "path": item.path,
                "bytes": item.size_bytes,
                "why": MEANINGS[item.kind],
            }
            for item in items
        ]

    return {
        "dry_run": dry_run,
        "bytes": collected.size_bytes,
        "items": listed(collected.found),
        "failed": listed(collected.failed),
    }


def _report(collected: "Collected", dry_run: bool) -> str:
    from app.services.upkeep.leftovers import MEANINGS

    lines = [
        f"{in_words(item.size_bytes):>10}  {item.path}  ({MEANINGS[item.kind]})"
        for item in collected.found
    ]
    lines += [f"not removed: {item.path}" for item in collected.failed]
    if not collected.found:
        return "There is nothing to remove."
    return "\n".join(
        [*lines, f"{in_words(collected.size_bytes)} {'could be' if dry_run else 'are'} set free."]
    )


def _complain(message: str) -> int:
    print(message, file=sys.stderr)
    return EXIT_REFUSED
