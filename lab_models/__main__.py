"""The lab as a program: `python -m lab_models run spec.json` and `train --model mlp` for people, `trainers` for the
worker.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `-m` puts the current folder before Python's own: what follows would import a `random.py` that lies there
    del sys.path[0]

import argparse
import json
from pathlib import Path

from lab_models.running.options import add_machine, positive
from lab_models.running.process import die_with_parent, give_way, leave_no_core_files, spin_briefly

EXIT_USAGE = 2
WITHOUT_FLAGS = (
    "train takes its flags from training-lab-client, which is not installed here: pip install ./client, or write the"
    " spec into a file for `run`"
)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it; torch is loaded by the commands, not before."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["train"]:
        spin_briefly()
        try:
            # its flags are the client's: what the worker starts loads nothing of it
            from lab_models.running.from_flags import train
        except ModuleNotFoundError as missing:
            if str(missing.name).partition(".")[0] != "training_lab":
                raise
            print(WITHOUT_FLAGS, file=sys.stderr)
            return EXIT_USAGE
        return train(given[1:])
    options = _parser().parse_args(given)
    spin_briefly()
    if options.command == "trainers":
        die_with_parent(options.parent_pid)
        leave_no_core_files()
        give_way(options.niceness)
        # after the tie to the parent: loading torch takes seconds
        from lab_models.running.forkserver import serve_forks

        return serve_forks(spawn=options.spawn)

    if options.command == "trainer":
        leave_no_core_files()
        from lab_models.running.forkserver import be_trainer

        return be_trainer(options.device, options.threads, options.parent_pid)

    if options.command == "prove":
        from lab_models.running.proving import findings

        for finding in findings(options.device, options.threads):
            print(json.dumps(finding), flush=True)
        return 0

    from lab_models.running.standalone import run_file

    return run_file(options.spec, options.out, options.device, options.threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab_models",
        description="Train image classifiers from a spec, without the service.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="train every seed of a spec file, with a progress bar and a line for each epoch on standard error; run it"
        " again to resume",
    )
    run.add_argument("spec", type=Path, help="JSON file, the same that POST /experiments takes")
    add_machine(run)
    commands.add_parser(
        "train",
        add_help=False,
        help="the same for a spec that flags describe, as those of `lab train`: train --help",
    )
    trainers = commands.add_parser("trainers", help="fork trainers on request (used by the worker)")
    trainers.add_argument("--parent-pid", type=int, required=True)
    trainers.add_argument("--niceness", type=int, default=0)
    trainers.add_argument(
        "--spawn",
        action="store_true",
        help="start each as a process of its own, where a fork is not safe",
    )
    trainer = commands.add_parser("trainer", help="be one that was spawned (used by `trainers`)")
    trainer.add_argument("--parent-pid", type=int, required=True)
    trainer.add_argument("--device", required=True, help="cpu or cuda:0")
    trainer.add_argument("--threads", type=positive, required=True, help="CPU threads")
    prove = commands.add_parser(
        "prove", help="say as JSON lines what PyTorch does on a device (used by worker.probe)"
    )
    prove.add_argument("--device", default="cpu", help="cpu or cuda:0 (default: cpu)")
    prove.add_argument("--threads", type=positive, default=1, help="CPU threads (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
