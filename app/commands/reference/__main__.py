"""Writes the generated tables into the documents that are named: `make docs`."""

import sys
from pathlib import Path

from app.commands.reference.tables import updated

if __name__ == "__main__":
    for document in map(Path, sys.argv[1:]):
        document.write_text(updated(document.read_text()))
