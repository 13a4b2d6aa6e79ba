"""Standard output and error as they may be: closed, full, of an old encoding, or read no further."""

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

STATUS: Final = 1
"""Of a command whose result could not be written."""
INTERRUPTED: Final = 130
"""Of one that Ctrl-C has ended."""
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def written(act: Callable[[], int]) -> int:
    """What the act returns, once all that it has printed is written; 1 where that cannot be, 130 after Ctrl-C. Nobody
    who reads on, as behind `| head`, is no fault to speak of. What an old encoding lacks is printed as `?`.
    """
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not writes_all(stream.encoding):
            stream.reconfigure(errors="replace")
    try:
        status = act()
        sys.stdout.flush()
    except KeyboardInterrupt:  # also while modules are loaded
        _say("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        _write_no_more()
        return STATUS
    except OSError as error:
        if error.filename is not None or error.errno not in FULL:
            raise
        _write_no_more()
        _say(f"standard output cannot be written: {error.strerror}")
        return STATUS
    return status


def writes_all(encoding: str | None) -> bool:
    """Whether every character can be written so."""
    return (encoding or "").lower().startswith("utf")


def _open_what_is_closed() -> None:
    """Or the next file that is opened would be taken for it, such as a connection."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _say(line: str) -> None:
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _write_no_more() -> None:
    """Python's last flush must not complain of it either."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
