"""`lab` as a terminal sees it: what it prints, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from app.commands.__main__ import main


@dataclass(frozen=True)
class Said:
    """What a command has said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Command = Callable[..., Said]


def commanding(capsys: pytest.CaptureFixture[str], url: str) -> Command:
    """Calls `lab` with these words against this service."""

    def lab(*words: str) -> Said:
        capsys.readouterr()
        try:
            status = main([*words, "--url", url])
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Said(status, out, err)

    return lab
