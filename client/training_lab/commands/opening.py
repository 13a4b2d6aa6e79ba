"""`lab open`: a page of the service in a browser that is logged in without a key being pasted."""

import argparse
from typing import Any
from urllib.parse import urlencode

from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.ids import EXPERIMENT, LAST, LAST_STUDY, STUDY, may_be_short, whole_id
from training_lab.commands.output import say
from training_lab.commands.requesting import Service, is_study
from training_lab.errors import Unusable
from training_lab.lab import Lab

FIRST_PAGE = "/ui/experiments"


def add_parser(commands: Any) -> None:
    """Add `lab open`. The service, where it is installed, adds `--as`, which makes a code by its database."""
    opening = add_service_command(
        commands,
        "open",
        "show a page in a browser, which is logged in by it with the key in LAB_API_KEY",
        "lab open @last",
        _open,
    )
    opening.add_argument(
        "page",
        nargs="?",
        default=FIRST_PAGE,
        metavar="PAGE",
        help="exp_…, stu_…, @last or a path that begins with '/' (default: the list of experiments)",
    )
    opening.add_argument(
        "--print",
        dest="only_prints",
        action="store_true",
        help="only print the address, which lets in once and within a minute",
    )
    opening.set_defaults(owner=None, code_of=None)


def _open(lab: Lab, options: argparse.Namespace) -> int:
    import webbrowser  # late: no other command needs it

    path = _path(lab, options.page)
    code = (
        Service(lab).post("/ui/session/code")["code"]
        if options.owner is None
        else options.code_of(options.owner)
    )
    query = urlencode({"code": code, "next": path})
    address = f"{lab.url}{path}" if code is None else f"{lab.url}/ui/session?{query}"
    print(address, flush=True)
    if not options.only_prints and not webbrowser.open(address) and not options.quiet:
        say("No browser could be started here: open the address in one within a minute.")
    return EXIT_DONE


def _path(lab: Lab, page: str) -> str:
    """Where a page lies; raises Unusable."""
    if page.startswith((EXPERIMENT, STUDY)) or page in (LAST, LAST_STUDY):
        found = whole_id(lab, page) if may_be_short(page) else page
        return f"/ui/{'studies' if is_study(found) else 'experiments'}/{found}"
    if not page.startswith("/"):
        raise Unusable(f"{page!r} is no page: name exp_…, stu_… or a path that begins with '/'")
    return page
