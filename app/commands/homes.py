"""The home that a command works on, and a sentence where it is not where somebody looks for it.

What only reads makes no home; what makes one says so by its name: `serve`, `api`, `worker`, `keys create`, `restore`.
"""

import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import Misconfigured
from app.whereabouts import Whereabouts, find_home

if TYPE_CHECKING:
    from app.settings import Settings


def settings_of_the_home() -> "Settings":
    """For what only reads: the settings of a home that is there. Raises Misconfigured, with the places that were looked
    at.
    """
    settings = _settings()
    missing = what_is_missing(settings)
    if missing is not None:
        raise Misconfigured(missing)
    return settings


def settings_of_a_home() -> "Settings":
    """For what may make a home: says on standard error which one it does not use because it is another user's, and
    which variables nobody reads.
    """
    from app.commands.setting_sources import unknown_names

    settings = _settings()
    foreign = [] if _is_named(settings) else _foreign(find_home())
    for sentence in (*unknown_names(), *foreign):
        print(sentence, file=sys.stderr)
    return settings


def what_is_missing(settings: "Settings") -> str | None:
    """Why there is nothing to read, in a sentence; None where there is a home with its database."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(settings.effective_database_url)
    except ArgumentError:
        return None  # whoever uses the database says it
    file = Path(url.database) if url.database and url.get_backend_name() == "sqlite" else None
    if settings.home.is_file() or (settings.home.exists() and (file is None or file.exists())):
        return None  # a file in its place is said by whoever uses the home
    remedy = "`lab serve` makes one, and LAB_HOME names one elsewhere"
    if settings.home.exists() and file is not None:
        return (
            f"there is no database {file}: no service was ever run with the home"
            f" {settings.home.absolute()}; {remedy}"
        )
    if _is_named(settings):
        return f"there is no folder {settings.home.absolute()}, which LAB_HOME names; {remedy}"
    found = find_home()
    places = [str(folder) for folder in found.looked_in]
    listed = " and ".join(filter(None, (", ".join(places[:-1]), places[-1])))
    said = f"there is no home here: no .lab was found in {listed}; {remedy}"
    return "\n".join((said, *_foreign(found)))


def _settings() -> "Settings":
    """As they are; raises Misconfigured for an address of a database that is none."""
    # late, as the settings: they take a while, and most commands need neither
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from app.settings import Settings

    settings = Settings()
    try:
        make_url(settings.effective_database_url)
    except ArgumentError as error:
        raise Misconfigured(f"LAB_DATABASE_URL is not a database URL: {error}") from error
    return settings


def _is_named(settings: "Settings") -> bool:
    """Whether somebody says where the home is."""
    return settings.home != Path(".lab") and find_home().home != settings.home


def _foreign(found: Whereabouts) -> list[str]:
    return [
        f"{home} belongs to another user ({_owner(home)}) and is not used; LAB_HOME={home} uses it all the same"
        for home in found.foreign
    ]


def _owner(path: Path) -> str:
    number = path.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
