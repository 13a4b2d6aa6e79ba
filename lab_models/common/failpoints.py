"""Places where a test can end or stop this process for real; without `LAB_FAILPOINT` in the environment each costs one
comparison.

`LAB_FAILPOINT` names a file. A test arms one failpoint by writing `<point> <kill|stop|raise|device> [<pattern>]` into
it; the first process that comes by removes the file and does as it says, so that one accident happens once, however
many attempts follow.
"""

import errno
import os
import signal
from fnmatch import fnmatch
from pathlib import Path

_named = os.environ.get("LAB_FAILPOINT")
_arming: Path | None = Path(_named) if _named else None


def fail(point: str, subject: str = "") -> None:
    """Do what is armed for this point and, where the arming has a pattern, for this subject; nothing otherwise.

    `kill` is SIGKILL, `stop` is SIGSTOP, `raise` an OSError as of a broken disk,
    `device` a RuntimeError with the words of a driver whose card has failed.
    """
    if _arming is None:
        return
    try:
        armed, action, *patterns = _arming.read_text().split()
        if armed != point or not all(fnmatch(subject, pattern) for pattern in patterns):
            return
        _arming.unlink()
    except (OSError, ValueError):  # not armed, or another process was first
        return
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "device":
            raise RuntimeError(
                "CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later."
            )
        case _:
            raise OSError(errno.EIO, os.strerror(errno.EIO), subject)
