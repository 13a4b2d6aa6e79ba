"""`lab train`: an experiment from flags, by itself or by a lab's procedure, and its end."""

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from training_lab.commands import output
from training_lab.commands.command_line import EXIT_DONE, add_service_command
from training_lab.commands.job_waiting import add_timeout, check_timeout
from training_lab.commands.sending import returning, say_warnings, show_made, waited
from training_lab.errors import Refused, Unusable, refused_fields
from training_lab.experiment import Experiment
from training_lab.lab import Lab
from training_lab.recipe_cells import chosen, recipe_and_cell
from training_lab.records import DryRun
from training_lab.sync import finding
from training_lab.sync.beside import SyncBeside
from training_lab.sync.sink import SinkOptions
from training_lab.train_flags import (
    NUM_WORKERS_SAID,
    add_flags,
    given_flags,
    request_of,
    said_at,
)

EXAMPLES = (
    "lab train --model mlp --hidden 128,64 --dataset digits --epochs 20 --seeds 3",
    "lab train --as three-models --model cnn --epochs 50 --batch-size 128 --lr 0.1",
    "lab train --dataset mnist --optimizer sgd --lr 0.1 --momentum 0.9 --schedule cosine --no-wait",
    "lab train --dataset mnist --patience 5 --delta-overfit 0.02 --set schedule.warmup_epochs=1 --dry-run",
)
LOG_HELP = (
    "send every epoch to a tracker while it is waited, with your key there; without a name wandb where it is installed,"
    " else tensorboard"
)
DEVICES = ("auto", "any", "cpu", "cuda")
DEVICE_HELP = "where it is trained: cpu, cuda, any, or auto (the default): all seeds on the kind that takes the first"
TRACKERS = ("auto", "wandb", "tensorboard", "mlflow", "trackio")


def add_parser(commands: Any) -> None:
    """Add `lab train`."""
    parser = add_service_command(
        commands,
        "train",
        "train a network that flags describe, and wait for its end",
        EXAMPLES[0],
        _train,
    )
    parser.usage = "lab train [FLAG ...] [--as RECIPE] [--no-wait] [--dry-run] [--print]"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(
        ("examples:", *EXAMPLES, "What is not said has the service's defaults (docs/spec.md).")
    )
    parser.set_defaults(wait=True)
    add_flags(parser)
    parser.add_argument("--log", nargs="?", const="auto", choices=TRACKERS, help=LOG_HELP)
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        help="wait for its end with a bar (the default), or only send it",
    )
    parser.add_argument("--device", choices=DEVICES, help=DEVICE_HELP)
    add_timeout(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would cost; store nothing"
    )
    parser.add_argument("--json", action="store_true", help="the record, or the dry run, in JSON")


def _train(lab: Lab, options: argparse.Namespace) -> int:
    _refuse_what_cannot_be(options)
    if options.num_workers is not None and not options.quiet:
        output.say(NUM_WORKERS_SAID)
    request = _request(lab, options)
    if options.print:
        output.show_json(request)
        return EXIT_DONE
    try:
        if options.dry_run:
            return _show_plan(lab.dry_run(request), options)
        made = lab.submit(request)
    except Refused as refused:
        raise _by_flags(refused, options) from refused
    say_warnings(made.warnings, options)
    if options.wait:
        if not options.quiet:
            output.say(f"{made.id}: {made.url}")
        with _beside(lab, made, options):
            made = waited(lab, made, options)
    elif not options.quiet:
        output.say(f"{returning(made, options)}.")
    show_made(made, options)
    return EXIT_DONE


def _refuse_what_cannot_be(options: argparse.Namespace) -> None:
    check_timeout(options, waits=options.wait)
    if options.log is None:
        return
    if options.log == "auto":
        options.log, why = finding.usual()
        if not options.quiet:
            output.say(f"{why}.")
    finding.find(options.log, SinkOptions(None, None))  # before anything is sent
    if not options.wait:
        raise Unusable(
            f"--log sends epochs while it is waited; without waiting: `lab sync {options.log} @last --follow`"
        )


def _beside(
    lab: Lab, made: Experiment, options: argparse.Namespace
) -> AbstractContextManager[object]:
    """Its epochs are sent to a tracker meanwhile, by a process of its own, if that is wished."""
    if options.log is None:
        return nullcontext()
    return SyncBeside(options.log, [made.id], url=lab.url, say=output.say)


def _request(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    """The body; with `--as` on the cell of a recipe that the service has."""
    device = {} if options.device is None else {"device": options.device}
    if options.recipe is None:
        return request_of(options, {}) | device
    name, cell = recipe_and_cell(options.recipe)
    found = chosen(lab.get(f"/recipes/{quote(name, safe='')}"), cell, given_flags(options))
    return request_of(options, found.request, found.chosen_by) | device


def _by_flags(refused: Refused, options: argparse.Namespace) -> Refused:
    """The refusal in words of the command line: a flag in place of a field's pointer."""
    faults = [replace(one, pointer=said_at(one.pointer, options)) for one in refused.errors]
    return refused_fields(refused, faults) if faults else refused


def _show_plan(plan: DryRun, options: argparse.Namespace) -> int:
    """What it would cost, in lines or in JSON."""
    if options.json:
        output.show_json(plan.raw)
        return EXIT_DONE
    say_warnings(plan.warnings, options)
    rows = list(_cost(plan))
    widest = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(output.plain(f"{name:<{widest}}  {text}"))
    return EXIT_DONE


def _cost(plan: DryRun) -> Iterator[tuple[str, str]]:
    estimate = plan.as_object("estimate")
    seeds = plan.as_list("seeds")
    yield "parameters", f"{plan.parameters:,}"
    yield "multiply-accumulates", f"{plan.macs:,} an image"
    yield "steps", f"{estimate.get('steps') or 0:,} a run"
    yield "memory", f"{plan.memory_bytes / 1e6:,.1f} MB at least"
    together = (
        f", {_time(plan.seconds * len(seeds))} for all {len(seeds)}" if len(seeds) > 1 else ""
    )
    yield "time", f"{_time(plan.seconds)} a run{together}"
    yield "estimated", str(estimate.get("based_on", ""))
    before = plan.as_object("foundation")
    if before:
        yield (
            f"{before['role']} first",
            f"{_time(before['seconds'])} for {output.count(len(before['seeds']), 'run')}",
        )


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else output.span(seconds)
