"""`lab` with the service's commands, whether or not an entry point names them: `python -m app.commands`."""

import argparse
import sys

from app.commands import plugin
from training_lab.commands.running import parser_with, run


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    return run(_parser(), arguments, [plugin])


def _parser() -> argparse.ArgumentParser:
    return parser_with([plugin])


if __name__ == "__main__":
    sys.exit(main())
