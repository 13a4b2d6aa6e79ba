"""What a training process owes its machine: to die with its parent, and to sleep while it waits. Standard library only."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when `parent_pid` dies (Linux); leave at once if it is dead already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise SystemExit(f"the parent process {parent_pid} is gone")


def sleep_while_waiting() -> None:
    """Let OpenMP threads sleep at barriers instead of spinning; call it before torch is loaded.

    With a core shared with anything else a spinning thread holds up the one it waits for: measured with two threads on two
    busy cores, an epoch of a 6 x 512 MLP took 1.5 to 1.9 s asleep and 2.4 to 8.9 s spinning.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
