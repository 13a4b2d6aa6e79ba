"""`lab login` and `lab config`: which service is spoken to, and as whom."""

import argparse
import sys
from getpass import getpass
from typing import Any

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_command, add_service_command
from training_lab.config import store
from training_lab.errors import LabError, Refused
from training_lab.keys import key_with_source, url_for, url_with_source
from training_lab.lab import Lab


def add_parser(commands: Any) -> None:
    """Add both."""
    login = add_command(
        commands,
        "login",
        "store the address of a service and your key for it, once the service has taken the key",
        "lab login http://gpu-box:8000",
        _login,
    )
    login.add_argument(
        "address",
        metavar="URL",
        nargs="?",
        help="the service (default: $LAB_URL, what is stored, or this machine)",
    )
    add_service_command(
        commands,
        "config",
        "show which service is spoken to and whose key is sent, and where both come from",
        "lab config",
        _config,
    )


def _login(options: argparse.Namespace) -> int:
    url = url_for(options.address)
    key = _ask(url)
    try:
        with Lab(url, key) as lab:
            me = lab.get("/me")
    except Refused as refused:
        if refused.status != 401:
            raise
        missing = "it asks for a key" if not key else "it does not take this key"
        raise LabError(f"{url}: {missing}. Nothing is stored.") from refused
    needless = key and me.get("key_id") is None
    place = store(url, None if needless else key or None)
    if not options.quiet:
        output.say(output.plain(f"{url}: {_whose(me)}. Stored in {place}."))
        if needless:
            output.say("The service asks for no keys, so yours is not stored.")
    return EXIT_DONE


def _ask(url: str) -> str:
    """The key, typed unseen, or the first line of what is piped in."""
    if sys.stdin is None or not sys.stdin.isatty():
        return sys.stdin.readline().strip() if sys.stdin is not None else ""
    try:
        return getpass(f"Key for {url} (nothing, if it asks for none): ").strip()
    except EOFError:  # Ctrl-D
        output.say("")
        return ""


def _config(lab: Lab, options: argparse.Namespace) -> int:
    source = "--url" if options.url else url_with_source()[1]
    print(f"service: {lab.url} (by {source})")
    key, source = key_with_source(lab.url)
    me = lab.get("/me")
    print(output.plain(f"key: {_whose(me)}" + ("" if key is None else f" (by {source})")))
    return EXIT_DONE


def _whose(me: dict[str, Any]) -> str:
    if me.get("key_id") is None:
        return "no keys are asked for"
    return f"{me['key_id']} of {me['owner']['name']}, role {me['role']}"
