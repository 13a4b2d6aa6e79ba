"""`lab`: the command line, with the commands of the service where that is installed."""

import sys

from training_lab.standard_streams import written
from training_lab.version import VERSION


def main() -> int:
    """Do what the command line says; returns the exit status. What needs no more than this is done at once: whoever
    asks for the version, or a shell that completes an id, waits for nothing.
    """
    return written(lambda: _do(sys.argv[1:]))


def _do(words: list[str]) -> int:
    if words == ["--version"]:
        print(f"training-lab {VERSION}")
        return 0
    if words == ["--complete-ids"]:
        from training_lab.recent_ids import print_ids

        return print_ids()
    from training_lab.commands.running import parser_with, plugins, run

    found = plugins()
    return run(parser_with(found), words, found)


if __name__ == "__main__":
    sys.exit(main())
