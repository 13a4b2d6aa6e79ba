"""`lab keys quota`: how much an owner, or whoever has a role, may have."""

import argparse
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from app.quantities import in_words
from app.roles import Role
from training_lab import Unusable
from training_lab.commands.output import NUMBER, TEXT, table

if TYPE_CHECKING:
    from rich.table import Table
    from sqlmodel import Session

    from app.services.quotas import QuotaKind, Quotas
    from app.storage.tables import RoleQuota

NONE, DEFAULT = "none", "default"
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?", re.ASCII | re.IGNORECASE)
FACTORS = {
    **{f"{prefix}b": 1000**power for power, prefix in enumerate(("", "k", "m", "g", "t"))},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate(("k", "m", "g", "t"), start=1)},
}
COLUMNS = (("quota", TEXT), ("limit", NUMBER), ("set for", TEXT))

Limit = float | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command line takes."""
    parser.add_argument("owner", nargs="?", help="whose")
    parser.add_argument(
        "--role",
        choices=[role.value for role in Role],
        help="instead of one owner: all with this role, who have nothing of their own said",
    )
    words = f"; '{NONE}' for no bound, '{DEFAULT}' for what the role or the settings say"
    parser.add_argument("--queued", type=_count, help=f"runs that may wait{words}")
    parser.add_argument("--running", type=_count, help=f"runs at a time{words}")
    parser.add_argument("--hours", type=_hours, help=f"of training within seven days{words}")
    parser.add_argument(
        "--disk", type=_size, help=f"of data sets and artifacts, such as 5GB{words}"
    )


def carry_out(session: "Session", options: argparse.Namespace) -> "Table":
    """Set what is given, and return what holds; raises Unusable."""
    from app.services.owners import granting
    from app.services.owners.usage import usage_of
    from app.services.quotas import QuotaKind
    from app.settings import Settings

    if (options.owner is None) == (options.role is None):
        raise Unusable("name one owner, or a role: `lab keys quota NAME` or `--role submit`")
    changes: dict[QuotaKind, Limit] = {
        kind: given[0] for kind in QuotaKind if (given := getattr(options, kind)) is not None
    }
    if options.role is not None:
        if changes:
            granting.grant_role(session, Role(options.role), changes)
        return _of_role(Role(options.role), granting.role_quotas(session))
    granting.grant(session, options.owner, changes)
    return _of_owner(usage_of(session, Settings(), options.owner)[0].quotas)


def limit_in_words(kind: "QuotaKind", limit: float | None) -> str:
    """`5.0 GB`, `10 hours`, `50 runs`, `none`."""
    if limit is None:
        return NONE
    match kind.value:
        case "hours":
            return f"{limit / 3600:g} hours a week"
        case "disk":
            return in_words(int(limit))
        case _:
            return f"{limit:,.0f} run{'' if limit == 1 else 's'}"


def _of_owner(quotas: "Quotas") -> "Table":
    sources = {"owner": quotas.owner, "role": f"role {quotas.role}", "all": "everybody"}
    return table(
        COLUMNS,
        [
            (str(kind), limit_in_words(kind, quota.limit), sources[quota.set_for])
            for kind, quota in quotas.of.items()
        ],
    )


def _of_role(role: Role, rows: "list[RoleQuota]") -> "Table":
    from app.services.quotas import QuotaKind

    row = next((one for one in rows if one.role is role), None)
    limits = {kind: None if row is None else getattr(row, kind.column) for kind in QuotaKind}
    return table(
        COLUMNS,
        [
            (str(kind), "not set", "")
            if limit is None
            else (str(kind), limit_in_words(kind, limit or None), f"role {role}")
            for kind, limit in limits.items()
        ],
    )


def _or_word(number: Callable[[str], float], text: str) -> tuple[Limit]:
    """In a tuple, so that what is given differs from what is not; raises ArgumentTypeError."""
    if text in (NONE, DEFAULT):
        return (0.0 if text == NONE else None,)
    limit = number(text)
    if not 0 < limit < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text}: write a number above 0, '{NONE}' for no bound, or '{DEFAULT}'"
        )
    return (limit,)


def _count(text: str) -> tuple[Limit]:
    def number(text: str) -> float:
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
        return int(text)

    return _or_word(number, text)


def _hours(text: str) -> tuple[Limit]:
    def number(text: str) -> float:
        try:
            return float(text) * 3600
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no number of hours") from error

    return _or_word(number, text)


def _size(text: str) -> tuple[Limit]:
    def number(text: str) -> float:
        found = SIZE.fullmatch(text)
        if found is None:
            raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500MB, 5GB or 20GiB")
        return int(float(found[1]) * FACTORS[(found[2] or "B").lower()])

    return _or_word(number, text)
