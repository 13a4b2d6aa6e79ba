"""The lab as a program: `python -m lab_models run spec.json` for people, `trainer` for the worker."""

import argparse
import os
import sys
from pathlib import Path

from lab_models.process import die_with_parent


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it; torch is loaded by the commands, not before."""
    options = _parser().parse_args(arguments)
    if options.command == "trainer":
        if options.parent_pid is not None:
            die_with_parent(options.parent_pid)
        from lab_models.trainer import serve_one_order  # after the tie to the parent: loading torch takes seconds

        return serve_one_order(options.device, options.threads)

    from lab_models.standalone import run_file

    return run_file(options.spec, options.out, options.device, options.threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab_models", description="Train image classifiers from a spec, without the service.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train every seed of a spec file, with a progress bar; run it again to resume")
    run.add_argument("spec", type=Path, help="JSON file, the same that POST /experiments takes")
    run.add_argument("--out", type=Path, help="folder for weights, metrics and result (default: runs/<fingerprint>)")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda:0, ... (default: auto)")
    run.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all cores)")
    trainer = commands.add_parser("trainer", help="carry out one order read from standard input (used by the worker)")
    trainer.add_argument("--device", default="cpu")
    trainer.add_argument("--threads", type=int, default=1)
    trainer.add_argument("--parent-pid", type=int)
    return parser


if __name__ == "__main__":
    sys.exit(main())
