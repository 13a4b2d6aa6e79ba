"""What the command lines that train here and now have in common."""

import argparse
import os
from pathlib import Path


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add where files go and what is computed on."""
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for weights, metrics and result (default: runs/<fingerprint>)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:0, ... (default: auto)")
    parser.add_argument(
        "--threads",
        type=positive,
        default=os.cpu_count() or 1,
        help="CPU threads (default: all cores)",
    )


def positive(text: str) -> int:
    """A number of at least 1. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of at least 1, not {text!r}")
    return int(text)
