"""`lab serve`, `lab api`, `lab worker` and `lab settings`: the service itself, loaded when one of them is called."""

import argparse
import math
import os
import re
import sys
from typing import Any

from app.commands.homes import settings_of_a_home, what_is_missing
from app.devices import MOST_WORKERS

MOST_PORT = 65_535
WORKERS_HELP = (
    "runs at a time on this machine (default: one per GPU, "
    "or without one as many as cores and memory allow, at most 4)"
)
UNTIL_EMPTY_HELP = "leave when nothing is trained here and nothing is queued that could be"
MAX_SECONDS_HELP = "leave after so many seconds: save what is trained, and queue it again at once"


def add_commands(commands: Any) -> None:
    """Add them to the command line."""
    serve = commands.add_parser("serve", help="API and local workers in one command")
    serve.set_defaults(run=_serve)
    api = commands.add_parser("api", help="the API alone")
    api.set_defaults(run=_serve_api)
    for server in (serve, api):
        server.add_argument(
            "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
        )
        server.add_argument(
            "--port", type=_port, default=8000, help="port to listen on (default: 8000)"
        )
    worker = commands.add_parser("worker", help="workers alone")
    worker.set_defaults(run=_work)
    for working in (serve, worker):
        working.add_argument("--workers", type=_count, default=None, help=WORKERS_HELP)
    worker.add_argument("--until-empty", action="store_true", help=UNTIL_EMPTY_HELP)
    worker.add_argument(
        "--max-seconds", type=_seconds, default=math.inf, metavar="N", help=MAX_SECONDS_HELP
    )
    settings = commands.add_parser("settings", help="print all settings and where each comes from")
    settings.set_defaults(run=_settings)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_WORKERS}, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return seconds


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_PORT:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {MOST_PORT}, not {text!r}")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    from app.serving.ending import leave
    from app.serving.processes import serve_everything

    return leave(
        serve_everything(settings_of_a_home(), options.host, options.port, options.workers)
    )


def _serve_api(options: argparse.Namespace) -> int:
    from app.serving.ending import leave
    from app.serving.processes import serve_api

    return leave(serve_api(settings_of_a_home(), options.host, options.port))


def _work(options: argparse.Namespace) -> int:
    from app.serving.processes import run_workers

    return run_workers(
        settings_of_a_home(),
        options.workers,
        until_empty=options.until_empty,
        max_seconds=options.max_seconds,
    )


def _settings(_options: argparse.Namespace) -> int:
    from app.commands.setting_sources import setting_sources, unknown_names
    from app.settings import Settings

    settings, sources = Settings(), setting_sources()
    effective = {
        "database_url": _without_password(settings.effective_database_url),
        "broker_url": _without_password(settings.broker_url),
        "data_dir": os.pathsep.join(map(str, settings.search_folders)),
    }
    for name in Settings.model_fields:
        print(
            f"LAB_{name.upper()}={effective.get(name, getattr(settings, name))}  # {sources[name]}"
        )
    missing = what_is_missing(settings)
    for sentence in (*unknown_names(), *([missing] if missing is not None else [])):
        print(sentence, file=sys.stderr)
    return 0


def _without_password(url: str) -> str:
    return re.sub(r"(//[^/@]*:)[^/@]*@", r"\1***@", url)
