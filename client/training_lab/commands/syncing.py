"""`lab sync`: runs sent to a tracker, such as W&B, with the key of who sends them."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from training_lab.commands import output
from training_lab.commands.command_line import (
    EXIT_DONE,
    EXIT_REFUSED,
    Detached,
    add_service_command,
    elsewhere,
)
from training_lab.commands.ids import EXPERIMENT, STUDY, WRITTEN, whole_id
from training_lab.commands.watching import MOST, cells_of
from training_lab.errors import LabError, NotFound, Unusable
from training_lab.lab import Lab
from training_lab.sync.calls import Hopeless
from training_lab.sync.cursors import state_folder
from training_lab.sync.finding import find
from training_lab.sync.following import Feed, Follower, backoff
from training_lab.sync.sink import SinkOptions, TrackerRefused
from training_lab.sync.transfers import Elsewhere, Transfer

TRIES: Final = 4
"""Of one run without --follow; 7 s at most lie between the first and the last."""


def add_parser(commands: Any) -> None:
    """Add `lab sync`."""
    parser = add_service_command(
        commands,
        "sync",
        "send runs to a tracker: wandb, mlflow, tensorboard or trackio; what it has already is not sent again",
        "lab sync mlflow exp_4k7z @last-study --follow",
        sync,
    )
    add_arguments(parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is to be sent where."""
    parser.add_argument("tracker", metavar="TRACKER", help="wandb, mlflow, tensorboard or trackio")
    parser.add_argument(
        "id", metavar="ID", nargs="*", help=f"{WRITTEN}; a run for each seed is sent"
    )
    parser.add_argument("--all", action="store_true", help="all that you may see, in place of ids")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="send epochs as they come, until all have ended"
    )
    parser.add_argument(
        "--project",
        metavar="P",
        help="the project there (default: the study's name, or training-lab)",
    )
    parser.add_argument(
        "--to",
        metavar="WHERE",
        help="MLflow's address (default: $MLFLOW_TRACKING_URI); TensorBoard's folder (default: tensorboard)",
    )
    parser.add_argument("--weights", action="store_true", help="send the best epoch's weights, too")
    parser.add_argument("--no-pictures", action="store_true", help="send numbers and words alone")
    parser.add_argument(
        "--again", action="store_true", help="send all of it anew, whatever was sent before"
    )
    parser.set_defaults(state=None)


def sync(lab: Lab, options: argparse.Namespace) -> int:
    """Send what the options say; returns the exit status."""
    if options.all == bool(options.id):
        raise Unusable("say what is to be sent: ids, or --all, one of them")
    tracker = find(options.tracker, SinkOptions(options.project, options.to))
    state: Path = options.state or state_folder()
    transfer = Transfer(
        lab,
        tracker,
        state,
        project=options.project,
        with_pictures=not options.no_pictures,
        with_weights=options.weights,
    )
    try:
        experiments = None if options.all else _experiments(lab, options.id)
        if options.again:
            for one in experiments or [found.id for found in lab.experiments(archived="any")]:
                transfer.forget(one)
        if options.follow:
            return _follow(lab, transfer, experiments, options)
        return _once(lab, transfer, experiments, options)
    finally:
        transfer.close()


def _experiments(lab: Lab, written: Sequence[str]) -> list[str]:
    named = [whole_id(lab, one, EXPERIMENT, STUDY) for one in written]
    return list(dict.fromkeys(one for some in named for one in cells_of(lab, some)))


def _once(
    lab: Lab, transfer: Transfer, experiments: list[str] | None, options: argparse.Namespace
) -> int:
    """What is there by now, run by run."""
    if experiments is None:
        experiments = [one.id for one in lab.experiments(archived="any")]
    failed = 0
    for experiment_id in experiments:
        for run in lab.experiment(experiment_id).runs:
            try:
                _tried(transfer, run.id)
            except Elsewhere as error:
                output.say(str(error))
                break
            except TrackerRefused as error:
                failed += 1
                output.say(f"{run.id}: {error}")
        transfer.let_go(experiment_id)
    if not failed and not any(map(transfer.has_sent, experiments)):
        transfer.tracker.reach()  # an address that nothing was sent to may be none
    _tell(transfer, options)
    return EXIT_REFUSED if failed else EXIT_DONE


def _tried(transfer: Transfer, run_id: str) -> None:
    """Raises LabError after so many tries, or at once where another is of no use."""
    for number in range(1, TRIES + 1):
        try:
            transfer.send(run_id)
        except (Elsewhere, TrackerRefused, NotFound, Hopeless, Unusable):
            raise
        except LabError as error:
            if number == TRIES:
                raise type(error)(
                    f"{error}\nWhat has been sent is noted: the same command goes on there."
                ) from error
            time.sleep(backoff(number))
        else:
            return


def _follow(
    lab: Lab, transfer: Transfer, experiments: list[str] | None, options: argparse.Namespace
) -> int:
    wanted = None if experiments is None else frozenset(experiments)
    is_one_study = len(options.id) == 1 and options.id[0].startswith(STUDY)
    if is_one_study:
        events = lab.events(study=whole_id(lab, options.id[0], STUDY))
    elif experiments is None:
        events = lab.events()
    elif len(experiments) > MOST:
        raise Unusable(
            f"at most {MOST} experiments can be followed at once, or one study, or --all"
        )
    else:
        events = lab.events(experiments)
    follower = Follower(transfer, Feed(events, wanted), output.say)
    try:
        has_all = follower.run()
    except KeyboardInterrupt as interrupt:
        words = " ".join(["lab sync", options.tracker, *(options.id or ["--all"])])
        raise Detached(
            f"No longer sending, but training goes on: `{words} --follow{elsewhere(options)}` goes on with it."
        ) from interrupt
    _tell(transfer, options)
    if not has_all:
        output.say(
            f"{output.count(len(follower.left), 'run')} could not be sent whole; what has been sent is noted:"
            f" `lab sync {options.tracker} {' '.join(options.id)}` goes on there."
        )
    return EXIT_DONE if has_all else EXIT_REFUSED


def _tell(transfer: Transfer, options: argparse.Namespace) -> None:
    if options.quiet:
        return
    sent, tracker = transfer.sent, transfer.tracker
    where = f" {tracker.target}" if tracker.target else ""
    if not sent.epochs and not sent.ended:
        output.say(f"{tracker.name}{where} has it all: nothing new to send.")
        return
    output.say(
        f"{tracker.name}{where}: {output.count(sent.epochs, 'epoch')} sent, {output.count(sent.ended, 'run')} ended."
    )
