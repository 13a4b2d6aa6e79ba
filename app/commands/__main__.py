"""`lab`: starts the service, and talks to it over HTTP."""

import argparse
import json
import os
import sys
from collections.abc import Callable

import httpx

from app.commands import (
    again,
    client,
    data,
    keys,
    maintenance,
    opening,
    owners,
    recipes,
    serving,
    studies,
    study_tables,
)
from app.commands.demo import run_demo
from app.errors import Misconfigured
from lab_models.common.revision import package_version
from training_lab import Lab, LabError
from training_lab import commands as client_commands
from training_lab.commands.command_line import CommandParser, status_of
from training_lab.commands.ids import may_be_short, whole_id

EXIT_REFUSED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        _complete(options)
        status = command(options)
        sys.stdout.flush()
    except (Misconfigured, client.Unusable) as error:
        return _complain(str(error), EXIT_USAGE)
    except LabError as error:
        return _complain(str(error), status_of(error))
    except client.Refused as error:
        return _complain(str(error), EXIT_REFUSED)
    except httpx.TransportError as error:
        return _complain(
            f"no answer from {options.url}: {error}\nIs the service running? Start it with `lab serve`, or name another"
            " with --url.",
            EXIT_REFUSED,
        )
    except client.StoppedWaiting as error:
        return _complain(str(error), EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        return _complain("Interrupted.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # `lab show … | head`: nobody reads on, and Python's last flush must not complain of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_REFUSED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="lab", description="Trains image classifiers as jobs.")
    parser.add_argument("--version", action="version", version=f"training-lab {package_version()}")
    commands = parser.add_subparsers(required=True, metavar="command")

    serving.add_commands(commands)
    show = commands.add_parser("show", help="print the record of an experiment or a study")
    show.set_defaults(run=_show)
    cancel = commands.add_parser("cancel", help="cancel an experiment or a study")
    cancel.set_defaults(run=lambda o: _change(o, "cancel"))
    pause = commands.add_parser(
        "pause", help="let an experiment or a study stand still, its progress kept"
    )
    pause.set_defaults(run=lambda o: _change(o, "pause"))
    resume = commands.add_parser("resume", help="let a paused experiment or study go on")
    resume.set_defaults(run=lambda o: _change(o, "resume"))
    retry = commands.add_parser(
        "retry", help="queue an experiment's or a study's failed and cancelled runs again"
    )
    retry.set_defaults(run=lambda o: _change(o, "retry"))
    delete = commands.add_parser(
        "delete", help="delete a finished experiment or study with its files"
    )
    delete.set_defaults(run=_delete)
    for about_one in (show, cancel, pause, resume, retry, delete):
        about_one.add_argument("id", help="exp_… or stu_…")
    others = [
        parser
        for module in (again, recipes, studies, study_tables, data, owners, opening)
        for parser in module.add_commands(commands)
    ]
    for speaking in (show, cancel, pause, resume, retry, delete, *others):
        speaking.set_defaults(is_old=True)
        speaking.add_argument(
            "--url",
            help="the service (default: $LAB_URL, what `lab login` stored, or this machine)",
        )

    client_commands.add_commands(commands)
    keys.add_commands(commands)
    maintenance.add_commands(commands)
    demo = commands.add_parser(
        "demo", help="start a service, train a small network over its API, show the result, stop"
    )
    demo.set_defaults(run=lambda _: run_demo())
    return parser


def _complete(options: argparse.Namespace) -> None:
    """What is left out or short, for the commands that speak to a service by themselves: where it is, and `exp_4k7z` or
    `@last` as the whole id.
    """
    if not getattr(options, "is_old", False):
        return
    options.url = options.url or client.default_url()
    said = getattr(options, "id", None)
    if said is not None and may_be_short(said):
        with Lab(options.url) as lab:
            options.id = whole_id(lab, said)


def _show(options: argparse.Namespace) -> int:
    with client.Service(options.url) as service:
        return _print(service.get(client.address(options.id)))


def _change(options: argparse.Namespace, verb: str) -> int:
    with client.Service(options.url) as service:
        return _print(service.post(f"{client.address(options.id)}/{verb}"))


def _delete(options: argparse.Namespace) -> int:
    with client.Service(options.url) as service:
        service.delete(client.address(options.id))
    print(f"{options.id} is deleted.")
    return 0


def _print(document: object) -> int:
    print(json.dumps(document, indent=2, ensure_ascii=False))
    return 0


def _complain(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
