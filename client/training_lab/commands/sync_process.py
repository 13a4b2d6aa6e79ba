"""`python -m training_lab.commands.sync_process`: `lab sync` as a child of another process, which it does not outlive
and whose memory and cores it does not take.
"""

import argparse
import os
import resource
import sys
import threading
import time
from pathlib import Path
from typing import Final

from training_lab.commands.command_line import EXIT_REFUSED, carried_out
from training_lab.commands.syncing import add_arguments, sync
from training_lab.lab import Lab

OOM_SCORE: Final = 1000
"""The first to go where the machine has no memory left."""
LOOK_SECONDS: Final = 1.0
NICENESS: Final = 10
"""By which it stands back from what trains: a tracker's code that spins gets about a tenth of a core that another
process wants.
"""


def main() -> int:
    """Do what the arguments say; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training_lab.commands.sync_process")
    add_arguments(parser)
    parser.add_argument("--parent-pid", type=int, help="end when this process ends")
    parser.add_argument("--url")
    parser.add_argument("--state", type=Path, help="where it is noted what was sent")
    parser.add_argument("--most-bytes", type=int, help="of memory")
    parser.add_argument("--folder", type=Path, help="where it works")
    options = parser.parse_args()
    options.quiet = True
    os.nice(NICENESS)
    if options.parent_pid is not None:
        threading.Thread(target=_end_with, args=(options.parent_pid,), daemon=True).start()
    if options.most_bytes is not None:
        keep_small(options.most_bytes)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        os.chdir(options.folder)
    return carried_out(_sync, options)


def keep_small(most_bytes: int) -> None:
    """Let this process and those that it starts take so much memory each and no more."""
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    try:
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    except OSError:  # no Linux
        return


def _sync(options: argparse.Namespace) -> int:
    with Lab(options.url) as lab:
        return sync(lab, options)


def _end_with(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(LOOK_SECONDS)
    os._exit(EXIT_REFUSED)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # a tracker's package may want to wait for what hangs
    os._exit(status)
