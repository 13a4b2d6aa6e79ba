"""`lab gc`, beside `lab backup` and `lab restore`: for whoever looks after a service, on its machine and with its
settings.
"""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from app.commands import backups
from app.commands.homes import settings_of_the_home
from app.errors import Misconfigured, StoreOutOfReach
from app.home import home_in_use, noted_database
from app.quantities import in_words

if TYPE_CHECKING:
    from app.services.upkeep.collection import Collected
    from app.services.upkeep.leftovers import Leftover
    from app.settings import Settings
    from app.storage.db import Database

EXIT_REFUSED = 1


def add_commands(commands: Any) -> None:
    """Add them to the command line. They speak to no service: they use its database and its files."""
    backups.add_commands(commands)
    collecting = commands.add_parser("gc", help="remove files that nothing needs any more")
    collecting.add_argument("--dry-run", action="store_true", help="only list them")
    collecting.add_argument("--json", action="store_true", help="answer in JSON")
    collecting.set_defaults(run=_collect)


def _collect(options: argparse.Namespace) -> int:
    from sqlalchemy.exc import DatabaseError

    from app.services.upkeep.collection import collect
    from app.storage.db import Database, why_not

    settings = settings_of_the_home()
    with home_in_use(settings.home):
        _refuse_another_database(settings)
        database = Database(settings.effective_database_url)
        try:
            _refuse_another_schema(database)
            collected = collect(database, settings, dry_run=options.dry_run)
        except StoreOutOfReach as error:
            print(error, file=sys.stderr)
            return EXIT_REFUSED
        except DatabaseError as error:
            raise Misconfigured(why_not(error, settings.effective_database_url)) from error
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
