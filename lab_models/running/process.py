"""What a training process owes its machine: to die with its parent, leave no core files, give way, and not spin while
others work. Standard library only.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when `parent_pid` dies (Linux); raises SystemExit if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit(f"the parent process {parent_pid} is gone")


def adopt_orphans() -> None:
    """Become the parent of what the children of this process leave behind when they die, so that it can be waited for
    (Linux).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def leave_no_core_files() -> None:
    """A training process that crashes leaves no image of its memory, which may be as large as the machine's."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def give_way(niceness: int) -> None:
    """Let others go first where the processors are wanted by several: 0 takes an equal share, 5 a third of it, 19 next
    to nothing. Alone it is as fast as ever.

    Linux with automatic groups weighs whole sessions against each other, and a process only within its own (sched(7)),
    so both are said.
    """
    if niceness:
        os.nice(niceness)
        with contextlib.suppress(OSError):  # no such groups here
            Path("/proc/self/autogroup").write_text(str(niceness))


def spin_briefly() -> None:
    """Let OpenMP threads spin at barriers for microseconds and then sleep; call it before torch is loaded.

    With a core shared with anything else a spinning thread holds up the one it waits for; without any spinning small
    networks wait for the kernel at every layer. The measurements are in docs/decisions/0006.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
